/** @file The search of levels against students whose best levels are known in closed form. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { toFloat } from '../../data/bytes.ts';
import { acquireLock } from '../../engine/io/lock.ts';
import { attempt } from '../testing/command.ts';
import { gaussianModel } from '../testing/gaussian.ts';
import { tinyModel, writeTinyRun } from '../testing/tiny.ts';
import { loadModel, saveModel } from './model.ts';
import { type Measure, type Search, searchLevels, searchStudent, writeLevels } from './search-levels.ts';

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'search-'));
});
afterAll(() => rm(folder, { recursive: true }));

/** Data of deviation s, and a student that says the mean of what it sees: s²/(s² + σ²) x, which is always too little. */
const S = 0.5;
const said = (variance: number, sigma: number): number => (S ** 2 / (S ** 2 + sigma ** 2)) ** 2 * (variance + sigma ** 2);
/** Variance of samples that were said at each of the levels, from noise alone. */
const varianceAfter = (levels: readonly number[]): number => levels.reduce(said, 0);
/**
 * What has variance v is made s² √(v + σ²)/(s² + σ²) wide by a call at level σ, which is most where s² + σ² = 2 (v + σ²). Even that is too
 * little, so that the most is the best.
 */
const bestAfter = (levels: readonly number[]): number => Math.sqrt(S ** 2 - 2 * varianceAfter(levels));

describe('the search', () => {
  const search = (more: Partial<Search<number>> = {}): Search<number> => ({
    first: 80,
    calls: 2,
    low: 0.002,
    high: 80,
    rho: 7,
    iterations: 30,
    measure: async (levels) => (Math.sqrt(varianceAfter(levels)) - S) ** 2, // the Fréchet distance of two Gaussians
    distance: (measured) => measured,
    ...more,
  });
  test('finds the level of a second call, and of a third one given the second', async () => {
    const second = bestAfter([80]);
    const third = bestAfter([80, second]);
    expect([second, third]).toEqual([expect.closeTo(0.5, 4), expect.closeTo(0.5 / Math.SQRT2, 4)]);
    const two = await searchLevels(search());
    expect(two.levels).toEqual([80, expect.closeTo(second, 3)]);
    const three = await searchLevels(search({ calls: 3 }));
    expect(three.levels).toEqual([80, expect.closeTo(second, 3), expect.closeTo(third, 3)]);
    expect(three.measured).toBeLessThan(two.measured);
  });
  test('measures two candidates an iteration, within the range, and gives the best of them', async () => {
    const tried: (readonly number[])[] = [];
    const found = await searchLevels(search({ calls: 3, iterations: 4, low: 0.6, high: 5, onTry: ({ levels }) => tried.push(levels) }));
    expect(tried.map((levels) => levels.length)).toEqual([...Array(8).fill(2), ...Array(8).fill(3)]);
    for (const levels of tried) for (const level of levels.slice(1)) expect([level > 0.6, level < 5]).toEqual([true, true]);
    // Above the optimum lower is better: what is found is the lowest of those tried, one third of the way in each of four cuts.
    const lowest = Math.min(...tried.filter((l) => l.length === 2).map((l) => l[1]!));
    expect(found.levels[1]).toBe(lowest);
    const inRho = (v: number): number => v ** (1 / 7);
    expect((inRho(lowest) - inRho(0.6)) / (inRho(5) - inRho(0.6))).toBeCloseTo((2 / 3) ** 3 / 3, 3);
  });
});

/** Measures samples by how far the deviation of their values is from that of the data. Bytes are pixels from −1 to 1. */
const byDeviation: Measure = async (images) => {
  const squares = toFloat(images).reduce((sum, v) => sum + v * v, 0);
  return { heldOut: Number.NaN, training: (Math.sqrt(squares / images.length) - S) ** 2 };
};
const settings = { calls: 2, range: [], iterations: 7, samples: 6, batch: 4, seed: 0, threads: 1 };

