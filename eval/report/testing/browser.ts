/** @file A headless Chromium for the tests of pages, where one is installed. */
import { existsSync } from 'node:fs';
import { type Browser, chromium, type Page } from 'playwright-core';

const PATH = '/usr/bin/chromium';
/** Where it is absent, tests of pages are skipped; in CI they run, and fail. */
export const hasBrowser = existsSync(PATH) || Boolean(process.env['CI']);
export const BROWSER_NEEDED = `Chromium is needed at ${PATH} (apt-get install chromium)`;

/** @param gpu whether WebGPU is offered, computed in software */
export function openBrowser({ gpu = false } = {}): Promise<Browser> {
  if (!existsSync(PATH)) throw new Error(BROWSER_NEEDED);
  const graphics = gpu ? ['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader', '--enable-features=Vulkan'] : ['--disable-gpu'];
  return chromium.launch({ executablePath: PATH, args: ['--no-sandbox', '--disable-background-networking', ...graphics] });
}

/** A page, and everything that it complains of, asks the network for or throws. */
export interface Observed {
  readonly page: Page;
  readonly complaints: string[];
}

export async function observed(browser: Browser, options: Parameters<Browser['newPage']>[0]): Promise<Observed> {
  const page = await browser.newPage(options);
  const complaints: string[] = [];
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complaints.push(`${message.type()}: ${message.text()}`);
  });
  page.on('pageerror', (error) => complaints.push(`thrown: ${error.message}`));
  return { page, complaints };
}

/** How far the page is wider than the window. */
export const overflow = (page: Page): Promise<number> =>
  page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth');
