/** @file Hybrid sampling against closed forms: where the student goes on, what it makes of it, how many calls it takes, and where it may not. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { sampler } from '../../samplers/index.ts';
import { karras } from '../../samplers/karras.ts';
import { attempt } from '../testing/command.ts';
import { gaussianModel } from '../testing/gaussian.ts';
import { tinyCard, tinyModel, writeTinyRun } from '../testing/tiny.ts';
import { sampleNoise } from './feeds.ts';
import { halvesOf, hybridGenerator, openDrawn } from './hybrid.ts';

const levels = karras(tinyCard().schedule).levels(18);
const everywhere = { kind: 'range', low: 0.002, high: 80 } as const;

describe('where the student goes on', () => {
  const student = (own: readonly number[]) => tinyModel({ method: 'ect', levels: own });
  test('at the level that the steps lead to, and at its own levels below', () => {
    expect(halvesOf(student([80]), everywhere, levels, { steps: 3, level: 0 })).toEqual({
      upper: levels.slice(0, 3),
      entry: levels[3],
      lower: [levels[3]],
    });
    expect(halvesOf(student([80, 30, 1]), everywhere, levels, { steps: 3, level: 25 }).lower).toEqual([25, 1]);
  });
  test('a student of single levels at one of those alone, to which the steps then lead', () => {
    const trained = { kind: 'single', levels: [80, 24.44, 5.84] } as const;
    expect(halvesOf(student([80, 24.44, 5.84]), trained, levels, { steps: 2, level: 24.4400001 })).toMatchObject({
      entry: 24.44,
      lower: [24.44, 5.84],
    });
    expect(() => halvesOf(student([80, 24.44, 5.84]), trained, levels, { steps: 2, level: 0 })).toThrow(
      /^hybrid: the teacher leads to level 40\.79, where ect did not train the student tiny; it may go on at 24\.44, 5\.84 alone: give one of them with --hybrid-level$/,
    );
    expect(() => halvesOf(student([80]), { kind: 'single', levels: [80] }, levels, { steps: 1, level: 0 })).toThrow(
      /; it knows 80 alone, so that no step can come before it$/,
    );
  });
  test('below the last step of the teacher, and not at the end', () => {
    const refused = (steps: number, level: number) => () => halvesOf(student([80]), everywhere, levels, { steps, level });
    expect(refused(18, 0)).toThrow(/^hybridSteps: 18 of the teacher's 18 steps leave none to the student; give fewer$/);
    expect(refused(3, 50)).toThrow(/^hybridLevel: 50 is not below 40\.79, where the teacher's last step begins; give a lower one$/);
    expect(refused(17, 0.0021)).not.toThrow();
    expect(refused(17, 0.001)).toThrow(/^hybrid: the teacher leads to level 0\.001, .*; it may go on at 0\.002 to 80$/);
  });
});

test('samples are those of the formulas: the Gaussian teacher by Euler, then a student of two calls with noise of its own', async () => {
  const [upper, entry] = [[80, 40, 20], 10];
  const generator = hybridGenerator({
    teacher: gaussianModel(),
    student: gaussianModel({ method: 'ect', levels: [80, 0.8] }),
    sampler: sampler('euler'),
    halves: { upper, entry, lower: [entry, 0.8] },
    guidance: 1,
    clip: 0,
    batch: 2,
    threads: 1,
  });
  const images = await generator.generate({ labels: [0, 1, 2], n: 3, seed: 4 });
  await generator.close();
  expect(generator.nfe).toBe(5);
  const share = (sigma: number): number => 1 / (1 + 4 * sigma ** 2); // D(x) = x/(1 + 4σ²)
  // Euler: x ← D + (x − D) next/σ.
  const path = [...upper, entry];
  const scale = upper.reduce((v, sigma, i) => v * (share(sigma) + ((1 - share(sigma)) * path[i + 1]!) / sigma), 80);
  const z = sampleNoise([3, 1, 28, 28], 4, 0, 0).data as Float32Array;
  const fresh = sampleNoise([3, 1, 28, 28], 4, upper.length + 1, 0).data as Float32Array;
  const wanted = z.map((v, i) => (share(entry) * scale * v + 0.8 * fresh[i]!) * share(0.8));
  expect(Math.max(...images.map((v, i) => Math.abs(v - wanted[i]!)))).toBeLessThan(1e-5);
});

describe('the command', { timeout: 180_000 }, () => {
  let folder = '';
  const run = (name: string): string => join(folder, name);
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hybrid-'));
    await writeTinyRun(run('teacher'));
    await writeTinyRun(run('ect'), { method: 'ect', levels: [80] });
    await writeTinyRun(run('dmd2'), { method: 'dmd2', levels: [80] });
    await writeTinyRun(run('grey'), { sample: { shape: [1, 8, 8], classes: 10 } });
    await writeTinyRun(run('plain'), { sample: { shape: [1, 28, 28], classes: 0 } });
    await writeTinyRun(run('plain-ect'), { method: 'ect', levels: [80], sample: { shape: [1, 28, 28], classes: 0 } });
  });
  afterAll(() => rm(folder, { recursive: true }));
  const sample = (student: string, ...args: readonly string[]) =>
    attempt('sample', run(student), ...args, '--n', '2', '--threads', '1', '--out', run('out.safetensors'));
  test('tells the calls: Heun has two a step, guidance twice as many, and the student one', async () => {
    const of = async (...args: readonly string[]) => {
      const { code, stdout, stderr } = await sample('ect', '--hybrid', run('teacher'), ...args, '--json');
      expect([code, stderr]).toEqual([0, '']);
      return JSON.parse(stdout) as Record<string, unknown>;
    };
    expect(await of('--hybrid-steps', '2')).toMatchObject({ nfe: 5, sampler: 'heun to 40.79, then student' });
    expect(await of('--guidance', '2', '--steps', '4')).toMatchObject({ nfe: 5, sampler: 'heun to 9.723, then student' });
  });
  test('is refused what does not go together', async () => {
    const refused = async (student: string, args: readonly string[], message: RegExp): Promise<void> => {
      const { code, stderr } = await sample(student, ...args);
      expect(stderr).toMatch(message);
      expect([code, stderr.split('\n').length]).toEqual([2, 2]);
    };
    await refused('ect', ['--hybrid-steps', '2'], /^error: hybridSteps: has no effect without a teacher; name it with --hybrid\n$/);
    await refused(
      'teacher',
      ['--hybrid', run('teacher')],
      /teacher is a teacher, which needs nobody to go before it; give a student first/,
    );
    await refused('ect', ['--hybrid', run('dmd2')], /hybrid: .*dmd2 is a student; give a teacher, whose sampler leads to every level/);
    await refused('ect', ['--hybrid', run('grey')], /makes \[1,28,28\] with 10 classes, the teacher .*grey \[1,8,8\] with 10; give models/);
    await refused('dmd2', ['--hybrid', run('teacher')], /level 57\.59, where dmd2 did not train the student .*dmd2; it knows 80 alone/);
    await refused(
      'plain-ect',
      ['--hybrid', run('plain'), '--guidance', '2'],
      /^error: guidance: 2 needs a teacher with classes or texts, which /,
    );
    await refused('ect', ['--hybrid', run('teacher'), '--sampler', 'student'], /^error: sampler: student is not for teachers such as /);
  });
  test('without --hybrid everything is as it was', async () => {
    const source = await openDrawn(run('ect'), { threads: 1 });
    expect(source.generator).toMatchObject({ nfe: 1, sampler: 'student' });
    await source.generator.close();
  });
});