describe('a student', { timeout: 180_000 }, () => {
  test('of a method that trains at all levels: from one call to two, the same noise for all', async () => {
    const { before, after } = await searchStudent(gaussianModel({ method: 'ect', levels: [80] }), settings, byDeviation);
    expect(before.levels).toEqual([80]);
    expect(before.measured.training).toBeCloseTo((Math.sqrt(varianceAfter([80])) - S) ** 2, 2); // nearly S²: next to nothing is left of the noise
    // 7 cuts leave (2/3)^7 = 6 % of the schedule.
    expect(after.levels[1]!).toBeGreaterThan(0.35);
    expect(after.levels[1]!).toBeLessThan(0.7);
    expect(after.measured.training).toBeCloseTo((S / 2) ** 2, 2);
  });
  test('whose levels are as good already keeps them', async () => {
    const model = gaussianModel({ method: 'ect', levels: [80, 0.5] });
    const { before, after } = await searchStudent(model, { ...settings, range: [5, 60], iterations: 1 }, byDeviation);
    expect(after).toBe(before);
  });
  test.each([
    [{ levels: null }, {}, /^search-levels: tiny is a teacher, which has no levels of its own; give a student$/],
    [{ method: 'dmd2', levels: [80] }, {}, /^search-levels: tiny was trained by dmd2 at level 80 alone, and is right nowhere else; /],
    [{ method: 'dmd2', levels: [80, 5] }, { range: [1, 20] }, /^range: 1,20 does not lie within 5,80, where tiny was trained; /],
    [{ method: 'dmd2', levels: [80, 5] }, { range: [20] }, /^range: \[20\] is not LOWEST,HIGHEST$/],
  ])('%j with %j is refused', async (card, more, message) => {
    await expect(searchStudent(tinyModel(card), { ...settings, ...more }, byDeviation)).rejects.toThrow(message);
  });
});

test('levels are written on the card alone, not into checkpoints, and not while the run goes on', async () => {
  const run = await writeTinyRun(join(folder, 'run'), { levels: [80] });
  const before = await loadModel(run);
  await writeLevels(run, before, [80, 0.8]);
  const after = await loadModel(run);
  expect(after.card).toEqual({ ...before.card, levels: [80, 0.8] });
  expect([...after.weights]).toEqual([...before.weights]);
  const file = join(folder, 'student.safetensors');
  await saveModel(file, before.card, before.weights);
  await writeLevels(file, before, [80, 0.7]);
  expect((await loadModel(file)).card.levels).toEqual([80, 0.7]);
  const release = await acquireLock(run);
  await expect(writeLevels(run, before, [80])).rejects.toThrow(/in use by process/);
  await release();
  await expect(writeLevels('digit-teacher', before, [80])).rejects.toThrow(/^write: digit-teacher comes with the package; copy it/);
  await expect(writeLevels(folder, before, [80])).rejects.toThrow(/is a checkpoint, whose files are sealed; give its run folder/);
});

describe('the command', { timeout: 300_000 }, () => {
  test('measures, tells and writes what is better', async () => {
    const run = await writeTinyRun(join(folder, 'ect'), { method: 'ect', levels: [80] });
    const args = [run, '--samples', '20', '--iterations', '1', '--threads', '1', '--write', '--json'];
    const { code, stdout, stderr } = await attempt('search-levels', ...args);
    expect([code, stderr]).toEqual([0, '']);
    const found = JSON.parse(stdout) as Record<'before' | 'after', { levels: number[]; frechetTraining: number }> & { written: boolean };
    expect(found).toMatchObject({ kind: 'levels', model: run, samples: 20, seed: 0, before: { levels: [80] } });
    expect(found.written).toBe(found.after.frechetTraining < found.before.frechetTraining);
    // The thirds of σ^(1/7) between the lowest level of the schedule and 80.
    const [low, high] = [0.002 ** (1 / 7), 80 ** (1 / 7)];
    const thirds = [1, 2].map((k) => Number(((low + (k * (high - low)) / 3) ** 7).toPrecision(5)));
    expect(thirds).toContain(found.after.levels[1]);
    expect((await loadModel(run)).card.levels).toEqual(found.written ? found.after.levels : [80]);
  });
  test.each([
    [{ levels: [80], method: 'ect' }, ['--steps', '1'], /steps: one call has one level, which is not searched; give at least 2/],
    [
      { levels: [80], method: 'ect', data: 'cifar10:x' },
      [],
      /samples of cifar10:x cannot be measured; students of digits, fashion-mnist can be/,
    ],
    [{ levels: null }, [], /is a teacher, which has no levels of its own; give a student/],
  ])('%j %j is refused', async (card, args, message) => {
    const run = await writeTinyRun(join(folder, 'refused'), card);
    const { code, stderr } = await attempt('search-levels', run, ...args);
    expect(stderr).toMatch(message);
    expect([code, stderr.split('\n').length]).toEqual([2, 2]);
  });
});
