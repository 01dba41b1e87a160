/** @file CMMD, sliced Wasserstein, Vendi and the extrapolated Fréchet distance against stored values and closed forms. */
import { describe, expect, test } from 'vitest';
import { toFloat64 } from '../../engine/io/safetensors.ts';
import { gaussianOfMoments } from '../gaussian.ts';
import { featureSet } from '../metric.ts';
import { moments } from '../moments.ts';
import { goldenJson, goldenSets, goldenTensors } from '../testing/golden.ts';
import { noise } from '../testing/values.ts';
import { cmmd, cmmdOf, unitRows } from './cmmd.ts';
import { distancesBySize, extrapolate, frechetInfinity, sizesUpTo } from './frechet-infinity.ts';
import { randomDirections, slicedPowers, slicedWassersteinMetric, wassersteinPower } from './sliced-wasserstein.ts';
import { effectiveNumber, vendi, vendiScore } from './vendi.ts';

describe('CMMD', () => {
  const settings = { cmmdSigma: 10, cmmdNormalise: true, cmmdEstimator: 'biased' };
  test('of equal sets is zero; symmetric; two points apart by the kernel', async () => {
    const [x, y] = [featureSet(noise(60, 1), 3), featureSet(noise(90, 2), 3)];
    expect((await cmmd.compute(x, featureSet(x.features!.slice(), 3), settings)).value).toBeCloseTo(0, 10);
    expect((await cmmd.compute(x, y, settings)).value).toBeCloseTo((await cmmd.compute(y, x, settings)).value, 12);
    // Copies of two points at distance 5: 2 − 2 exp(−25/200).
    const [a, b] = [Float64Array.of(0, 0, 0, 0), Float64Array.of(3, 4, 3, 4)];
    expect((await cmmdOf(a, b, 2, 10, 'biased')).value).toBeCloseTo(2000 * (1 - Math.exp(-0.125)), 10);
  });
  test('a row without a direction is refused', async () => {
    await expect(cmmd.compute(featureSet(new Float32Array(6), 3, { name: 'zeros' }), featureSet(noise(6, 1), 3), settings)).rejects.toThrow(
      'cmmd: zeros: sample 0 has the length 0; rows of a finite length above 0 can be scaled to 1',
    );
  });
});

describe('sliced Wasserstein', () => {
  const settings = { slices: 64, slicedOrder: '2', groups: 5, seed: 0 };
  test('on a line: a shift by δ gives δ and δ²; unequal sizes by their quantile functions', () => {
    const x = Float64Array.of(0, 1, 5);
    expect(
      wassersteinPower(
        x,
        x.map((v) => v + 2),
        1,
      ),
    ).toBeCloseTo(2, 14);
    expect(
      wassersteinPower(
        x,
        x.map((v) => v + 2),
        2,
      ),
    ).toBeCloseTo(4, 14);
    // {0, 1} against {0, 1, 2}: thirds 0|0, then 0|1 for a sixth, 1|1 for a sixth, 1|2 for a third.
    expect(wassersteinPower(Float64Array.of(0, 1), Float64Array.of(0, 1, 2), 1)).toBeCloseTo(1 / 6 + 1 / 3, 14);
    expect(wassersteinPower(Float64Array.of(0, 0, 1, 1), Float64Array.of(0, 1), 2)).toBe(0);
  });
  test('directions have length one and mean nothing; a shift gives |δ|/√d; seeded; the interval holds the value', async () => {
    const d = 6;
    const directions = randomDirections(d, 4000, 1);
    for (const s of [0, 3999]) {
      const column = Array.from({ length: d }, (_, j) => directions[j * 4000 + s]!);
      expect(column.reduce((sum, v) => sum + v * v, 0)).toBeCloseTo(1, 12);
    }
    const x = noise(50 * d, 3);
    const powers = await slicedPowers(
      x,
      x.map((v) => v + 0.5),
      d,
      directions,
      2,
    );
    // |δ|² = 6/4; along random directions a d-th of it.
    expect(powers.reduce((sum, v) => sum + v, 0) / 4000).toBeCloseTo(0.25, 1);
    const [a, b] = [featureSet(noise(80 * d, 4), d), featureSet(noise(70 * d, 5), d)];
    const [one, again, turned] = [
      await slicedWassersteinMetric.compute(a, b, settings),
      await slicedWassersteinMetric.compute(a, b, settings),
      await slicedWassersteinMetric.compute(b, a, settings),
    ];
    expect(again).toEqual(one);
    expect(turned.value).toBeCloseTo(one.value, 13);
    expect(one.low!).toBeLessThan(one.value);
    expect((await slicedWassersteinMetric.compute(a, featureSet(a.features!.slice(), d), settings)).value).toBe(0);
  });
});

