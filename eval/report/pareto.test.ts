/** @file The front of points: against its definition. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Point } from './curve.ts';
import { paretoFront } from './pareto.ts';

/** The definition itself. */
const beaten = (points: readonly Point[], i: number): boolean =>
  points.some(([x, y]) => x <= points[i]![0] && y <= points[i]![1] && (x < points[i]![0] || y < points[i]![1]));

test('exactly the points that none beats, in the order of the first coordinate', () => {
  const coordinate = fc.integer({ min: 0, max: 8 });
  fc.assert(
    fc.property(fc.array(fc.tuple(coordinate, coordinate), { maxLength: 20 }), (points) => {
      const front = paretoFront(points);
      expect(front.toSorted((a, b) => a - b)).toEqual([...points.keys()].filter((i) => !beaten(points, i)));
      const xs = front.map((i) => points[i]![0]);
      expect(xs).toEqual(xs.toSorted((a, b) => a - b));
    }),
  );
});
test('what is not finite is on no front and beats nothing', () => {
  expect(
    paretoFront([
      [0, Number.NaN],
      [1, 5],
      [-Infinity, 1],
    ]),
  ).toEqual([1]);
  expect(paretoFront([])).toEqual([]);
});
