/** @file Precision and recall against hand counts, a plain implementation and golden values; worker threads give the same. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { readSafetensors, toFloat32 } from '../../engine/io/safetensors.ts';
import { goldenPath } from '../../engine/testing/golden.ts';
import { noise } from '../testing/values.ts';
import { openSpread } from './pool.ts';
import { manifoldOf, NEIGHBOURS, precisionRecall } from './precision-recall.ts';

const of = async (real: ArrayLike<number>, generated: ArrayLike<number>, d: number, k: number) =>
  precisionRecall(await manifoldOf(Float64Array.from(real), d, k), await manifoldOf(Float64Array.from(generated), d, k));

describe('by hand, on a line', () => {
  test('rims count: balls of radius 1 about 0, 1, 2, 3 hold −1 and 4, not 6; balls of radius 1.5 about −1, 0.5, 4, 5.5 hold 2 but not 2.25', async () => {
    expect(await of([0, 1, 2, 3], [-1, 0.5, 4, 6], 1, 1)).toEqual({ precision: 3 / 4, recall: 4 / 4 });
    expect(await of([0, 2, 2.25, 10], [-1, 0.5, 4, 5.5], 1, 1)).toMatchObject({ recall: 2 / 4 });
  });

  test('the radius reaches the k-th neighbour without the point itself; a copy is a neighbour', async () => {
    const points = Float64Array.from([0, 1, 3, 7, 7]);
    expect([...(await manifoldOf(points, 1, 1)).radii]).toEqual([1, 1, 4, 0, 0]);
    expect([...(await manifoldOf(points, 1, 2)).radii]).toEqual([9, 4, 9, 16, 16]);
  });

  test('a generator of one mode is precise and covers little; one that spreads too far covers all and is imprecise', async () => {
    const real = noise(400, 1);
    const oneMode = real.map((value) => 0.05 * value);
    const wide = real.map((value) => 10 * value);
    expect(await of(real, oneMode, 2, 3)).toMatchObject({ precision: 1, recall: expect.closeTo(0, 1) });
    const found = await of(real, wide, 2, 3);
    expect(found.recall).toBeGreaterThan(0.9);
    expect(found.precision).toBeLessThan(0.1);
  });
});

/** Everything at once, by sorting, as in the definition. */
function plainly(real: Float64Array, generated: Float64Array, d: number, k: number) {
  const rows = (set: Float64Array) => Array.from({ length: set.length / d }, (_, i) => Array.from(set.subarray(i * d, (i + 1) * d)));
  const far = (a: readonly number[], b: readonly number[]) => Math.sqrt(a.reduce((sum, value, i) => sum + (value - b[i]!) ** 2, 0));
  const share = (points: readonly number[][], centres: readonly number[][]) => {
    const radii = centres.map((c) => centres.map((o) => far(c, o)).sort((a, b) => a - b)[k]!);
    return points.filter((p) => centres.some((c, j) => far(p, c) <= radii[j]!)).length / points.length;
  };
  const [r, g] = [rows(real), rows(generated)];
  return { precision: share(g, r), recall: share(r, g) };
}

test.each([
  [7, 120, 90, 1],
  [64, 90, 120, 3],
  [130, 60, 60, 5],
])('as a plain implementation says: %i dimensions, %i against %i points, k = %i', async (d, n, m, k) => {
  const [real, generated] = [noise(n * d, 3), noise(m * d, 4).map((value) => value * 0.95 + 0.02)];
  expect(await of(real, generated, d, k)).toEqual(plainly(real, generated, d, k));
});

test('worker threads give the same radii and shares, blocks and a short last one included', async () => {
  const [d, k] = [9, NEIGHBOURS];
  const [real, generated] = [Float32Array.from(noise(610 * d, 5)), Float32Array.from(noise(503 * d, 6))];
  const spread = openSpread({ threads: 2 });
  const [one, other] = [await manifoldOf(real, d), await manifoldOf(generated, d)];
  const [one2, other2] = [await manifoldOf(real, d, k, spread), await manifoldOf(generated, d, k, spread)];
  expect(one2.radii).toEqual(one.radii);
  expect(await precisionRecall(one2, other2, spread)).toEqual(await precisionRecall(one, other));
  await spread.close();
});

test('too few points, values that are not finite and sets of two sizes are refused', async () => {
  await expect(manifoldOf(new Float64Array(6), 2)).rejects.toThrow('manifold: 6 values of 2 features a point; more than 3 whole points');
  await expect(manifoldOf(Float64Array.from([0, 1, 2, 3, 4, NaN, 6, 7]), 2)).rejects.toThrow('feature 1 of point 2 is NaN');
  const [a, b] = [await manifoldOf(noise(20, 1), 2), await manifoldOf(noise(20, 1), 4)];
  await expect(precisionRecall(a, b)).rejects.toThrow('features have 2 and 4 dimensions');
});

interface Golden {
  readonly float64_closed_balls: { readonly precision: number; readonly recall: number };
}
const name = 'metrics/precision-recall-density-coverage.json';
const [valuesPath, featuresPath] = [goldenPath(name), goldenPath('metrics/features.safetensors')];

describe.skipIf(!valuesPath || !featuresPath)('golden sets', () => {
  const { values, tolerance }: { values: Record<string, Record<string, Golden>>; tolerance: { absolute: number } } = valuesPath
    ? JSON.parse(readFileSync(valuesPath, 'utf8'))
    : { values: {}, tolerance: { absolute: 0 } };
  test.each(Object.entries(values))('%s', async (set, byK) => {
    const { tensors } = await readSafetensors(featuresPath!);
    const [real, fake] = [tensors.get(`${set}.real`)!, tensors.get(`${set}.fake`)!];
    const d = real.shape[1]!;
    expect(Object.keys(byK).length).toBe(3);
    for (const [k, { float64_closed_balls: wanted }] of Object.entries(byK)) {
      const found = await of(toFloat32(real), toFloat32(fake), d, Number(k.slice(1)));
      expect(Math.abs(found.precision - wanted.precision), k).toBeLessThanOrEqual(tolerance.absolute);
      expect(Math.abs(found.recall - wanted.recall), k).toBeLessThanOrEqual(tolerance.absolute);
    }
  });
});
