/** @file Fréchet distance against closed forms and golden values. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { readSafetensors, toFloat32 } from '../../engine/io/safetensors.ts';
import { goldenPath } from '../../engine/testing/golden.ts';
import { frechetBetween, gaussianOfFew, gaussianOfMoments } from '../gaussian.ts';
import { type FeatureSet, featureSet } from '../metric.ts';
import { type Moments, moments } from '../moments.ts';
import { noise } from '../testing/values.ts';
import { frechet, frechetDistance, frechetFromFeatures } from './frechet.ts';

const gaussian = (mean: readonly number[], covariance: readonly number[]): Moments => ({
  mean: Float64Array.from(mean),
  covariance: Float64Array.from(covariance),
  n: 1000,
});

describe('frechetDistance', () => {
  test('one dimension: (μa − μb)² + (σa − σb)²', () => {
    expect(frechetDistance(gaussian([1], [9]), gaussian([3], [0.25]))).toBeCloseTo(2 ** 2 + 2.5 ** 2, 13);
  });

  test('two dimensions: tr (AB)^½ = √(tr AB + 2 √(det A det B))', () => {
    const [a, b] = [gaussian([0, 1], [2, 0.5, 0.5, 1]), gaussian([0.5, -0.5], [1, -0.2, -0.2, 0.5])];
    const productTrace = 2 * 1 + 2 * 0.5 * -0.2 + 1 * 0.5;
    const root = Math.sqrt(productTrace + 2 * Math.sqrt((2 - 0.25) * (0.5 - 0.04)));
    const expected = 0.25 + 2.25 + 3 + 1.5 - 2 * root;
    expect(frechetDistance(a, b)).toBeCloseTo(expected, 13);
    expect(frechetDistance(b, a)).toBeCloseTo(expected, 13);
  });

  test('a point against a Gaussian is its trace; orthogonal lines share nothing', () => {
    expect(frechetDistance(gaussian([0, 0], [0, 0, 0, 0]), gaussian([0, 0], [2, 1, 1, 3]))).toBe(5);
    expect(frechetDistance(gaussian([0, 0], [4, 0, 0, 0]), gaussian([0, 0], [0, 0, 0, 9]))).toBe(13);
  });

  test('different dimensions and an indefinite covariance are refused', () => {
    expect(() => frechetDistance(gaussian([0], [1]), gaussian([0, 0], [1, 0, 0, 1]))).toThrow('features have 1 and 2 dimensions');
    expect(() => frechetDistance(gaussian([0, 0], [1, 2, 2, 1]), gaussian([0, 0], [1, 0, 0, 1]))).toThrow('positive semidefinite');
  });
});

describe('frechetFromFeatures', () => {
  test('a shift moves the distance by its square, and only that', () => {
    const features = noise(60, 1);
    const shifted = features.map((value, i) => value + (i % 3 === 0 ? 2 : 0));
    expect(frechetFromFeatures(features, shifted, { d: 3 })).toBeCloseTo(4, 12);
  });

  test('n takes the first samples of both sets', () => {
    const [a, b] = [noise(60, 1), noise(90, 2)];
    const expected = frechetFromFeatures(a.slice(0, 30), b.slice(0, 30), { d: 3 });
    expect(frechetFromFeatures(a, b, { n: 10, d: 3 })).toBe(expected);
  });
});

interface Golden {
  readonly exact: number;
  readonly dims: number;
  readonly tolerance: { readonly absolute: number };
}

const [valuesPath, featuresPath] = [goldenPath('metrics/fid.json'), goldenPath('metrics/features.safetensors')];

describe.skipIf(!valuesPath || !featuresPath)('golden sets, singular ones among them', () => {
  const values: Record<string, Golden> = valuesPath ? JSON.parse(readFileSync(valuesPath, 'utf8')).values : {};
  test.each(Object.entries(values))('%s', async (name, { exact, dims, tolerance }) => {
    const { tensors } = await readSafetensors(featuresPath!);
    const [real, fake] = [toFloat32(tensors.get(`${name}.real`)!), toFloat32(tensors.get(`${name}.fake`)!)];
    expect(Math.abs(frechetFromFeatures(real, fake, { d: dims }) - exact)).toBeLessThan(tolerance.absolute);
    expect(Math.abs(frechetFromFeatures(fake, real, { d: dims }) - exact)).toBeLessThan(tolerance.absolute);
  });
});

describe('the metric', () => {
  const settings = { groups: 8, seed: 0 };
  const [d, n] = [5, 240];
  const a = featureSet(noise(n * d, 11), d, { name: 'a' });
  const b = featureSet(
    noise(n * d, 12).map((value) => value * 1.2 + 0.1),
    d,
    { name: 'b' },
  );

  test('symmetric, blind to order, zero for equal sets, δ² more for a shift by δ', async () => {
    const { value } = await frechet.compute(a, b, settings);
    expect((await frechet.compute(b, a, settings)).value).toBeCloseTo(value, 12);
    const turned = featureSet(
      Float64Array.from({ length: n * d }, (_, i) => a.features![(n - 1 - Math.floor(i / d)) * d + (i % d)]!),
      d,
    );
    expect((await frechet.compute(turned, b, settings)).value).toBeCloseTo(value, 12);
    expect((await frechet.compute(a, featureSet(a.features!.slice(), d), settings)).value).toBeCloseTo(0, 11);
    const moved = featureSet(
      a.features!.map((x, i) => x + (i % d === 2 ? 3 : 0)),
      d,
    );
    expect((await frechet.compute(moved, a, settings)).value).toBeCloseTo(9, 11);
  });

  test('statistics stand for a set, and with statistics on both sides there is no interval', async () => {
    const whole = await frechet.compute(a, b, settings);
    const statistics: FeatureSet = {
      ...featureSet(new Float64Array(0), d),
      name: 's',
      features: null,
      n: null,
      moments: moments(b.features!, n, d),
    };
    const found = await frechet.compute(a, statistics, settings);
    expect(found.value).toBeCloseTo(whole.value, 12);
    expect(found.low!).toBeLessThan(found.value);
    expect(await frechet.compute({ ...statistics, moments: moments(a.features!, n, d) }, statistics, settings)).toMatchObject({
      low: null,
      high: null,
    });
  });

  test('the interval is about as wide as the values of fresh samples are spread', async () => {
    const values: number[] = [];
    const widths: number[] = [];
    for (let seed = 20; seed < 50; seed++) {
      const fresh = featureSet(
        noise(n * d, 1000 * seed + 7).map((value) => value * 1.4 + 0.3),
        d,
      );
      const { value, low, high } = await frechet.compute(fresh, b, { groups: 10, seed: 0 });
      values.push(value);
      widths.push(high! - low!);
    }
    const mean = values.reduce((x, y) => x + y) / values.length;
    const std = Math.sqrt(values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / (values.length - 1));
    // The reference, which is the same in all of them, adds its share: with as many samples about √2.
    const ratio = widths.reduce((x, y) => x + y) / widths.length / (2 * 2.262 * std);
    expect(ratio).toBeGreaterThan(0.8);
    expect(ratio).toBeLessThan(2.2);
  });

  test('more samples than dimensions or fewer, by moments or by single samples: one number; many dimensions too', async () => {
    for (const [rows, dimensions] of [
      [40, 60],
      [420, 430],
    ] as const) {
      const [x, y] = [noise(rows * dimensions, 3), noise(rows * dimensions, 4)];
      const few = await frechetBetween(gaussianOfFew(x, dimensions), gaussianOfFew(y, dimensions));
      const many = await frechetBetween(
        await gaussianOfMoments(moments(x, rows, dimensions)),
        await gaussianOfMoments(moments(y, rows, dimensions)),
      );
      expect(Math.abs(many / few - 1)).toBeLessThan(1e-6); // roots of eigenvalues that are rounding
    }
    const wide = [5, 6].map((seed) => featureSet(Float32Array.from(noise(60 * 600, seed)), 600));
    const found = await frechet.compute(wide[0]!, wide[1]!, settings);
    expect(found.low!).toBeLessThan(found.value);
    expect(found.warnings).toEqual(
      wide.map(() => expect.stringContaining('has 60 samples of 600 dimensions; below 6000 the distance comes out too large')),
    );
  });

  test('a handful of samples of many dimensions has a value and no interval', async () => {
    const d = 600;
    const [a, b] = [featureSet(noise(5 * d, 1), d), featureSet(noise(5 * d, 2), d)];
    expect(await frechet.compute(a, b, settings)).toMatchObject({ value: expect.any(Number), low: null, high: null });
  });
  test('too few samples and other dimensions are refused', async () => {
    await expect(frechet.compute(featureSet(noise(5, 1), 5, { name: 'one' }), b, settings)).rejects.toThrow(
      'frechet: one has 1 samples; at least 2 are needed',
    );
    await expect(frechet.compute(featureSet(noise(12, 1), 6, { name: 'six' }), b, settings)).rejects.toThrow(
      'frechet: six has 6 dimensions, b 5',
    );
  });
});
