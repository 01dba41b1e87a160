/** @file `onestep sample`: files of every kind, reproducible, with classes as asked for; and what is refused. */
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { decodeRaw } from '../../data/image.ts';
import { readSafetensors, toBigInt64, toFloat32 } from '../../engine/io/safetensors.ts';
import { attempt } from '../testing/command.ts';
import { writeTinyRun } from '../testing/tiny.ts';

let folder = '';
let teacher = '';
let student = '';
let onnx = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sample-'));
  teacher = await writeTinyRun(join(folder, 'teacher'));
  student = await writeTinyRun(join(folder, 'student'), { levels: [80] });
  onnx = join(folder, 'student.onnx');
  await attempt('export', student, '--out', onnx, '--no-check');
});
afterAll(() => rm(folder, { recursive: true }));

/** Draws into a tensor file. */
async function draw(name: string, ...args: readonly string[]) {
  const out = join(folder, `${name}.safetensors`);
  const { code, stderr, stdout } = await attempt('sample', ...args, '--threads', '1', '--out', out, '--json');
  expect([code, stderr]).toEqual([0, '']);
  const { tensors } = await readSafetensors(out);
  return {
    facts: JSON.parse(stdout) as Record<string, unknown>,
    images: toFloat32(tensors.get('images')!),
    labels: [...toBigInt64(tensors.get('labels')!)].map(Number),
  };
}

describe('drawing', () => {
  test('a teacher: Heun with two evaluations a step but the last; classes in turn', async () => {
    const { facts, labels } = await draw('teacher', teacher, '--n', '12', '--steps', '3', '--seed', '5');
    expect(facts).toMatchObject({ kind: 'samples', n: 12, seed: 5, sampler: 'heun', nfe: 5, model: teacher });
    expect(labels).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]);
  });
  test('depends on the seed, not on the batch', async () => {
    const of = async (name: string, seed: string, batch: string) =>
      (await draw(name, student, '--n', '5', '--label', '3', '--seed', seed, '--batch', batch)).images;
    const [a, b, c] = [await of('a', '1', '5'), await of('b', '1', '2'), await of('c', '2', '5')];
    // Batches of another size may round differently.
    expect(Math.max(...a.map((v, i) => Math.abs(v - b[i]!)))).toBeLessThan(1e-4);
    expect(Math.max(...a.map((v, i) => Math.abs(v - c[i]!)))).toBeGreaterThan(0.1);
  });
  test('a student file gives the samples of its model, with the same classes', async () => {
    const [a, b] = [await draw('model', student, '--n', '4', '--label', '7,0'), await draw('file', onnx, '--n', '4', '--label', '7,0')];
    expect(a.labels).toEqual([7, 0, 7, 0]);
    expect(b.labels).toEqual(a.labels);
    expect(b.facts).toMatchObject({ sampler: 'student', nfe: 1 });
    expect(Math.max(...a.images.map((v, i) => Math.abs(Math.min(1, Math.max(-1, v)) - b.images[i]!)))).toBeLessThan(1e-4);
  });
  test("a sampler's own options have their effect; guidance doubles the evaluations", async () => {
    const at = async (name: string, ...args: readonly string[]) => draw(name, teacher, '--n', '2', '--steps', '3', ...args);
    const plain = await at('plain', '--sampler', 'ddim');
    const noisy = await at('noisy', '--sampler', 'ddim', '--sampler-eta', '1');
    expect(plain.facts).toMatchObject({ sampler: 'ddim', nfe: 3 });
    expect(noisy.images).not.toEqual(plain.images);
    expect((await at('guided', '--guidance', '2')).facts).toMatchObject({ nfe: 10 });
  });
  test('schedules and their options have their effect; a warm-up counts', async () => {
    const at = async (name: string, ...args: readonly string[]) => draw(name, teacher, '--n', '2', '--steps', '5', ...args);
    const plain = await at('pndm', '--sampler', 'pndm');
    expect(plain.facts).toMatchObject({ sampler: 'pndm', nfe: 3 * 4 + 2 });
    const flow = await at('flow', '--sampler', 'unipc', '--schedule', 'flow');
    const shifted = await at('shifted', '--sampler', 'unipc', '--schedule', 'flow', '--schedule-shift', '3');
    expect(shifted.facts).toMatchObject({ sampler: 'unipc', nfe: 5 });
    expect(shifted.images).not.toEqual(flow.images);
    expect([...(await at('clipped', '--clip', '0.5')).images].every((v) => Math.abs(v) <= 0.5)).toBe(true);
  });
  test('a sheet and a folder', async () => {
    const sheet = await attempt('sample', student, '--n', '20', '--threads', '1', '--out', join(folder, 'sheet.png'));
    expect(sheet.stdout).toMatch(/^20 samples of .*student in .*sheet\.png: sampler student, NFE 1, [\d.e+]+ images\/s, seed 0\n$/);
    // Ten rows of two pictures, 56 pixels high with gaps of 2.
    expect((await decodeRaw(join(folder, 'sheet.png'), 1)).height).toBe(2 + 10 * 58);
    await attempt('sample', onnx, '--n', '3', '--threads', '1', '--out', join(folder, 'many'));
    expect((await readdir(join(folder, 'many'))).sort()).toEqual(['000000-0.png', '000001-1.png', '000002-2.png']);
  });
});