describe('Vendi score', () => {
  const settings = { vendiOrder: 1, groups: 5, seed: 0 };
  test('n orthogonal samples count n, copies one, in either Gram matrix', async () => {
    const unit = Float64Array.from({ length: 25 }, (_, i) => Number(i % 6 === 0));
    for (const q of [0.5, 1, 2, Infinity]) expect(await vendiScore(unit, 5, q)).toBeCloseTo(5, 10);
    const copies = unitRows(
      Float64Array.from({ length: 40 }, (_, i) => 1 + (i % 4)),
      4,
      'copies',
    );
    for (const q of [0.5, 1, 2, Infinity]) expect(await vendiScore(copies, 4, q)).toBeCloseTo(1, 10);
    expect(effectiveNumber(Float64Array.of(0.5, 0.25, 0.25), 1)).toBeCloseTo(2 ** 1.5, 12);
  });
  test('blind to order and length; the interval holds the value', async () => {
    const [x, d] = [noise(200 * 4, 6), 4];
    const one = await vendi.compute(featureSet(x, d), null, settings);
    const turned = x.map((_, i) => 3 * x[(199 - Math.floor(i / d)) * d + (i % d)]!);
    expect((await vendi.compute(featureSet(turned, d), null, settings)).value).toBeCloseTo(one.value, 10);
    expect([one.low! < one.value, one.high! > one.value]).toEqual([true, true]);
  });
});

describe('the distance at infinity', () => {
  test('finds a line', () => {
    const sizes = [10, 20, 40, 80];
    const { intercept, slope, error } = extrapolate(
      sizes,
      sizes.map((n) => 3 + 7 / n),
    );
    expect([intercept, slope]).toEqual([expect.closeTo(3, 12), expect.closeTo(7, 12)]);
    expect(error).toBeLessThan(1e-12);
    expect(sizesUpTo(1000, 200, 15).slice(0, 3)).toEqual([200, 257, 314]);
  });
  test('two sets of one distribution are at about zero, where the distance itself is not', async () => {
    const d = 8;
    const [x, y] = [featureSet(noise(600 * d, 7), d), featureSet(noise(6000 * d, 8), d)];
    const found = await frechetInfinity.compute(x, y, { infinityPoints: 10, infinitySmallest: 0, seed: 0 });
    expect(Math.abs(found.value)).toBeLessThan(0.02);
    expect(found.details!['slope']).toBeGreaterThan(0);
    const few = frechetInfinity.compute(featureSet(noise(5 * d, 1), d, { name: 'few' }), y, {
      infinityPoints: 10,
      infinitySmallest: 0,
      seed: 0,
    });
    await expect(few).rejects.toThrow('frechet-infinity: 10 numbers of samples from 1 to 5; few needs more samples');
  });
});

const golden = goldenJson('metrics/distribution.json');
const [sets, tensors] = [await goldenSets(), await goldenTensors('metrics/distribution.safetensors')];
describe.skipIf(!golden)('stored values', () => {
  test.each([...sets.keys()])('%s', async (name) => {
    const { real, fake, d } = sets.get(name)!;
    const relative = (got: number, want: number, tolerance: number) =>
      expect(Math.abs(got - want)).toBeLessThanOrEqual(tolerance * Math.max(Math.abs(want), name === 'identical' ? 1 : 0));
    const wanted = golden.cmmd.values[name];
    const absolute = (got: number, want: number) => expect(Math.abs(got - want)).toBeLessThanOrEqual(golden.cmmd.tolerance.absolute);
    const [ur, uf] = [unitRows(real, d, 'real'), unitRows(fake, d, 'fake')];
    absolute((await cmmdOf(ur, uf, d, 10, 'biased')).value, wanted.normalised_v_statistic);
    absolute((await cmmdOf(real, fake, d, 10, 'biased')).value, wanted.raw_v_statistic);
    absolute((await cmmdOf(ur, uf, d, 10, 'unbiased')).value, wanted.normalised_u_statistic);
    absolute((await cmmdOf(real, fake, d, 10, 'unbiased')).value, wanted.raw_u_statistic);
    const sliced = golden.sliced_wasserstein;
    const directions = toFloat64(tensors.get(`${name}.directions`)!);
    const [w1, w2] = [await slicedPowers(real, fake, d, directions, 1), await slicedPowers(real, fake, d, directions, 2)];
    w1.forEach((value, s) => {
      relative(value, sliced.values[name].per_direction_w1[s], sliced.tolerance.relative);
    });
    w2.forEach((value, s) => {
      relative(value, sliced.values[name].per_direction_w2_squared[s], sliced.tolerance.relative);
    });
    const { q1, q2, 'q0.5': half, qinf } = golden.vendi.values[name];
    const { relative: close, 'q0.5_relative': less } = golden.vendi.tolerance;
    relative(await vendiScore(uf, d, 1), q1, close);
    relative(await vendiScore(uf, d, 2), q2, close);
    relative(await vendiScore(uf, d, Infinity), qinf, close);
    relative(await vendiScore(uf, d, 0.5), half, less);
  });
  test('the distance at infinity', async () => {
    const { set, batch_sizes, fids, fid_infinity, slope, tolerance } = golden.fid_infinity;
    const { real, fake, d } = sets.get(set)!;
    const order = toFloat64(tensors.get('fid_infinity.permutations')!);
    const n = fake.length / d;
    const reference = await gaussianOfMoments(moments(real, real.length / d, d));
    const values = await distancesBySize(fake, d, reference, batch_sizes, (i) => order.subarray(i * n, (i + 1) * n));
    values.forEach((value, i) => {
      expect(Math.abs(value / fids[i] - 1)).toBeLessThan(tolerance.relative);
    });
    const line = extrapolate(batch_sizes, values);
    expect(Math.abs(line.intercept / fid_infinity - 1)).toBeLessThan(tolerance.relative);
    expect(Math.abs(line.slope / slope - 1)).toBeLessThan(tolerance.relative);
  });
});
