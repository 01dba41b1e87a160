/** @file Curves out of logs: where evaluations lie between logged steps, and what odd lines do. */
import { expect, test } from 'vitest';
import type { LogLine } from '../../engine/train/logs.ts';
import { curvesOf, lastStep } from './report-curves.ts';

const step = (at: number, loss: number | null): LogLine =>
  ({
    step: at,
    nimg: 64 * at,
    seconds: 2 * at,
    cpuSeconds: 4 * at,
    terms: { 'student/loss': loss, 'student/gradientNorm': 9 },
    rates: {},
    skipped: 0,
  }) as LogLine;
const scored = (at: number, distance: number | null): LogLine => ({ step: at, scores: { frechetHeldOut: distance } });

test('terms have the images and seconds of their line; evaluations those of their step, between two lines and after the last', () => {
  const { terms, scores } = curvesOf([step(10, 3), scored(15, 8), step(20, 2), scored(20, 7), scored(25, 6)]);
  expect(terms).toEqual([
    {
      name: 'student/loss',
      points: [
        { images: 640, seconds: 20, value: 3 },
        { images: 1280, seconds: 40, value: 2 },
      ],
    },
  ]);
  expect(scores).toEqual([
    {
      name: 'frechetHeldOut',
      points: [
        { images: 960, seconds: 30, value: 8 },
        { images: 1280, seconds: 40, value: 7 },
        { images: 1600, seconds: 50, value: 6 },
      ],
    },
  ]);
});
test('evaluations out of order, and before the first line, are placed as well', () => {
  const { scores } = curvesOf([step(10, 1), step(20, 1), scored(20, 1), scored(5, 2)]);
  expect(scores[0]!.points.map(({ images }) => images)).toEqual([1280, 320]);
});
test('null, foreign and half lines are left out', () => {
  const odd = [
    { step: 1 },
    { step: 2, terms: 7 },
    { step: 3, terms: null, nimg: 1, seconds: 1 },
    { step: 4, scores: 'x' },
  ] as unknown as LogLine[];
  expect(curvesOf([...odd, step(10, null), scored(10, null)])).toEqual({ scores: [], terms: [] });
  expect(curvesOf([scored(10, 1)]).scores).toEqual([]); // without a step nobody knows of how many images
  expect(lastStep([step(10, 1), scored(12, 1)])!.step).toBe(10);
  expect(lastStep(odd)).toBeNull();
});
