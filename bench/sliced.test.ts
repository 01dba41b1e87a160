/** @file The sliced Wasserstein-1 distance against closed forms. */
import { expect, test } from 'vitest';
import { fillNormal, streamKey } from '../engine/random/philox.ts';
import { slicedWasserstein } from './sliced.ts';

const points = new Float32Array(4000);
fillNormal(points, streamKey(1, 0, 'points'), 2);

test('points that are all moved by v are 2/π |v| away: the mean of |cos| over half a turn', () => {
  const moved = points.map((v, i) => v + (i % 2 === 0 ? 0.3 : -0.4));
  expect(slicedWasserstein(points, moved)).toBeCloseTo((2 / Math.PI) * 0.5, 4);
});

test('points that are scaled by s: |s − 1| times the mean projected size', () => {
  // Of one ring of points with radius 1 the projections are cosines, whose mean size is 2/π in every direction.
  const circle = Float32Array.from({ length: 7200 }, (_, i) => (i % 2 === 0 ? Math.cos : Math.sin)((Math.PI * Math.floor(i / 2)) / 1800));
  const wider = circle.map((v) => 1.5 * v);
  expect(slicedWasserstein(circle, wider)).toBeCloseTo(0.5 * (2 / Math.PI), 4);
});

test('the order of points does not matter, and a set is at no distance from itself', () => {
  const turned = points.map((_, i) => points[points.length - 2 - 2 * Math.floor(i / 2) + (i % 2)]!);
  expect(slicedWasserstein(points, turned)).toBe(0);
});
