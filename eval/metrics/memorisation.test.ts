/** @file Copies are told from new images; distances against a plain search. */
import { beforeAll, describe, expect, test } from 'vitest';
import type { Dataset, Split } from '../../data/dataset.ts';
import { loadDigits } from '../../data/digits.ts';
import { featureSet } from '../metric.ts';
import { noise } from '../testing/values.ts';
import { type Memorisation, memorisation, memorisationAgainst } from './memorisation.ts';

const PIXELS = 784;
const first = (dataset: Dataset, size: number): Dataset => ({ ...dataset, size, images: dataset.images.subarray(0, size * PIXELS) });
let digits: Split;
let against: (samples: Uint8Array) => Memorisation;
beforeAll(async () => {
  const { train, heldOut } = await loadDigits();
  digits = { train: first(train, 1500), heldOut: first(heldOut, 300) };
  against = memorisationAgainst(digits);
});

/** Independent of the code under test: every pair, pixels in their own order. */
function search(sample: Uint8Array, references: Uint8Array): { readonly index: number; readonly distance: number } {
  const square = Array.from({ length: references.length / PIXELS }, (_, j) =>
    sample.reduce((sum, byte, k) => sum + ((byte - references[j * PIXELS + k]!) / 127.5) ** 2, 0),
  );
  const least = Math.min(...square);
  return { index: square.indexOf(least), distance: Math.sqrt(least) };
}

describe('memorisationAgainst', () => {
  test('finds what a search of all pairs finds', () => {
    const samples = digits.heldOut.images.subarray(100 * PIXELS, 104 * PIXELS);
    const { index, distance } = against(samples);
    for (let i = 0; i < 4; i++) {
      const expected = search(samples.subarray(i * PIXELS, (i + 1) * PIXELS), digits.train.images);
      expect(index[i]).toBe(expected.index);
      // Pixels in [−1, 1] are float32: rounding of 6e-8 each.
      expect(distance[i]).toBeCloseTo(expected.distance, 5);
    }
  });

  test('copies are all closer than new digits', () => {
    const copies = against(digits.train.images.subarray(70 * PIXELS, 90 * PIXELS));
    expect([...copies.index]).toEqual(Array.from({ length: 20 }, (_, i) => 70 + i));
    expect(copies).toMatchObject({ median: 0, low: 0, close: 1 });
  });

  test('the yardstick itself has the quantiles of its own distances, and 5 % below the lower one', () => {
    // 300 images: the 5th percentile stands at place 14.95 from 0, so 15 of them are below it; the median between places 149 and 150.
    const own = against(digits.heldOut.images);
    const sorted = own.distance.toSorted();
    expect(own.close).toBe(15 / 300);
    expect(own.heldOut).toEqual({ median: own.median, low: own.low });
    expect(own.median).toBeCloseTo((sorted[149]! + sorted[150]!) / 2, 12);
    expect(own.low).toBeCloseTo(sorted[14]! + 0.95 * (sorted[15]! - sorted[14]!), 12);
  });
});

describe('in features', () => {
  const d = 4;
  const reference = featureSet(noise(1200 * d, 21), d, { name: 'training set' });
  const settings = { copyPercentile: 5 };
  test('copies count one, fresh samples of the same kind about the percentile, far ones none', async () => {
    const copies = featureSet(reference.features!.slice(0, 50 * d), d);
    expect(await memorisation.compute(copies, reference, settings)).toMatchObject({ value: 1, details: { median: 0 }, warnings: [] });
    const fresh = await memorisation.compute(featureSet(noise(600 * d, 22), d), reference, settings);
    expect(fresh.value).toBeGreaterThan(0.02);
    expect(fresh.value).toBeLessThan(0.09);
    expect([fresh.low! <= 0.05, fresh.high! >= 0.05]).toEqual([true, true]);
    const far = featureSet(
      noise(100 * d, 23).map((value) => value + 10),
      d,
    );
    expect((await memorisation.compute(far, reference, settings)).value).toBe(0);
  });
  test('the limit is the percentile of distances within the reference', async () => {
    // On a line at 0, 1, 3, 7: nearest others at 1, 1, 2, 4; their median is 1.5.
    const line = featureSet(Float64Array.of(0, 1, 3, 7), 1);
    const found = await memorisation.compute(featureSet(Float64Array.of(0.5, 5, 8.4, 9), 1), line, { copyPercentile: 50 });
    expect(found).toMatchObject({ value: 2 / 4, details: { limit: 1.5, referenceMedian: 1.5, median: expect.closeTo(1.7, 12) } });
    await expect(memorisation.compute(line, featureSet(Float64Array.of(1), 1, { name: 'one' }), settings)).rejects.toThrow(
      'memorisation: one has 1 samples; at least 2',
    );
  });
});
