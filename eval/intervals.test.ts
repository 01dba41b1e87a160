/** @file Intervals against tables and closed forms. */
import { expect, test } from 'vitest';
import { around, groupsOf, jackknifeError, ofMean, ofShare, student95, without } from './intervals.ts';

test('quantiles of Student’s t as in tables', () => {
  for (const [freedom, value] of [
    [1, 12.706],
    [2, 4.303],
    [3, 3.182],
    [4, 2.776],
    [9, 2.262],
    [19, 2.093],
    [100, 1.984],
  ] as const)
    expect(Math.abs(student95(freedom) / value - 1), String(freedom)).toBeLessThan(2.5e-3);
});

test('Wilson’s interval of a half of 100, of none of 10 and of all of 10', () => {
  // (p + z²/2n ± z √(p(1−p)/n + z²/4n²)) / (1 + z²/n)
  expect(ofShare(0.5, 100)).toEqual({ low: expect.closeTo(0.4038, 4), high: expect.closeTo(0.5962, 4) });
  expect(ofShare(0, 10)).toEqual({ low: 0, high: expect.closeTo(0.2775, 4) });
  expect(ofShare(1, 10)).toEqual({ low: expect.closeTo(0.7225, 4), high: 1 });
});

test('a mean without each value in turn has the error of the mean', () => {
  const values = [1, 4, 2, 8, 5];
  const mean = 4;
  const left = values.map((value) => (20 - value) / 4);
  const error = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / 4 / 5);
  expect(jackknifeError(left)).toBeCloseTo(error, 12);
  expect(ofMean(values)).toEqual(around(mean, error, 4));
  expect(around(1, Number.NaN)).toEqual({ low: null, high: null });
});

test('groups hold every index once, in a seeded order', () => {
  const groups = groupsOf(23, 4, 1, 'test');
  expect(groups.map(({ length }) => length)).toEqual([5, 6, 6, 6]);
  expect(groups.flatMap((group) => [...group]).sort((a, b) => a - b)).toEqual(Array.from({ length: 23 }, (_, i) => i));
  expect(groupsOf(23, 4, 1, 'test')).toEqual(groups);
  expect(groupsOf(23, 4, 2, 'test')).not.toEqual(groups);
  expect([...without(groups, 1)]).toEqual([...groups[0]!, ...groups[2]!, ...groups[3]!]);
});
