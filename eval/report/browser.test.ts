/** @file The page of a comparison in a browser: drawn, quiet, narrow enough, and used by keyboard alone. Skipped without Chromium, except in CI. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { renderComparison } from './comparison-html.ts';
import { BROWSER_NEEDED, hasBrowser, observed, openBrowser, overflow } from './testing/browser.ts';
import { comparison } from './testing/comparison.ts';

describe.skipIf(!hasBrowser)(`a page (${BROWSER_NEEDED})`, () => {
  let browser: Browser;
  let folder: string;
  let address: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'page-'));
    const long = `a-name-without-an-end-${'x'.repeat(200)}`;
    const rows = [...comparison.rows, { ...comparison.rows[0]!, name: long, series: long, command: `onestep evaluate ${long}` }];
    await writeFile(join(folder, 'page.html'), renderComparison({ ...comparison, title: long, rows, problems: [long] }));
    address = pathToFileURL(join(folder, 'page.html')).href;
    browser = await openBrowser();
  });
  afterAll(async () => {
    await browser?.close();
    await rm(folder, { recursive: true });
  });

  test.each([
    [390, 'light'],
    [390, 'dark'],
    [1440, 'light'],
    [1440, 'dark'],
  ] as const)('%d pixels, %s: nothing to complain of, no wider than the window, charts drawn', async (width, colorScheme) => {
    const { page, complaints } = await observed(browser, { viewport: { width, height: 900 }, colorScheme });
    const requests: string[] = [];
    page.on('request', (request) => requests.push(request.url()));
    await page.goto(address);
    await page.evaluate(`document.querySelectorAll('summary').forEach((one) => one.click())`);
    expect(await overflow(page)).toBe(0);
    const lengths = await page.evaluate<number[]>(
      `[...document.querySelectorAll('.variant path.curve, .variant path.front')].filter((one) => one.checkVisibility()).map((one) => one.getTotalLength())`,
    );
    expect(lengths.length).toBeGreaterThan(5);
    expect(lengths.every((length) => length > 10)).toBe(true);
    // Exactly one picture of each chart is to be seen.
    const shown = await page.evaluate<number[]>(
      `[...document.querySelectorAll('.switchable')].map((one) => [...one.querySelectorAll('.variant')].filter((v) => v.checkVisibility()).length)`,
    );
    expect(new Set(shown)).toEqual(new Set([1]));
    const images = await page.evaluate<number[]>(`[...document.images].map((one) => one.naturalWidth)`);
    expect(images).toEqual([1, 1]);
    expect(complaints).toEqual([]);
    expect(requests.filter((url) => !url.startsWith('file:') && !url.startsWith('data:'))).toEqual([]);
    await page.close();
  });

  test('by keyboard: the link past the head, then a switch, which shows another picture', async () => {
    const { page } = await observed(browser, { viewport: { width: 1440, height: 900 } });
    await page.goto(address);
    const focused = () => page.evaluate<string>('document.activeElement.className || document.activeElement.id');
    const visible = () =>
      page.evaluate<string>(`[...document.querySelectorAll('#cost-0-nfe .variant')].find((one) => one.checkVisibility()).className`);
    await page.keyboard.press('Tab');
    expect(await focused()).toBe('skip');
    await page.keyboard.press('Enter');
    expect(await focused()).toBe('content');
    expect(await visible()).toBe('variant log-lin');
    for (let i = 0; i < 10 && (await focused()) !== 'switch-x'; i++) await page.keyboard.press('Tab');
    expect(await focused()).toBe('switch-x');
    await page.keyboard.press('Space');
    expect(await visible()).toBe('variant lin-lin');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Space');
    expect(await visible()).toBe('variant lin-log');
    await page.close();
  });

  test('on paper: dark on white whatever the screen has, without switches, with what is folded', async () => {
    const { page } = await observed(browser, { viewport: { width: 720, height: 900 }, colorScheme: 'dark' });
    await page.goto(address);
    await page.emulateMedia({ media: 'print', colorScheme: 'dark' });
    const look = await page.evaluate<string[]>(
      '(() => { const { color } = getComputedStyle(document.body); const { backgroundColor } = getComputedStyle(document.documentElement); return [color, backgroundColor]; })()',
    );
    expect(look).toEqual(['rgb(28, 31, 35)', 'rgb(255, 255, 255)']);
    expect(await page.locator('.switchable input').first().isVisible()).toBe(false);
    expect(await page.locator('details pre').first().isVisible()).toBe(true);
    await page.close();
  });
});
