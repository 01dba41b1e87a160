/** @file Consistency training: its scalings, one pair worked out by hand, its curriculum, and the spread that few levels leave. */
import { describe, expect, test } from 'vitest';
import { constant } from '../engine/graph/ops/leaf.ts';
import { evaluate } from '../engine/graph/reference.ts';
import { deviation, readGolden } from '../engine/testing/golden-tensors.ts';
import { followersOf, type Loss } from '../engine/train/loss.ts';
import type { Network } from '../engine/train/network.ts';
import { edmPrecondition } from '../models/precondition.ts';
import { inForm } from '../samplers/forms.ts';
import { karras } from '../samplers/karras.ts';
import ct from './ct.ts';
import { factorAt, proportional, slopeAt } from './testing/consistency.ts';
import { pretrained, samplesOf, trained } from './testing/distil.ts';
import { parameterGradients, rehearse } from './testing/tiny.ts';

const loss = ct as unknown as Loss;
const options = (values: Readonly<Record<string, unknown>> = {}) => ct.options.parse(values);

const golden = readGolden<{ readonly tolerance: number }>('schedules/boundary_scalings');
test.skipIf(!golden)('the finished student has the scalings of consistency models', () => {
  const sigma = constant(golden!.tensor('cm/sigma').data, [6, 1]);
  const says = (raw: number): Network => edmPrecondition((x) => ({ output: x.mul(0).add(raw), features: {} }), { sigmaData: 0.5 });
  const at = (raw: number, x: number) =>
    evaluate([inForm(says(raw), ct.form!(options())).denoise(constant(new Float64Array(6).fill(x), [6, 1]), sigma)])[0]!.data;
  expect(deviation(at(0, 1) as Float64Array, golden!.tensor('cm/c_skip').data)).toBeLessThan(golden!.config.tolerance);
  expect(deviation(at(1, 0) as Float64Array, golden!.tensor('cm/c_out').data)).toBeLessThan(golden!.config.tolerance);
});

describe('one pair', () => {
  const pair = (values: Readonly<Record<string, unknown>>, u: number, intervals: number) => {
    const networks = { student: proportional, target: proportional };
    const rehearsal = rehearse(loss, 'student', { networks, sample: { shape: [2], classes: 0 }, batch: 1, options: values });
    const feeds = {
      'student/w': [0.9],
      'target/w': [0.4],
      data: [0.6, -0.2],
      'clock/intervals': [intervals],
      'draw/level': [u],
      'draw/eps': [0.5, 1],
    };
    const { terms } = rehearsal;
    return {
      value: rehearsal.evaluate([terms['loss']!], feeds)[0]![0]!,
      slope: parameterGradients(rehearsal, 'student', terms['loss']!, feeds).get('w')![0]!,
      goal: parameterGradients(rehearsal, 'target', terms['loss']!, feeds).get('w')![0]!,
    };
  };
  /** Student and target on the third interval of ten. */
  const [r, t] = [karras().levels(11)[8]!, karras().levels(11)[7]!];
  const at = (sigma: number): number[] => [0.6 + sigma * 0.5, -0.2 + sigma];
  const [far, near] = [at(t).map((v) => factorAt(0.9, t) * v), at(r).map((v) => factorAt(0.4, r) * v)];
  const difference = far.map((v, i) => v - near[i]!);
  const steepness = at(t).map((v) => slopeAt(t) * v);
  const dot = (a: readonly number[], b: readonly number[]): number => a.reduce((sum, v, i) => sum + v * b[i]!, 0);

  test('of consistency training: the mean square, of weight 1', () => {
    const { value, slope, goal } = pair({}, 0.25, 10);
    expect(value).toBeCloseTo(dot(difference, difference) / 2, 10);
    expect(slope).toBeCloseTo(dot(difference, steepness), 10);
    expect(goal).toBe(0);
  });
  test('of its improved version: pseudo-Huber with c = 0.00054 √d, over t − r', () => {
    // The third interval is where log-normal levels lie with u near 0.4.
    const { value, slope, goal } = pair({ recipe: 'ict' }, 0.4, 10);
    const c = 0.00054 * Math.SQRT2;
    const size = Math.sqrt(dot(difference, difference) + c ** 2);
    expect(value).toBeCloseTo((size - c) / (t - r), 8);
    expect(slope).toBeCloseTo(dot(difference, steepness) / size / (t - r), 8);
    expect(goal).toBe(0);
  });
});

test('parts of a recipe can be chosen one by one', () => {
  const at = { step: 500, steps: 1000, nimg: 0 };
  const { beta } = followersOf(loss)['target']!;
  const decay = (values: Readonly<Record<string, unknown>>) => beta(at, options({ fewest: 10, most: 1280, ...values }) as never);
  const intervals = (values: Readonly<Record<string, unknown>>) =>
    ct.clock!['intervals']!(at, options({ fewest: 10, most: 1280, ...values }));
  expect(intervals({ recipe: 'ict' })).toBe(160); // 10 doubled four times, 8 stages of 125 steps
  expect(intervals({ curriculum: 'doubling' })).toBe(160);
  expect(intervals({})).toBe(Math.ceil(Math.sqrt((1281 ** 2 - 100) / 2 + 100) - 1));
  expect(decay({ recipe: 'ict' })).toBe(0);
  expect(decay({ recipe: 'ict', target: 'average' })).toBeCloseTo(0.9 ** (10 / 161), 12);
  expect(decay({ target: 'student' })).toBe(0);
});

test('an identity at another level than the lowest is refused', () => {
  const build = () =>
    rehearse(loss, 'student', {
      networks: { student: proportional, target: proportional },
      sample: { shape: [2], classes: 0 },
      batch: 1,
      options: { sigmaMin: 0.01 },
    });
  const message = "ct.sigmaMin: 0.01 is not the lowest level of the schedule; use 0.002, or 0 for EDM's scalings";
  expect(build).toThrow(expect.objectContaining({ name: 'InputError', message }));
});

/**
 * For data of variance v each level learns the mean of what the one below says: a_n = a_(n−1) (v + σ_(n−1) σ_n) / (v + σ_n²), a_0 = 1,
 * so that with few levels the samples spread too little.
 */
test('few levels leave the spread that the exact solution has', { timeout: 60_000 }, async () => {
  const target = { weights: [1], means: [[0.3]], variances: [0.16] };
  const levels = karras().levels(20).toReversed();
  const factor = levels.slice(1).reduce((a, sigma, n) => (a * (0.16 + levels[n]! * sigma)) / (0.16 + sigma ** 2), 1);
  const exact = factor * Math.hypot(0.4, 80);
  expect(exact / 0.4).toBeLessThan(0.86);
  const plan = { seed: 1, batch: 64, lr: 2e-3, network: { width: 32, layers: 2 }, target };
  const start = await pretrained({ ...plan, steps: 500 });
  const long = { ...plan, steps: 4000 };
  const samples = await samplesOf(long, loss, await trained(long, loss, { fewest: 19, most: 19 }, start), 10_000);
  const mean = samples.reduce((a, b) => a + b) / samples.length;
  const spread = Math.sqrt(samples.reduce((sum, v) => sum + (v - mean) ** 2, 0) / samples.length);
  expect(Math.abs(spread / exact - 1)).toBeLessThan(0.06); // a spread of 0.4 is 17 % off
});
