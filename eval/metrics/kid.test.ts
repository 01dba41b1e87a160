/** @file KID against stored values of torch-fidelity and clean-fid, a plain double sum, and what must hold of it. */
import { describe, expect, test } from 'vitest';
import { toFloat64 } from '../../engine/io/safetensors.ts';
import { discrepancy, gaussianKernel } from '../kernels.ts';
import { featureSet } from '../metric.ts';
import { goldenJson, goldenSets, goldenTensors } from '../testing/golden.ts';
import { noise } from '../testing/values.ts';
import { kid, kidKernel, kidOfAll, kidOfSubsets } from './kid.ts';

const defaults = { kidEstimator: 'auto', kidSubsets: 100, kidSubsetSize: 1000, seed: 0 };

/** Everything written out. */
function plainly(x: Float64Array, y: Float64Array, d: number): number {
  const rows = (set: Float64Array) => Array.from({ length: set.length / d }, (_, i) => Array.from(set.subarray(i * d, (i + 1) * d)));
  const k = (a: readonly number[], b: readonly number[]) => (a.reduce((sum, value, i) => sum + value * b[i]!, 0) / d + 1) ** 3;
  const mean = (pairs: readonly number[]) => pairs.reduce((sum, value) => sum + value, 0) / pairs.length;
  const own = (set: readonly number[][]) => mean(set.flatMap((a, i) => set.flatMap((b, j) => (i === j ? [] : [k(a, b)]))));
  const [a, b] = [rows(x), rows(y)];
  return own(a) + own(b) - 2 * mean(a.flatMap((one) => b.map((other) => k(one, other))));
}

test('as the definition, over several blocks and unequal sizes', async () => {
  const [x, y] = [noise(31 * 5, 1), noise(23 * 5, 2)];
  expect((await kidOfAll(x, y, 5)).value).toBeCloseTo(plainly(x, y, 5), 12);
  const [wide, other] = [noise(1100 * 2, 3), noise(1030 * 2, 4)];
  expect((await kidOfAll(wide, other, 2)).value).toBeCloseTo(plainly(wide, other, 2), 10);
});

test('leaving out each sample in turn is what it says', async () => {
  const [x, y, d] = [noise(9 * 3, 5), noise(7 * 3, 6), 3];
  for (const estimator of ['unbiased', 'biased'] as const) {
    const without = (set: Float64Array, i: number) => Float64Array.from([...set.subarray(0, i * d), ...set.subarray((i + 1) * d)]);
    const spread = async (n: number, of: (i: number) => Promise<{ value: number }>) => {
      const values = await Promise.all(Array.from({ length: n }, async (_, i) => (await of(i)).value));
      const mean = values.reduce((a, b) => a + b) / n;
      return ((n - 1) / n) * values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
    };
    const a = await spread(9, (i) => discrepancy(without(x, i), y, d, kidKernel(d), estimator));
    const b = await spread(7, (i) => discrepancy(x, without(y, i), d, kidKernel(d), estimator));
    expect((await discrepancy(x, y, d, kidKernel(d), estimator)).error).toBeCloseTo(Math.sqrt(a + b), 12);
  }
});

test('symmetric, blind to order, and its interval holds zero for two halves of one set', async () => {
  const [x, y, d] = [noise(300 * 4, 7), noise(300 * 4, 8), 4];
  const reversed = Float64Array.from({ length: x.length }, (_, i) => x[(299 - Math.floor(i / d)) * d + (i % d)]!);
  const value = (await kidOfAll(x, y, d)).value;
  expect((await kidOfAll(y, x, d)).value).toBeCloseTo(value, 13);
  expect((await kidOfAll(reversed, y, d)).value).toBeCloseTo(value, 13);
  const found = await kid.compute(featureSet(x, d), featureSet(y, d), defaults);
  expect(found.low!).toBeLessThan(0);
  expect(found.high!).toBeGreaterThan(0);
  const moved = await kid.compute(
    featureSet(
      x.map((v) => v + 0.5),
      d,
    ),
    featureSet(y, d),
    defaults,
  );
  expect(moved.low!).toBeGreaterThan(0);
});

