/** @file Precision, recall, density and coverage against hand counts, sorted distances and stored values; the fast search decides as the plain one. */
import { describe, expect, test } from 'vitest';
import { featureSet } from '../metric.ts';
import { coverage } from '../metrics/coverage.ts';
import { density } from '../metrics/density.ts';
import { precision } from '../metrics/precision.ts';
import { recall } from '../metrics/recall.ts';
import { meanOfAll } from '../metrics/settings.ts';
import type { Features } from '../moments.ts';
import { goldenJson, goldenSets } from '../testing/golden.ts';
import { noise } from '../testing/values.ts';
import { squaredRadii } from './precision-recall.ts';
import { prdcOf } from './prdc.ts';

const sharesOf = async (generated: Features, real: Features, d: number, k: number) => {
  const { precise, recalled, density: dense, covered } = await prdcOf(generated, real, d, k);
  return { precision: meanOfAll(precise), recall: meanOfAll(recalled), density: meanOfAll(dense), coverage: meanOfAll(covered) };
};

test('by hand, on a line', async () => {
  // Radii 1 about 0, 1, 2, 3. −1 is on one rim, 0.5 in two balls, 4 on one rim, 6 in none. Generated radii 1.5, 1.5, 2, 2 hold all but … 2.25 < 4 − 2 + 0.25.
  const found = await sharesOf(Float64Array.of(-1, 0.5, 4, 6), Float64Array.of(0, 1, 2, 3), 1, 1);
  expect(found).toEqual({ precision: 3 / 4, recall: 1, density: (1 + 2 + 1) / 4, coverage: 3 / 4 });
});

/** All at once, by sorting. */
function plainly(generated: Features, real: Features, d: number, k: number) {
  const rows = (set: Features) => Array.from({ length: set.length / d }, (_, i) => Array.from(set.subarray(i * d, (i + 1) * d)));
  const far = (a: readonly number[], b: readonly number[]) => a.reduce((sum, value, i) => sum + (value - b[i]!) ** 2, 0);
  const [g, r] = [rows(generated), rows(real)];
  const radii = (set: readonly number[][]) => set.map((c) => set.map((o) => far(c, o)).sort((a, b) => a - b)[k]!);
  const [rg, rr] = [radii(g), radii(r)];
  const share = (yes: readonly boolean[]) => yes.filter(Boolean).length / yes.length;
  return {
    precision: share(g.map((p) => r.some((c, j) => far(p, c) <= rr[j]!))),
    recall: share(r.map((p) => g.some((c, j) => far(p, c) <= rg[j]!))),
    density: g.flatMap((p) => r.filter((c, j) => far(p, c) <= rr[j]!)).length / (k * g.length),
    coverage: share(r.map((c, j) => g.some((p) => far(p, c) <= rr[j]!))),
  };
}

test.each([
  [3, 620, 530, 1, 1],
  [40, 90, 120, 3, 1],
  [130, 60, 60, 5, 1e25], // squares beyond float32
  [17, 200, 150, 2, 1e-60], // and below it altogether
])('%i dimensions, %i against %i points, k = %i, scale %d', async (d, n, m, k, scale) => {
  const [generated, real] = [noise(n * d, 3).map((v) => scale * (v * 0.9 + 0.05)), noise(m * d, 4).map((v) => scale * v)];
  const [found, wanted] = [await sharesOf(generated, real, d, k), plainly(generated, real, d, k)];
  expect(found.density).toBeCloseTo(wanted.density, 12);
  expect({ ...found, density: 0 }).toEqual({ ...wanted, density: 0 });
});

test('far from the origin, with copies and ties, decisions are those of float64', async () => {
  const d = 12;
  const grid = Float64Array.from(noise(300 * d, 5), (v) => 1e4 + Math.round(3 * v) / 8); // many equal distances
  const generated = Float64Array.from([...grid.subarray(0, 100 * d), ...noise(100 * d, 6).map((v) => 1e4 + Math.round(3 * v) / 8)]);
  const [found, wanted] = [await sharesOf(generated, grid, d, 3), plainly(generated, grid, d, 3)];
  expect(found.density).toBeCloseTo(wanted.density, 12);
  expect({ ...found, density: 0 }).toEqual({ ...wanted, density: 0 });
});

test('all points the same, and equal sets: every share is one', async () => {
  expect(await sharesOf(new Float32Array(200).fill(7), new Float32Array(160).fill(7), 4, 3)).toMatchObject({
    precision: 1,
    recall: 1,
    coverage: 1,
  });
  const x = noise(300, 1);
  expect(await sharesOf(x, x.slice(), 3, 3)).toMatchObject({ precision: 1, recall: 1, coverage: 1 });
});

test('the radii are those of the plain search, over several blocks', async () => {
  const { kthSquaredDistances } = await import('./nearest.ts');
  const { cloudOf, frameOf } = await import('./distances.ts');
  const [d, k] = [5, 4];
  const features = Float32Array.from(noise(4700 * d, 8));
  const cloud = cloudOf(features, d, frameOf([features], d));
  expect(await kthSquaredDistances(cloud, cloud, k)).toEqual(squaredRadii({ features, d, k, from: 0, to: 4700 }));
});

test('as metrics: once for a pair of sets, order does not matter, intervals hold the values, and too few points are refused', async () => {
  const d = 3;
  const [g, r] = [
    featureSet(
      noise(200 * d, 1).map((v) => v * 0.8),
      d,
    ),
    featureSet(noise(150 * d, 2), d),
  ];
  const turned = featureSet(
    Float64Array.from({ length: 200 * d }, (_, i) => g.features![(199 - Math.floor(i / d)) * d + (i % d)]!),
    d,
  );
  for (const metric of [precision, recall, density, coverage]) {
    const found = await metric.compute(g, r, { k: 3 });
    expect((await metric.compute(turned, r, { k: 3 })).value).toBeCloseTo(found.value, 12);
    expect([found.low! <= found.value, found.value <= found.high!, found.high! > found.low!]).toEqual([true, true, true]);
  }
  await expect(recall.compute(featureSet(noise(9, 1), d, { name: 'few' }), r, { k: 3 })).rejects.toThrow(
    'recall: few has 3 samples; at least 4',
  );
  await expect(
    density.compute(featureSet(Float64Array.of(1, 2, 3, 4, 5, 6, 7, NaN, 9, 1, 2, 3), d, { name: 'bad' }), r, { k: 1 }),
  ).rejects.toThrow('density: feature 1 of sample 2 of bad is NaN');
});

const golden = goldenJson('metrics/precision-recall-density-coverage.json');
const sets = await goldenSets();
describe.skipIf(!golden)('stored values', () => {
  test.each(Object.keys(golden?.values ?? {}))('%s', async (name) => {
    const { real, fake, d } = sets.get(name)!;
    for (const [k, { float64_closed_balls: wanted }] of Object.entries<{ float64_closed_balls: Record<string, number> }>(
      golden.values[name],
    )) {
      const found: Record<string, number> = await sharesOf(fake, real, d, Number(k.slice(1)));
      for (const [share, value] of Object.entries(wanted))
        expect(Math.abs(found[share]! - value), `${k} ${share}`).toBeLessThanOrEqual(golden.tolerance.absolute);
    }
  });
});
