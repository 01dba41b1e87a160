/** @file The Wasserstein-1 distance in the plane against closed forms and all assignments of a few points. */
import { expect, test } from 'vitest';
import { fillNormal, streamKey } from '../engine/random/philox.ts';
import { wasserstein1 } from './wasserstein.ts';

const drawn = (name: string, n: number): Float32Array => {
  const points = new Float32Array(2 * n);
  fillNormal(points, streamKey(1, 0, name), 2);
  return points;
};

test('points that are all moved by v are |v| away', () => {
  const points = drawn('points', 1000);
  const moved = points.map((v, i) => v + (i % 2 === 0 ? 0.3 : -0.4));
  // Of all assignments none is cheaper than the move of the mean; the auction is off by 3e-5 of an extent of 7 at most.
  expect(Math.abs(wasserstein1(points, moved) - 0.5)).toBeLessThan(2.1e-4);
});

test('on a line it is that of the sorted points', () => {
  const flat = (name: string): Float32Array => drawn(name, 700).map((v, i) => (i % 2 === 0 ? v : 0));
  const sorted = (points: Float32Array): Float32Array => points.filter((_, i) => i % 2 === 0).sort();
  const [a, b] = [flat('a'), flat('b')];
  const [p, q] = [sorted(a), sorted(b)];
  const exact = p.reduce((sum, v, i) => sum + Math.abs(v - q[i]!), 0) / p.length;
  expect(Math.abs(wasserstein1(a, b) - exact)).toBeLessThan(2.1e-4);
});

test('of a few points it is the best of all assignments', () => {
  for (const k of [1, 2, 3, 4, 5, 6]) {
    const [a, b] = [drawn(`left ${k}`, k), drawn(`right ${k}`, k)];
    const cost = (i: number, j: number): number => Math.hypot(a[2 * i]! - b[2 * j]!, a[2 * i + 1]! - b[2 * j + 1]!);
    const cheapest = (i: number, free: readonly number[]): number =>
      i === k
        ? 0
        : Math.min(
            ...free.map(
              (j) =>
                cost(i, j) +
                cheapest(
                  i + 1,
                  free.filter((other) => other !== j),
                ),
            ),
          );
    const exact =
      cheapest(
        0,
        Array.from({ length: k }, (_, j) => j),
      ) / k;
    const found = wasserstein1(a, b);
    expect(found - exact, `${k} points`).toBeGreaterThan(-1e-9);
    expect(found - exact, `${k} points`).toBeLessThan(2.1e-4);
  }
});

test('the same either way round, and nothing between a set and itself', () => {
  const [a, b] = [drawn('a', 500), drawn('b', 500)];
  expect(Math.abs(wasserstein1(a, b) - wasserstein1(b, a))).toBeLessThan(2.1e-4);
  expect(wasserstein1(a, a)).toBeLessThan(2.1e-4);
  expect(() => wasserstein1(a, b.subarray(2))).toThrow('500 and 499 points');
});
