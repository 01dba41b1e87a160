/** @file Moments by products: those of the plain sums, whatever the cut, far from the origin too. */
import { expect, test } from 'vitest';
import { moments } from './moments.ts';
import { momentsFast, momentsStream } from './moments-fast.ts';
import { largestDifference, noise } from './testing/values.ts';

test.each([
  [60, 5],
  [300, 130],
  [2100, 128],
])('[%i,%i]: the plain ones, and any cut gives the whole to 1e-12', async (n, d) => {
  const features = noise(n * d, 1).map((value) => value + 100);
  const plain = moments(features, n, d);
  const whole = await momentsFast(features, d);
  expect(whole.n).toBe(n);
  expect(largestDifference(whole.mean, plain.mean)).toBeLessThan(1e-12);
  expect(largestDifference(whole.covariance, plain.covariance)).toBeLessThan(1e-12);
  const stream = momentsStream(d);
  for (const [from, to] of [
    [0, 1],
    [1, 17],
    [17, 17],
    [17, n],
  ] as const)
    await stream.push(features.subarray(from * d, to * d));
  const merged = stream.result();
  expect(merged.n).toBe(n);
  expect(largestDifference(merged.mean, whole.mean)).toBeLessThan(1e-12);
  expect(largestDifference(merged.covariance, whole.covariance)).toBeLessThan(1e-12);
});

test('one sample, a ragged batch and values that are not finite are refused', async () => {
  await expect(momentsFast(new Float32Array(200), 200)).rejects.toThrow('moments: 1 samples; a covariance takes at least 2');
  await expect(momentsFast(new Float32Array(201), 200)).rejects.toThrow('a multiple of 200');
  await expect(momentsFast(new Float32Array(400).fill(NaN), 200)).rejects.toThrow('the mean of feature 0 over 2 samples is NaN');
});
