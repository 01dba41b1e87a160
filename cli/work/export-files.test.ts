/** @file The forms of an export: folders with their manifest and programs, weights that load again, and what is refused. The program for Node runs. */
import { mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { packageRoot } from '../../data/artifacts.ts';
import { decodeRaw } from '../../data/image.ts';
import { tempFolder } from '../../data/testing/temp.ts';
import { sha256 } from '../../engine/io/atomic.ts';
import { BROWSER_NEEDED, hasBrowser, openBrowser } from '../../eval/report/testing/browser.ts';
import { hasWebRuntime } from '../../page/testing/runtime.ts';
import { serveFolder } from '../../page/testing/serve.ts';
import { show } from '../../page/testing/site.ts';
import { loadStudent } from '../../student/student.ts';
import { attempt } from '../testing/command.ts';
import { finished } from '../testing/package.ts';
import { tinyModel, writeTinyRun } from '../testing/tiny.ts';
import { modelChecksum } from './benchmark-checksum.ts';
import { loadModel } from './model.ts';
import { webRuntime } from './site-runtime.ts';
import { snippetsOf } from './snippets.ts';

const folder = tempFolder();
const at = (...names: string[]): string => join(folder, ...names);
let student = '';
beforeAll(async () => {
  student = await writeTinyRun(at('run'), { levels: [80, 0.8], method: 'dmd2' });
  await symlink(join(packageRoot(), 'node_modules'), at('node_modules'));
});

describe('a folder', () => {
  const out = at('exported');
  test('holds the student, a manifest that describes it, and programs; it is checked on the spot', async () => {
    const { code, stdout, stderr } = await attempt('export', student, '--format', 'folder', '--out', out, '--json');
    expect([code, stderr]).toEqual([0, '']);
    const said = JSON.parse(stdout) as { maxDifference: number };
    expect(said).toMatchObject({ kind: 'export', format: 'folder', out, storage: 'float32', samples: 8 });
    expect((await readdir(out)).toSorted()).toEqual(['onestep.json', 'student.html', 'student.mjs', 'student.onnx', 'student.py']);
    const bytes = await readFile(join(out, 'student.onnx'));
    const manifest = JSON.parse(await readFile(join(out, 'onestep.json'), 'utf8')) as object;
    expect(manifest).toMatchObject({
      format: 1,
      kind: 'student',
      parts: { student: 'student.onnx' },
      shape: [1, 28, 28],
      classes: 10,
      noise: ['noise', 'noise1'],
      levels: [80, 0.8],
      metadata: { method: 'dmd2' },
      files: { 'student.onnx': { bytes: bytes.length, sha256: sha256(bytes) } },
      check: { samples: 8, maxDifference: said.maxDifference },
    });
  });
  test('is loaded, sampled and written again like the file inside', async () => {
    const request = { n: 2, seed: 3 };
    const [whole, file] = [await loadStudent(out, { threads: 1 }), await loadStudent(join(out, 'student.onnx'), { threads: 1 })];
    expect((await whole.sample(request)).images).toEqual((await file.sample(request)).images);
    await Promise.all([whole.close(), file.close()]);
    expect((await attempt('sample', out, '--n', '2', '--threads', '1', '--out', at('drawn.png'))).code).toBe(0);
    expect((await attempt('export', student, '--format', 'folder', '--out', out, '--no-check', '--no-snippets')).code).toBe(0);
    expect(await modelChecksum(out)).toBe(await modelChecksum(join(out, 'student.onnx')));
    expect((await attempt('export', out)).stderr).toBe(
      `error: model: ${out} is a finished student, which can be sampled and evaluated only; give the run folder that it comes from\n`,
    );
  });
  test('that holds something else is left alone; one without a student is refused', async () => {
    await mkdir(at('full'));
    await writeFile(at('full', 'notes.txt'), 'mine');
    expect(await attempt('export', student, '--format', 'folder', '--out', at('full'))).toMatchObject({
      code: 2,
      stderr: `error: out: ${at('full')} holds files already, and is no exported student; choose a new or an empty folder\n`,
    });
    await expect(loadStudent(at('full'))).rejects.toThrow(
      `${at('full')}: holds no onestep.json; give a student's file or a folder that onestep export wrote`,
    );
    for (const [i, text] of [
      '{',
      'null',
      '{"parts":{"student":"../secret.onnx"}}',
      '{"parts":{"student":7}}',
      '{"parts":{"student":".."}}',
    ].entries()) {
      await mkdir(at(`wrong${i}`));
      await writeFile(at(`wrong${i}`, 'onestep.json'), text);
      await expect(loadStudent(at(`wrong${i}`))).rejects.toThrow('names no student among its parts; export the student again');
    }
  });
});

describe('the programs', () => {
  test('are written beside a file where they are asked for', async () => {
    const out = at('named.onnx');
    const { code, stdout } = await attempt('export', student, '--out', out, '--snippets', '--no-check');
    expect(code).toBe(0);
    expect(stdout).toBe(
      `${student} is written to ${['onnx', 'py', 'mjs', 'html'].map((kind) => at(`named.${kind}`)).join(', ')} (weights in float32)\n`,
    );
    expect(await readFile(at('named.py'), 'utf8')).toContain('"named.onnx"');
  });
  test('Node: runs as it stands and writes pictures', { timeout: 60_000 }, async () => {
    const { code, stdout, stderr } = await finished(process.execPath, ['named.mjs'], folder);
    expect(code, stderr).toBe(0);
    const [, low, high] = /\[ 4, 1, 28, 28 \] (\S+) (\S+)/.exec(stdout)!.map(Number);
    expect(low).toBeGreaterThanOrEqual(-1);
    expect(high).toBeLessThanOrEqual(1);
    expect(high).toBeGreaterThan(low!);
    for (let i = 0; i < 4; i++) expect(await decodeRaw(at(`sample-${i}.png`), 1)).toMatchObject({ width: 28, height: 28 });
  });
  test('Node, in colour: channels come where they belong', { timeout: 60_000 }, async () => {
    const run = await writeTinyRun(at('colour'), { levels: [80], sample: { shape: [3, 8, 16], classes: 0 } });
    expect((await attempt('export', run, '--format', 'folder', '--out', at('colours'), '--no-check')).code).toBe(0);
    // Noise of ones, so that the picture is known.
    const program = (await readFile(at('colours', 'student.mjs'), 'utf8')).replace(/const normal = .*;/, 'const normal = () => 1;');
    await writeFile(at('colours', 'ones.mjs'), `${program}\nconsole.log(JSON.stringify([...image.data.subarray(0, 384)]));\n`);
    const { code, stdout, stderr } = await finished(process.execPath, ['ones.mjs'], at('colours'));
    expect(code, stderr).toBe(0);
    const values = JSON.parse(stdout.trim().split('\n').at(-1)!) as number[];
    const { data, width, height } = await decodeRaw(at('colours', 'sample-0.png'), 3);
    expect([width, height]).toEqual([16, 8]);
    expect([...data]).toEqual(values.map((v) => Math.round((v + 1) * 127.5)));
  });
  test('samples that are no pictures are only printed', () => {
    const programs = snippetsOf('points.onnx', { shape: [2], classes: 0, noises: 1 });
    for (const text of Object.values(programs)) expect(text).not.toMatch(/png|label|undefined|NaN|canvas/);
    expect(programs.py).toContain('(n, 2)');
  });
  test.skipIf(!hasBrowser || !hasWebRuntime)(`browser: draws (${BROWSER_NEEDED})`, async () => {
    await symlink(join((await webRuntime(['wasm'])).files[0]!, '..'), at('ort'));
    const served = await serveFolder(folder);
    const browser = await openBrowser();
    try {
      const { page, complaints } = await show(browser, `${served.url}named.html`);
      await page.locator('canvas').nth(3).waitFor({ timeout: 30_000 });
      expect(await page.evaluate<number>(`document.querySelector('canvas').getContext('2d').getImageData(0, 0, 28, 28).data[3]`)).toBe(255);
      expect(complaints.filter((line) => !line.includes('404'))).toEqual([]);
    } finally {
      await browser.close();
      await served.close();
    }
  });
});

describe('weights', () => {
  test('load again as the same model; in float16 the distance is stated', async () => {
    const out = at('weights.safetensors');
    const { code, stdout } = await attempt('export', student, '--format', 'safetensors', '--out', out, '--json');
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toEqual({
      kind: 'export',
      out,
      format: 'safetensors',
      storage: 'float32',
      samples: 8,
      maxDifference: 0,
      rmsDifference: 0,
    });
    const [a, b] = [tinyModel({ levels: [80, 0.8], method: 'dmd2' }), await loadModel(out)];
    expect(b.card).toEqual(a.card);
    expect([...b.weights].toSorted()).toEqual([...a.weights].toSorted());
    const half = await attempt('export', student, '--format', 'safetensors', '--out', out, '--storage', 'float16', '--json');
    const { maxDifference } = JSON.parse(half.stdout) as { maxDifference: number };
    expect(maxDifference).toBeGreaterThan(0);
    expect(Number.isFinite(maxDifference)).toBe(true);
  });
  test('of a teacher too', async () => {
    const teacher = await writeTinyRun(at('teacher'));
    expect((await attempt('export', teacher, '--format', 'safetensors', '--out', at('teacher.safetensors'))).code).toBe(0);
  });
  test.each([
    [['--format', 'safetensors', '--out', 'x.onnx'], 'out: x.onnx does not end in .safetensors; give a name that does'],
    [
      ['--format', 'safetensors', '--snippets'],
      'snippets: there are none for weights, which need their network; leave it out, or choose the format onnx or folder',
    ],
    [['--format', 'folder', '--separate'], 'separate: experts are written as ONNX files alone; leave --format and --snippets out'],
  ])('%j is refused', async (args, message) => {
    expect(await attempt('export', student, ...args)).toMatchObject({ code: 2, stderr: `error: ${message}\n` });
  });
});
