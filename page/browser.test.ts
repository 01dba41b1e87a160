/** @file A student's page in a browser: the pixels and the training of Node, quiet, narrow enough, used by keyboard alone. */
import { mkdtempSync, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { tinyModel } from '../cli/testing/tiny.ts';
import { studentOnnx } from '../cli/work/exporting.ts';
import { method } from '../cli/work/methods.ts';
import { loadModel, type Model } from '../cli/work/model.ts';
import { type Plan, planOf } from '../cli/work/plan.ts';
import { writeSite } from '../cli/work/site.ts';
import { emptyBatch, pageRun, trainingFiles } from '../cli/work/site-training.ts';
import { makeTrainer } from '../cli/work/training.ts';
import { toBytes } from '../data/bytes.ts';
import { decodeRaw } from '../data/image.ts';
import { BROWSER_NEEDED, hasBrowser, openBrowser, overflow } from '../eval/report/testing/browser.ts';
import { loadStudent, type StudentRequest } from '../student/student.ts';
import { compiledPage } from './testing/code.ts';
import { hasWebRuntime } from './testing/runtime.ts';
import { type Served, serveFolder } from './testing/serve.ts';
import { show } from './testing/site.ts';

const AREA = 784;
const tiny = studentOnnx(tinyModel({ levels: [80, 0.8], method: 'dmd2', teacher: 'digit-teacher' }));
const teacher = tinyModel();
const settings = { steps: 6, batch: 4, lr: 1e-3, ganWeight: 0, ratio: 2, averages: ['constant:0.9'], threads: 1, optimizer: 'adam' };

/** Bytes of the samples that Node draws. */
async function wanted(request: StudentRequest): Promise<number[][]> {
  const student = await loadStudent(tiny, { threads: 1 });
  const { images, n } = await student.sample(request);
  await student.close();
  const bytes = [...toBytes(images)];
  return Array.from({ length: n }, (_, i) => bytes.slice(i * AREA, (i + 1) * AREA));
}
/** The largest difference of two lists of pictures, in levels of 255. */
function farthest(a: readonly number[][], b: readonly number[][]): number {
  expect(a.map((one) => one.length)).toEqual(b.map((one) => one.length));
  return Math.max(...a.flatMap((one, i) => one.map((v, j) => Math.abs(v - b[i]![j]!))));
}
/** Rounding of sums moves a value over the border between two levels. */
const LEVEL = 1;

/** Terms of the first steps of the same training in Node. */
async function nodeTerms(plan: Plan, from: Model, until: number): Promise<Readonly<Record<string, number>>[]> {
  const trainer = await makeTrainer(pageRun(plan, from));
  const terms: Readonly<Record<string, number>>[] = [];
  const batch = emptyBatch(plan, from.card.sample);
  await trainer.run({ until, batch: async () => batch, onStep: (report) => void terms.push(report.terms) });
  await trainer.close();
  return terms;
}
/** The largest difference of a term relative to the largest value that it takes; values below a thousandth are rounding. */
function apart(a: readonly Readonly<Record<string, number>>[], b: readonly Readonly<Record<string, number>>[]): number {
  expect(a.map((terms) => Object.keys(terms))).toEqual(b.map((terms) => Object.keys(terms)));
  const largest = (term: string): number => Math.max(1e-3, ...b.flatMap((terms) => (term in terms ? [Math.abs(terms[term]!)] : [])));
  return Math.max(...a.flatMap((terms, i) => Object.entries(terms).map(([term, value]) => Math.abs(value - b[i]![term]!) / largest(term))));
}

describe.skipIf(!hasBrowser || !hasWebRuntime)(`a student's page (${BROWSER_NEEDED}, and onnxruntime-web)`, () => {
  let folder: string;
  let code: string;
  let browser: Browser;
  let served: Served;
  let plan: Plan;
  const site = async (name: string, more: Partial<Parameters<typeof writeSite>[0]> = {}): Promise<string> => {
    const out = join(folder, name);
    await writeSite({ name: 'student.onnx', student: tiny, out, devices: ['webgpu', 'wasm'], code, ...more });
    return out;
  };
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'onestep-site-'));
    code = compiledPage();
    plan = planOf(await method('dmd2'), null, settings, teacher.card);
    served = await serveFolder(await site('site', { training: await trainingFiles(plan, teacher) }));
    browser = await openBrowser();
  });
  afterAll(async () => {
    await browser?.close();
    await served?.close();
    for (const path of [folder, code]) if (path) rmSync(path, { recursive: true, force: true });
  });

  test.each([
    [390, 'light'],
    [390, 'dark'],
    [1440, 'light'],
  ] as const)(
    '%d pixels, %s: draws what Node draws, asks no other server, nothing to complain of, no wider than the window',
    async (width, colorScheme) => {
      const { page, complaints, requests, drawn, pixels } = await show(browser, served.url, {
        viewport: { width, height: 900 },
        colorScheme,
      });
      expect(await drawn()).toMatch(/^20 images, [\d.]+ ms per image on WASM, 1 thread; the first run, which starts the runtime\.$/);
      expect(farthest(await pixels(), await wanted({ n: 20, seed: 0 }))).toBeLessThanOrEqual(LEVEL);
      expect(await overflow(page)).toBe(0);
      expect(complaints).toEqual([]);
      expect(requests.filter((url) => !url.startsWith(served.url))).toEqual([]);
      await page.close();
    },
  );

  test('by keyboard: seed, class and number are typed, Enter draws, and the PNG holds the samples', async () => {
    const { page, drawn, pixels, said } = await show(browser, served.url, {
      viewport: { width: 1440, height: 900 },
      acceptDownloads: true,
    });
    await drawn();
    const focused = (): Promise<string> => page.evaluate<string>('document.activeElement.id');
    const type = async (text: string): Promise<void> => {
      await page.keyboard.press('ControlOrMeta+a');
      await page.keyboard.type(text);
    };
    await page.keyboard.press('Tab');
    expect(await focused()).toBe('seed');
    await type('7');
    await page.keyboard.press('Tab');
    expect(await focused()).toBe('label');
    await page.keyboard.type('3');
    await page.keyboard.press('Tab');
    expect(await focused()).toBe('count');
    await type('5');
    await page.keyboard.press('Enter');
    await said('#status', /^5 images/);
    const samples = await pixels();
    expect(farthest(samples, await wanted({ n: 5, seed: 7, labels: [3] }))).toBeLessThanOrEqual(LEVEL);
    expect(await page.getAttribute('#samples canvas', 'aria-label')).toBe('sample 1, seed 7, class 3');
    for (let i = 0; i < 4 && (await focused()) !== 'save'; i++) await page.keyboard.press('Tab');
    const [download] = await Promise.all([page.waitForEvent('download'), page.keyboard.press('Enter')]);
    expect(download.suggestedFilename()).toBe('samples-seed-7.png');
    const sheet = await decodeRaw(await readFile(await download.path()), 1);
    expect([sheet.width, sheet.height]).toEqual([5 * 28 + 4 * 2, 28]);
    const cut = Array.from({ length: 5 }, (_, i) =>
      Array.from({ length: AREA }, (_, p) => sheet.data[Math.floor(p / 28) * sheet.width + i * 30 + (p % 28)]!),
    );
    expect(farthest(cut, samples)).toBe(0);
    await page.close();
  });

  test('a number that is out of range is not drawn; neither is anything on a device that is not there', async () => {
    const { page, drawn, said, complaints } = await show(browser, served.url);
    await drawn();
    await page.fill('#count', '1000');
    await page.keyboard.press('Enter');
    expect(await page.evaluate<boolean>(`document.querySelector('#count').validity.rangeOverflow`)).toBe(true);
    await page.fill('#count', '3');
    await page.selectOption('#device', 'webgpu');
    await said('#status', /^Not drawn: this browser offers no WebGPU here; choose another device\.$/);
    await page.selectOption('#device', 'wasm');
    await said('#status', /^3 images/);
    expect(complaints).toEqual([]);
    await page.close();
  });

  test('isolated from other origins it computes on several threads, to the same pixels', async () => {
    // From a folder of its server, too.
    const isolated = await serveFolder(folder, { isolated: true });
    const { page, drawn, pixels, complaints } = await show(browser, `${isolated.url}site/`);
    const cores = await page.evaluate<number>('navigator.hardwareConcurrency');
    expect(await drawn()).toContain(`WASM, ${Math.min(cores, 8)} thread`);
    expect(farthest(await pixels(), await wanted({ n: 20, seed: 0 }))).toBeLessThanOrEqual(LEVEL);
    expect(complaints).toEqual([]);
    await page.close();
    await isolated.close();
  });

  test('in colour and without classes', async () => {
    const model = tinyModel({ levels: [80], sample: { shape: [3, 8, 16], classes: 0 } });
    const bytes = studentOnnx(model);
    const colour = await serveFolder(await site('colour', { student: bytes, devices: ['wasm'] }));
    const { page, drawn, complaints } = await show(browser, colour.url);
    expect(await drawn()).toMatch(/^16 images/);
    expect(await page.locator('#label').count()).toBe(0);
    const rgba = await page.evaluate<number[]>(
      `[...document.querySelector('#samples canvas').getContext('2d').getImageData(0, 0, 16, 8).data]`,
    );
    const student = await loadStudent(bytes, { threads: 1 });
    const { images } = await student.sample();
    await student.close();
    const own = toBytes(images);
    const expected = Array.from({ length: 512 }, (_, i) => (i % 4 === 3 ? 255 : own[(i % 4) * 128 + (i >> 2)]!));
    expect(farthest([rgba], [expected])).toBeLessThanOrEqual(LEVEL);
    expect(complaints).toEqual([]);
    await page.close();
    await colour.close();
  });

  test('training: stops, draws, goes on and ends, with the terms of Node', async () => {
    const { page, drawn, said, terms, pixels, complaints } = await show(browser, `${served.url}?steps=4`, {
      viewport: { width: 390, height: 900 },
    });
    await drawn();
    await page.focus('#train');
    await page.keyboard.press('Enter');
    await said('#training-status', /^Step \d of 6|^\d steps made/);
    // Another order ends it between two steps.
    await page.click('#another');
    await said('#training-status', /^Stopped after step \d|^4 steps made/);
    await said('#status', /per image on/);
    // A press makes 4 steps: from where it stopped that may not be all.
    let made = '';
    while (!made.startsWith('6')) {
      await page.click('#train');
      made = await said('#training-status', /^\d steps made, \d+ ms a step on WASM, 1 thread/);
    }
    expect(await page.textContent('#train')).toBe('Trained');
    expect(await page.isDisabled('#train')).toBe(true);
    expect(apart(await terms(), await nodeTerms(plan, teacher, 6))).toBeLessThan(1e-3);
    expect((await pixels('#preview')).length).toBe(20);
    expect(await overflow(page)).toBe(0);
    expect(complaints).toEqual([]);
    await page.close();
  });

  test('the digit teacher: 20 steps of a real training have the losses of Node', { timeout: 200_000 }, async () => {
    const digits = await loadModel('digit-teacher');
    const config = JSON.parse(await readFile(join(import.meta.dirname, '../configs/page.json'), 'utf8')) as Record<string, unknown>;
    const real = planOf(await method('dmd2'), null, { ...config, batch: 4, threads: 2 }, digits.card);
    const trained = await serveFolder(await site('digits', { devices: ['wasm'], training: await trainingFiles(real, digits) }));
    const { page, said, terms, complaints } = await show(browser, `${trained.url}?steps=20`);
    await page.click('#train');
    await said('#training-status', /^20 steps made/, 150_000);
    expect(apart(await terms(), await nodeTerms(real, digits, 20))).toBeLessThan(5e-3);
    expect(complaints).toEqual([]);
    await page.close();
    await trained.close();
  });

  test('on WebGPU, in software: the same samples, and the terms of Node', { timeout: 200_000 }, async ({ skip }) => {
    const gpu = await openBrowser({ gpu: true });
    try {
      const { page, drawn, said, pixels, terms, complaints } = await show(gpu, `${served.url}?steps=2`);
      await drawn();
      if (!(await page.evaluate<boolean>('navigator.gpu ? navigator.gpu.requestAdapter().then(Boolean) : false')))
        skip('the browser offers no WebGPU adapter');
      await page.fill('#count', '3');
      await page.selectOption('#device', 'webgpu');
      expect(await said('#status', /^3 images.*WebGPU|^Not drawn/, 150_000)).toContain('WebGPU (in software)');
      expect(farthest(await pixels(), await wanted({ n: 3, seed: 0 }))).toBeLessThanOrEqual(LEVEL);
      await page.click('#train');
      await said('#training-status', /^2 steps made|^Not trained/, 150_000);
      expect(apart(await terms(), await nodeTerms(plan, teacher, 2))).toBeLessThan(1e-3);
      expect(complaints).toEqual([]);
    } finally {
      await gpu.close();
    }
  });
});
