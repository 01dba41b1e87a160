/** @file DisBack: when points of the path are kept, and in which order they lead the student back. */
import { expect, test } from 'vitest';
import { type Loss, recalledOf } from '../engine/train/loss.ts';
import { resolve } from '../engine/train/options.ts';
import disback from './disback.ts';

const loss = disback as unknown as Loss;
const { target } = recalledOf(loss);
const walk = (options: Readonly<Record<string, unknown>>, steps: number) => {
  const o = resolve(loss.name, loss.options, options) as never;
  const found = { keeps: [] as number[][], takes: [] as number[][] };
  for (let step = 0; step < steps; step++)
    for (const kind of ['keeps', 'takes'] as const) {
      const point = target![kind]({ step, steps, nimg: 0 }, o);
      if (point !== null) found[kind].push([step, point]);
    }
  const runs = Object.keys(loss.phases).map((phase) => [
    phase,
    Array.from({ length: steps }, (_, step) => step).filter((step) => loss.phases[phase]!.runs?.(step, o, steps) ?? true),
  ]);
  return { ...found, points: target!.points(o), runs: Object.fromEntries(runs) as Record<string, number[]> };
};

test('the way there is kept without its ends, and walked back', () => {
  const { keeps, takes, points, runs } = walk({ degradation: 0.5, backtracking: 0.4, points: 5, ratio: 1 }, 20);
  expect(points).toBe(4);
  expect(keeps).toEqual([
    [2, 0],
    [4, 1],
    [6, 2],
    [8, 3],
  ]);
  expect(takes).toEqual([
    [10, 3],
    [12, 2],
    [14, 1],
    [16, 0],
  ]);
  expect(runs['student']).toEqual([10, 11, 12, 13, 14, 15, 16, 17]);
  expect(runs['arrival']).toEqual([18, 19]);
  expect(runs['fake']).toHaveLength(20);
});

test('without a path the teacher leads from the start; a run too short for its points keeps the later of two', () => {
  const { keeps, takes, runs } = walk({ degradation: 0, backtracking: 0, ratio: 2 }, 6);
  expect([keeps, takes]).toEqual([[], []]);
  expect(runs['arrival']).toEqual([0, 2, 4]);
  const short = walk({ degradation: 0.5, backtracking: 0.5, points: 9, ratio: 1 }, 8);
  expect(short.takes.map(([step]) => step)).toEqual([4, 5, 6, 7]);
  expect(short.keeps.every(([, point]) => point! >= 0 && point! < short.points)).toBe(true);
});
