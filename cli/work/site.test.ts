/** @file Sites as files: complete, from this package and the runtime alone; what is trained is what was asked for; and what is refused. */
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join, posix } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { tempFolder } from '../../data/testing/temp.ts';
import { toOnnx } from '../../engine/graph/onnx.ts';
import { add } from '../../engine/graph/ops/elementwise.ts';
import { constant, input } from '../../engine/graph/ops/leaf.ts';
import { elements } from '../../eval/testing/markup.ts';
import { drawn } from '../../page/draws.ts';
import { compiledPage } from '../../page/testing/code.ts';
import { hasWebRuntime } from '../../page/testing/runtime.ts';
import { attempt } from '../testing/command.ts';
import { tinyModel, writeTinyRun } from '../testing/tiny.ts';
import { studentOnnx } from './exporting.ts';
import { method } from './methods.ts';
import { planOf } from './plan.ts';
import { writeSite } from './site.ts';
import { siteCode } from './site-code.ts';
import { renderSite } from './site-html.ts';
import { webRuntime } from './site-runtime.ts';
import { trainingFiles } from './site-training.ts';

const folder = tempFolder();
const at = (...names: string[]): string => join(folder, ...names);
const student = studentOnnx(tinyModel({ levels: [80], method: 'dmd2', data: 'fashion-mnist', teacher: '<b>' }));
const teacher = tinyModel();
const SETTINGS = { steps: 3, batch: 4, ganWeight: 0, ratio: 2, averages: ['constant:0.9'] };
const planWith = async (name: string, settings: object) =>
  planOf(await method(name), null, { ...SETTINGS, ...settings } as never, teacher.card);

let code = '';
beforeAll(() => {
  code = compiledPage();
});
afterAll(() => rm(code, { recursive: true }));

