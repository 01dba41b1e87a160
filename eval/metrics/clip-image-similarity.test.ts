/** @file Image–image similarity: plane angles, the sum over all pairs, intervals that hold, and what is refused. */
import { expect, test } from 'vitest';
import { imageSimilarity } from '../clip/score.ts';
import { featureSet } from '../metric.ts';
import { noise as doubles } from '../testing/values.ts';
import { allPairs, clipImageSimilarity, matchedPairs } from './clip-image-similarity.ts';
import { unitRows } from './cmmd.ts';

const noise = (n: number, seed: number) => Float32Array.from(doubles(n, seed));
const all = { similarityPairs: 'all' } as const;
const matched = { similarityPairs: 'matched' } as const;
const measured = (a: Float32Array, b: Float32Array, d: number, settings: object) =>
  clipImageSimilarity.compute(featureSet(a, d, { name: 'a' }), featureSet(b, d, { name: 'b' }), settings as never);
const atAngles = (angles: readonly number[], length = 1) =>
  Float32Array.from(angles.flatMap((angle) => [length * Math.cos(angle), length * Math.sin(angle)]));

test('vectors in a plane: the cosines of the angles between them, whatever their lengths', async () => {
  const a = atAngles([0, 1, 2]);
  const b = atAngles([0.5, 1, 4], 7);
  const cosines = (Math.cos(0.5) + 1 + Math.cos(2)) / 3;
  expect((await measured(a, b, 2, matched)).value).toBeCloseTo(cosines, 6);
  const sum = [0, 1, 2].flatMap((x) => [0.5, 1, 4].map((y) => Math.cos(x - y))).reduce((p, q) => p + q, 0);
  expect((await measured(a, b, 2, all)).value).toBeCloseTo(sum / 9, 6);
  expect((await measured(b, a, 2, all)).value).toBeCloseTo(sum / 9, 6);
});

test('matched, it is the similarity of the towers, and 1 of a set to itself', async () => {
  const [a, b] = [noise(40 * 6, 1), noise(40 * 6, 2)];
  expect((await measured(a, b, 6, matched)).value).toBeCloseTo(imageSimilarity(a, b, 6), 12);
  expect(await measured(a, a, 6, matched)).toMatchObject({ value: expect.closeTo(1, 12), low: expect.closeTo(1, 6) });
});

test('the interval of 95 % holds the value of the whole population nearly as often', () => {
  const [d, size, n] = [4, 3000, 30];
  const shifted = (seed: number): Float64Array =>
    unitRows(
      noise(size * d, seed).map((v, i) => v + (i % d === 0 ? 0.7 : 0)),
      d,
      'population',
    );
  const [x, y] = [shifted(1), shifted(2)];
  const truths = [allPairs(x, y, d).value, matchedPairs(x, y, d).value];
  const held = [0, 0];
  for (let at = 0; at < 100; at++) {
    const part = (values: Float64Array) => values.subarray(at * n * d, (at + 1) * n * d);
    for (const [k, compute] of [allPairs, matchedPairs].entries()) {
      const { value, error } = compute(part(x), part(y), d);
      if (Math.abs(value - truths[k]!) <= 1.96 * error) held[k]! += 1;
    }
  }
  // Binomial: 95 ± 2.2 of 100.
  for (const count of held) expect(count).toBeGreaterThan(87);
  expect(Math.min(...held)).toBeLessThan(100);
});

test('what does not go together', async () => {
  const [a, b] = [noise(12, 1), noise(9, 2)];
  await expect(measured(a, b, 3, matched)).rejects.toThrow(
    'clip-image-similarity: a has 4 images, b 3; matched pairs need as many of both: give --n, or --similarity-pairs all',
  );
  await expect(measured(new Float32Array(6), b, 3, all)).rejects.toThrow('clip-image-similarity: a: sample 0 has the length 0');
  await expect(clipImageSimilarity.compute(featureSet(a, 3), null, all as never)).rejects.toThrow('no reference');
});
