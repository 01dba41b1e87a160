/** @file Gaps and thinning of curves. */
import { expect, test } from 'vitest';
import { type Point, piecesOf, thinned } from './curve.ts';

test('what has no place on the axis is a gap', () => {
  const points: Point[] = [
    [0, 1],
    [1, Number.NaN],
    [2, 3],
    [3, -4],
    [4, Infinity],
    [Number.NaN, 5],
    [6, 6],
  ];
  expect(piecesOf(points)).toEqual([
    [[0, 1]],
    [
      [2, 3],
      [3, -4],
    ],
    [[6, 6]],
  ]);
  expect(piecesOf(points, { logY: true })).toEqual([[[0, 1]], [[2, 3]], [[6, 6]]]);
  expect(piecesOf(points, { logX: true, logY: true })).toEqual([[[2, 3]], [[6, 6]]]);
  expect(piecesOf([])).toEqual([]);
  expect(piecesOf([[0, 1e308]])).toEqual([]);
  expect(piecesOf([[0, 5e-324]])).toHaveLength(1);
  expect(piecesOf([[0, 5e-324]], { logY: true })).toEqual([]);
});

test('lowest and highest of each pixel stay, in their order', () => {
  const piece: Point[] = [
    [0.0, 5],
    [0.1, 9],
    [0.2, 1],
    [0.3, 4],
    [1.0, 7],
  ];
  expect(thinned(piece, 5)).toEqual([
    [0.1, 9],
    [0.2, 1],
    [1.0, 7],
  ]);
  expect(thinned(piece, 6)).toBe(piece);
});