describe('refused with one line', () => {
  const cases: readonly (readonly [string, () => readonly string[], string])[] = [
    ['a class that is not there', () => [student, '--label', '3,12'], 'label: 12 is no class of'],
    ['no samples', () => [student, '--n', '0'], 'sample.n: 0 is not a whole number in [1, 10000000]'],
    ['half a sample', () => [student, '--n', '1.5'], 'sample.n: 1.5 is not a whole number'],
    [
      'words for numbers',
      () => [student, '--n', 'many'],
      "option '--n <n>' argument 'many' is invalid. It should be a whole number in [1, 10000000].",
    ],
    ['steps of a student', () => [student, '--steps', '4'], 'has levels of its own (80); leave --steps out'],
    ['steps of a finished student', () => [onnx, '--steps', '4'], 'steps: the finished student'],
    ['an unknown sampler', () => [teacher, '--sampler', 'hein'], 'drawing.sampler: "hein" is not one of auto, euler, heun'],
    [
      "another sampler's option",
      () => [teacher, '--sampler', 'dpmpp-2m', '--sampler-eta', '1'],
      'samplerEta: the sampler dpmpp-2m has no such option; it has samplerSolver',
    ],
    [
      "another schedule's option",
      () => [teacher, '--schedule', 'karras', '--schedule-shift', '3'],
      'scheduleShift: the schedule karras has no such option; it has scheduleRho',
    ],
    [
      'a nameless option',
      () => [teacher, '--schedule-shift', '3'],
      'scheduleShift: no schedule is named; name the one that it belongs to with --schedule',
    ],
    [
      'an option out of range',
      () => [teacher, '--schedule', 'flow', '--schedule-shift', '0'],
      'schedule flow.shift: 0 is not a number in [0.01, 100]',
    ],
    ['a sampler for students', () => [teacher, '--sampler', 'lcm'], 'sampler: lcm takes what the network says for a sample, but'],
    ['a sampler of another method', () => [student, '--sampler', 'ctm'], 'sampler: ctm is for students of ctm, but'],
    ['levels of a student', () => [student, '--schedule', 'karras'], 'schedule: the student'],
    ['a schedule of a finished student', () => [onnx, '--schedule', 'karras'], 'schedule: the finished student'],
    ['a mistyped flag', () => [teacher, '--sampler-ete', '1'], "unknown option '--sampler-ete' (Did you mean --sampler-eta?)"],
    ['a mistyped bundled model', () => ['digit-techer'], 'model: there is no digit-techer; did you mean digit-teacher?'],
    ['no model', () => [], "missing required argument 'model'"],
    ['two models', () => [teacher, student], 'too many arguments'],
  ];
  test.each(cases)('%s', async (_, args, message) => {
    const { code, stdout, stderr } = await attempt('sample', ...args(), '--out', join(folder, 'never.png'));
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toContain(message);
    expect(stderr).toMatch(/^error: [^\n]*\n$/);
  });
});