describe('the code', () => {
  test('is the modules that the page reaches, each with what it imports, and nothing of Node', async () => {
    const modules = await siteCode(code);
    expect([...modules.keys()]).toEqual(
      expect.arrayContaining(['page/main.js', 'page/worker.js', 'student/feeds.js', 'engine/random/philox.js']),
    );
    for (const [path, text] of modules) {
      const imports = [...text.matchAll(/\b(?:from|import)\s*\(?\s*['"]([^'"]+)['"]/g)].map(([, name]) => name!);
      expect(imports.filter((name) => !name.startsWith('.'))).toEqual([]);
      for (const name of imports) expect(modules.has(posix.join(posix.dirname(path), name)), `${path} imports ${name}`).toBe(true);
    }
    // Small enough to be read: no bundle, no library.
    expect([...modules.values()].reduce((n, text) => n + text.length, 0)).toBeLessThan(60_000);
  });
  test('of a package that is not built is missed by name', async () => {
    await expect(siteCode(at('nothing'))).rejects.toThrow(
      /^page: .*main\.js|worker\.js is missing; build the package first \(npm run build\)$/,
    );
  });
});

describe('the document', () => {
  const page = {
    title: 'Shirts <b>',
    site: { format: 1, shape: [1, 28, 28], classes: 2, noises: 1, student: 'student.onnx', training: null, devices: ['wasm'] },
    classNames: ['T-shirt/top', '<Trouser>'],
    facts: { teacher: '<b>' },
    training: { method: 'dmd2', steps: 3, terms: ['student/loss'] },
  } as const;
  test('is well formed and escaped, and every field has a label', () => {
    const html = renderSite(page);
    elements(html);
    expect(html).not.toMatch(/<b>|<Trouser>/);
    const fields = [...html.matchAll(/<(?:input|select) id="(\w+)"/g)].map(([, id]) => id);
    expect(fields).toEqual(['seed', 'label', 'count', 'device']);
    for (const id of fields) expect(html).toContain(`<label for="${id}">`);
  });
  test('loads nothing from elsewhere', () => {
    expect(renderSite(page)).toContain(
      "default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'",
    );
    expect(renderSite(page)).not.toMatch(/https?:\/\//);
  });
});

describe('training', () => {
  test('the record of a run: which programs run on which step, fed with what', async () => {
    const { manifest, files } = await trainingFiles(
      await planWith('dmd2', { lr: 0.5, rate: 'constant', optimizer: 'adam', beta1: 0, beta2: 0.99, eps: 1e-4 }),
      teacher,
    );
    expect(manifest).toMatchObject({ format: 1, method: 'dmd2', seed: 0, batch: 4, simultaneous: true });
    // A ratio of 2: the student moves on every other step, the critic on each.
    expect(manifest.steps.map((step) => step.map(({ program }) => program))).toEqual([
      ['student', 'critic'],
      ['critic'],
      ['student', 'critic'],
    ]);
    const { scalars } = manifest.programs['student']!;
    const second = Object.fromEntries(scalars.map((name, i) => [name, manifest.steps[2]![0]!.scalars[i]!]));
    // Adam's second update: the step is lr √(1 − β2²) with β1 = 0, and eps is scaled alike.
    const correction = Math.sqrt(1 - 0.99 ** 2);
    expect(second['student/step']).toBeCloseTo(0.5 * correction, 6);
    expect(second['student/eps']).toBeCloseTo(1e-4 * correction, 8);
    expect(second['student/average/constant:0.9/rate']).toBeCloseTo(0.1, 6);
    // Student, fake score and average start as the teacher and are stored once; moments are zero.
    const { student: own, fake, 'student/average/constant:0.9': average, 'student/v': moment } = manifest.state;
    expect([fake, average]).toEqual([own, own]);
    expect(moment).toEqual({ size: own!.size, offset: null });
    expect(files['values.bin']!.length).toBe(4 * own!.size);
    expect(Object.keys(files).toSorted()).toEqual(['critic.onnx', 'preview.onnx', 'student.onnx', 'values.bin']);
  });
  test('methods that look at data are refused', async () => {
    await expect(trainingFiles(await planWith('dmd2', { ganWeight: 0.1 }), teacher)).rejects.toThrow(
      /^page: the \w+ of dmd2 is fed data, and a page has no data; choose a method and settings without, such as dmd2 with ganWeight 0$/,
    );
  });
  test('conditions are drawn among all classes, or among those that are given', () => {
    const rows = ({ data }: { readonly data: ArrayLike<number | bigint> }, width: number): number[] =>
      Array.from({ length: data.length / width }, (_, i) =>
        Array.from({ length: width }, (_, c) => Number(data[i * width + c]!)).indexOf(1),
      );
    const spec = { name: 'c', kind: 'condition', shape: [2000, 4] } as const;
    const all = rows(drawn(spec, 0, 0), 4);
    // 500 of each are expected, with a deviation of √(2000 · ¼ · ¾) = 19.
    for (let c = 0; c < 4; c++) expect(Math.abs(all.filter((v) => v === c).length - 500)).toBeLessThan(100);
    expect(new Set(rows(drawn({ ...spec, classes: [3, 1] }, 0, 0), 4))).toEqual(new Set([1, 3]));
    expect(rows(drawn(spec, 0, 1), 4)).not.toEqual(all);
  });
});

describe('what is refused', () => {
  // NODE_PATH would lend it to every folder.
  test.skipIf(process.env['NODE_PATH'])('without the runtime: the line says how to get it', async () => {
    await expect(webRuntime(['wasm'], [at('package.json')])).rejects.toThrow(
      'page: the package onnxruntime-web is not installed, whose files the page needs; install it first (npm install onnxruntime-web)',
    );
  });
  test('with a runtime too old for its files', async () => {
    const old = at('old/node_modules/onnxruntime-web');
    await mkdir(join(old, 'dist'), { recursive: true });
    const exports = { './ort-wasm-simd-threaded.wasm': './dist/ort-wasm-simd-threaded.wasm' };
    await writeFile(join(old, 'package.json'), JSON.stringify({ name: 'onnxruntime-web', version: '1.18.0', exports }));
    await writeFile(join(old, 'dist/ort-wasm-simd-threaded.wasm'), '');
    await expect(webRuntime(['wasm'], [join(at('old'), 'package.json')])).rejects.toThrow(
      'page: onnxruntime-web 1.18.0 has no ort.wasm.min.mjs; install version 1.30 or a newer one (npm install onnxruntime-web@^1.30.0)',
    );
  });
  test('samples that are no pictures', async () => {
    const points = toOnnx({ image: add(input('noise', ['N', 2]), constant(0)) });
    await expect(writeSite({ name: 'points.onnx', student: points, out: at('points'), devices: ['wasm'], code })).rejects.toThrow(
      'points.onnx: samples of [2] are no pictures of 1 or 3 channels; take them as numbers',
    );
  });
  test('a teacher; steps of a training that is not asked for', async () => {
    const run = await writeTinyRun(at('teacher'));
    expect(await attempt('page', run, '--out', at('never'))).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/is a teacher, which needs a sampler/),
    });
    expect((await attempt('page', run, '--train-steps', '3')).stderr).toBe(
      'error: trainSteps: 3 steps are of a training, which the page has with --train; add it\n',
    );
    expect((await attempt('page', at('none.onnx'))).stderr).toBe(`error: ${at('none.onnx')}: cannot read: no such file (ENOENT)\n`);
  });
});

describe.skipIf(!hasWebRuntime)('a site', () => {
  const write = (out: string, more: object = {}) => writeSite({ name: 'student.onnx', student, out, devices: ['wasm'], code, ...more });
  test('is whole; written again it stays so; another folder is left alone', async () => {
    const out = at('site');
    const { files, bytes } = await write(out);
    const found = (await readdir(out, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile());
    expect(found.length).toBe(files);
    expect(bytes).toBeGreaterThan(10_000_000);
    expect(await readFile(join(out, 'student.onnx'))).toEqual(Buffer.from(student));
    const html = await readFile(join(out, 'index.html'), 'utf8');
    expect(html).toContain('<option value="9">Ankle boot</option>');
    for (const [, path] of html.matchAll(/(?:src|href)="([^"]+)"/g))
      expect(found.map((entry) => join(entry.parentPath, entry.name))).toContain(join(out, path!));
    await write(out, { title: 'Again' });
    expect(await readFile(join(out, 'index.html'), 'utf8')).toContain('<title>Again</title>');
    await mkdir(at('full'));
    await writeFile(at('full', 'notes.txt'), 'mine');
    await expect(write(at('full'))).rejects.toThrow(
      `out: ${at('full')} holds files already, and is no site; choose a new or an empty folder`,
    );
    await expect(write(at('full', 'notes.txt'))).rejects.toThrow(
      /notes\.txt: cannot write: a part of the path is a file, not a folder \(ENOTDIR\)/,
    );
    expect(dirname(at('full', 'notes.txt'))).toBe(at('full'));
  });
});
