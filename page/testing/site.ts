/** @file A site in an open browser: what it shows, and how it is used. */
import type { Browser, Page } from 'playwright-core';
import { observed } from '../../eval/report/testing/browser.ts';

export interface Shown {
  readonly page: Page;
  readonly complaints: string[];
  /** Addresses asked for. */
  readonly requests: string[];
  /** Waits until a text is as wanted. @returns the text */
  said(selector: string, wanted: RegExp, milliseconds?: number): Promise<string>;
  /** Waits until what was ordered is drawn. @returns what the page says of it */
  drawn(): Promise<string>;
  /** Red of every pixel of every sample. */
  pixels(grid?: string): Promise<number[][]>;
  /** Terms of the training steps so far. */
  terms(): Promise<Record<string, number>[]>;
}

export async function show(browser: Browser, url: string, options: Parameters<Browser['newPage']>[0] = {}): Promise<Shown> {
  const { page, complaints } = await observed(browser, options);
  const requests: string[] = [];
  page.on('request', (request) => requests.push(request.url()));
  await page.goto(url);
  const said = async (selector: string, wanted: RegExp, milliseconds = 60_000): Promise<string> => {
    await page.locator(selector, { hasText: wanted }).waitFor({ timeout: milliseconds });
    return (await page.textContent(selector))!;
  };
  return {
    page,
    complaints,
    requests,
    said,
    drawn: () => said('#status', /per image on|^Not drawn/),
    pixels: (grid = '#samples') =>
      page.evaluate<number[][]>(
        `[...document.querySelectorAll('${grid} canvas')].map((one) => [...one.getContext('2d').getImageData(0, 0, one.width, one.height).data].filter((_, i) => i % 4 === 0))`,
      ),
    async terms() {
      const text = (await page.textContent('#terms'))!;
      return text
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line) as Record<string, number>);
    },
  };
}
