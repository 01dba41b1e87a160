/** @file What an update costs, from the times of phases and from when they run. */
import { expect, test } from 'vitest';
import { costOf } from './methods.ts';

test('the student on every second step, a critic of two phases in turn', () => {
  const facts = { batch: 16, phases: ['student', 'plain', 'penalised'], students: ['student'], turns: [[0, 2], [1], [0, 1], [1]] };
  const cost = costOf(facts, [10, 2, 6]);
  expect(cost.student).toBe(10);
  expect(cost.critic).toBe((6 + 2 + 2 + 2) / 4);
  expect(cost.step).toBe((16 + 2 + 12 + 2) / 4);
});

test('without a critic there is no such update; two students in one step are one update', () => {
  const cost = costOf({ batch: 16, phases: ['a', 'b'], students: ['a', 'b'], turns: [[0, 1], []] }, [3, 4]);
  expect(cost).toEqual({ student: 7, critic: null, step: 3.5 });
});