test('subsets are seeded, and their mean is near the whole', async () => {
  const [x, y] = [
    featureSet(noise(400 * 3, 9), 3),
    featureSet(
      noise(400 * 3, 10).map((v) => v * 1.5),
      3,
    ),
  ];
  const settings = { ...defaults, kidEstimator: 'subsets', kidSubsets: 20, kidSubsetSize: 100 };
  const [one, again, other] = [
    await kid.compute(x, y, settings),
    await kid.compute(x, y, settings),
    await kid.compute(x, y, { ...settings, seed: 1 }),
  ];
  expect(again).toEqual(one);
  expect(other.value).not.toBe(one.value);
  const whole = await kid.compute(x, y, defaults);
  expect(Math.abs(one.value - whole.value)).toBeLessThan(one.high! - one.low!);
  expect(one.details!['subsetSize']).toBe(100);
});

test('what is too small, not finite or of other dimensions is refused', async () => {
  const set = featureSet(noise(12, 1), 3, { name: 'a' });
  await expect(kid.compute(featureSet(noise(3, 1), 3, { name: 'one' }), set, defaults)).rejects.toThrow(
    'kid: one has 1 samples; at least 2 are needed',
  );
  await expect(kid.compute(set, featureSet(noise(12, 1), 4, { name: 'b' }), defaults)).rejects.toThrow(
    'kid: a has 3 dimensions, b 4; features of one network',
  );
  await expect(kid.compute(set, featureSet(Float64Array.of(1, 2, NaN, 1, 2, 3), 3, { name: 'b' }), defaults)).rejects.toThrow(
    'is not finite',
  );
  await expect(kid.compute(set, null, defaults)).rejects.toThrow('kid: no reference');
});

const golden = goldenJson('metrics/kid.json');
const [sets, indices] = [await goldenSets(), await goldenTensors('metrics/kid.safetensors')];
describe.skipIf(!golden)('stored values', () => {
  test.each(Object.keys(golden?.values ?? {}))('%s', async (name) => {
    const { full_set: full, tolerance, per_subset, torch_fidelity_float64, clean_fid, subset_size } = golden.values[name];
    const { real, fake, d } = sets.get(name)!;
    const near = (got: number, want: number) => expect(Math.abs(got - want)).toBeLessThanOrEqual(tolerance.absolute);
    near((await kidOfAll(real, fake, d)).value, full.unbiased);
    near((await discrepancy(real, fake, d, kidKernel(d), 'biased')).value, full.biased);
    if (full.u_statistic !== undefined) near((await discrepancy(real, fake, d, kidKernel(d), 'u-statistic')).value, full.u_statistic);
    const some = full.rbf_uses_first * d;
    near(
      (await discrepancy(real.subarray(0, some), fake.subarray(0, some), d, gaussianKernel(10), 'unbiased')).value,
      full.rbf_sigma10_unbiased,
    );
    const pairs = (key: string): (readonly [Float64Array, Float64Array])[] => {
      const all = toFloat64(indices.get(`${name}.${key}`)!);
      const at = (s: number) => all.subarray(s * subset_size, (s + 1) * subset_size);
      return Array.from({ length: all.length / 2 / subset_size }, (_, s) => [at(2 * s), at(2 * s + 1)]);
    };
    const torch = await kidOfSubsets(fake, real, d, pairs('torch_fidelity.indices'));
    torch.perSubset.forEach((value, s) => {
      near(value, per_subset[s]);
    });
    near(torch.mean, torch_fidelity_float64.kernel_inception_distance_mean);
    near(torch.std, torch_fidelity_float64.kernel_inception_distance_std);
    near((await kidOfSubsets(real, fake, d, pairs('clean_fid.indices_x_of_second_y_of_first'))).mean, clean_fid);
  });
});
