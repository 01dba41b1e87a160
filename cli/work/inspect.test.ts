/** @file Inspection: estimates of known models in numbers, captions that can be read, and the command. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { decodeRaw } from '../../data/image.ts';
import { sampler } from '../../samplers/index.ts';
import { attempt } from '../testing/command.ts';
import { gaussianModel } from '../testing/gaussian.ts';
import { writeTinyRun } from '../testing/tiny.ts';
import { captioned, captionedShape, levelText } from './captions.ts';
import { sampleNoise } from './feeds.ts';
import { factsOf, type Inspected, studentOf, waysOf } from './inspect.ts';

describe('captions', () => {
  test('levels in at most seven letters', () => {
    expect([80, 57.58598, 1.234, 0.0034567, 0.002, 1e-7].map(levelText)).toEqual(['80', '57.6', '1.23', '0.0035', '0.002', '1e-7']);
  });
  test('black on white under the picture, which stays as it is, in every channel', () => {
    const shape = [3, 2, 2] as const;
    const to = captionedShape(shape, ['1', '7.5']);
    expect(to).toEqual([3, 9, 11]);
    const image = Uint8Array.from({ length: 12 }, (_, i) => 10 * i);
    const cell = captioned(image, shape, '7.5', to);
    const rows = (c: number): string[] =>
      Array.from({ length: 9 }, (_, y) =>
        Array.from({ length: 11 }, (_, x) => ({ 255: '.', 0: '#' })[cell[(c * 9 + y) * 11 + x]!] ?? 'o').join(''),
      );
    expect(rows(1)).toEqual([
      '....oo.....',
      '....oo.....',
      '...........',
      '###.....###',
      '..#.....#..',
      '..#.....###',
      '..#.......#',
      '..#..#..###',
      '...........',
    ]);
    expect(rows(0).slice(2)).toEqual(rows(1).slice(2));
    expect([...cell.subarray((9 + 1) * 11 + 4, (9 + 1) * 11 + 6)]).toEqual([60, 70]);
  });
});

test('numbers of a Gaussian teacher by Euler and of a student of two calls, from the same noise', async () => {
  const teacher: Inspected = {
    role: 'teacher',
    model: gaussianModel(),
    name: 'euler',
    sampler: sampler('euler'),
    levels: [80, 2],
    guidance: 1,
    clip: 0,
  };
  const student = studentOf(gaussianModel({ method: 'ect', levels: [40, 0.8] }), teacher.model);
  const ways = await waysOf([teacher, student], { labels: Int32Array.of(5, 6), n: 2, seed: 3, threads: 1 });
  expect(ways.map(({ role, label, nfe }) => [role, label, nfe])).toEqual([
    ['teacher', 5, 2],
    ['student', 5, 2],
    ['teacher', 6, 2],
    ['student', 6, 2],
  ]);
  const share = (sigma: number): number => 1 / (1 + 4 * sigma ** 2); // D(x) = x/(1 + 4σ²)
  const z = (sampleNoise([2, 1, 28, 28], 3, 0, 0).data as Float32Array).subarray(784); // of the second sample
  const mean = z.reduce((a, b) => a + b, 0) / 784;
  const deviation = Math.sqrt(z.reduce((a, b) => a + (b - mean) ** 2, 0) / 784);
  // All estimates of the teacher are multiples of the noise.
  const first = 80 * share(80);
  const last = share(2) * 80 * (share(80) + ((1 - share(80)) * 2) / 80);
  const rms = Math.sqrt(z.reduce((a, b) => a + b * b, 0) / 784);
  const close = (v: number) => expect.closeTo(v, 5);
  expect(factsOf(ways[2]!)).toEqual([
    { sigma: 80, mean: close(first * mean), deviation: close(first * deviation), fromLast: close((last - first) * rms) },
    { sigma: 2, mean: close(last * mean), deviation: close(last * deviation), fromLast: 0 },
  ]);
  expect(factsOf(ways[3]!)[0]).toMatchObject({
    sigma: 40,
    mean: close(40 * share(40) * mean),
    deviation: close(40 * share(40) * deviation),
  });
  // The noise of the second call is 0.8 wide and drawn anew.
  expect(factsOf(ways[3]!)[1]!.deviation).toBeCloseTo(0.8 * share(0.8), 1);
});

describe('the command', { timeout: 180_000 }, () => {
  let folder = '';
  const run = (name: string): string => join(folder, name);
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'inspect-'));
    await writeTinyRun(run('teacher'));
    await writeTinyRun(run('student'), { method: 'dmd2', levels: [80] });
  });
  afterAll(() => rm(folder, { recursive: true }));
  test('a row for each model and sample, a column for each step, and the same in numbers', async () => {
    const args = [run('teacher'), run('student'), '--n', '2', '--label', '7', '--steps', '3', '--threads', '1', '--out', run('a.png')];
    const { code, stdout, stderr } = await attempt('inspect', ...args, '--json');
    expect([code, stderr]).toEqual([0, '']);
    const { rows, seed } = JSON.parse(stdout) as { seed: number; rows: { role: string; nfe: number; steps: { sigma: number }[] }[] };
    expect([seed, rows.map(({ role, nfe, steps }) => [role, nfe, steps.length])]).toEqual([
      0,
      [
        ['teacher', 5, 3],
        ['student', 1, 1],
        ['teacher', 5, 3],
        ['student', 1, 1],
      ],
    ]);
    expect(rows[0]!.steps.map(({ sigma }) => sigma)).toEqual([80, expect.closeTo(2.515, 2), expect.closeTo(0.002, 9)]);
    // Four rows of pictures of 28 and a caption of 7, twice as large, with gaps of 2.
    const { height, width } = await decodeRaw(run('a.png'), 3);
    expect(height).toBe(2 + 4 * (2 * 35 + 2));
    expect(width).toBeGreaterThan(2 + 3 * (2 * 28 + 2));
  });
  test('refuses what cannot be shown', async () => {
    const refused = async (args: readonly string[], message: RegExp): Promise<void> => {
      expect(await attempt('inspect', ...args)).toMatchObject({ code: 2, stderr: expect.stringMatching(message) });
    };
    await refused([run('student')], /^error: inspect: .*student is a student; give its teacher first, then the student\n$/);
    await refused(
      [run('teacher'), run('teacher')],
      /^error: inspect: .*teacher is a teacher; give one teacher, and its student after it\n$/,
    );
    await refused([run('teacher'), '--out', run('a.jpg')], /^error: out: .*a\.jpg does not end in \.png; give a name that does\n$/);
  });
});
