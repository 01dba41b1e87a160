/** @file The estimate of memory against what small graphs hold at once, counted by hand. */
import { expect, test } from 'vitest';
import { heldBytes, peakBytes } from './memory.ts';
import { add, exp, mul } from './ops/elementwise.ts';
import { input } from './ops/leaf.ts';
import { matmul } from './ops/linalg.ts';
import { reshape } from './ops/movement.ts';
import { sum } from './ops/reduce.ts';

// 100 float32 values are 400 bytes; leaves are not counted.
const x = input('x', [10, 10]);

test('a chain needs its longest pair of neighbours', () => {
  expect(peakBytes([exp(exp(exp(x)))])).toBe(800);
});

test('a value that is used again stays', () => {
  const a = exp(x);
  // a, exp(a) and exp(exp(a)) are alive together; then their sum joins a and the last one.
  expect(peakBytes([add(exp(exp(a)), a)])).toBe(1200);
});

test('outputs stay to the end, scalars are small', () => {
  const a = exp(x);
  expect(peakBytes([a, sum(mul(a, a))])).toBe(400 + 400 + 4);
});

test('a reshape takes no memory of its own', () => {
  expect(peakBytes([reshape(exp(x), [100])])).toBe(400);
});

test('N counts', () => {
  const y = matmul(input('y', ['N', 10]), input('w', [10, 5]));
  expect(peakBytes([y], 7)).toBe(7 * 5 * 4);
});

test('dead memory goes to values of the same shape alone, and is held until then', () => {
  // Four values of 400 bytes in a chain live in two places.
  expect(heldBytes([exp(exp(exp(exp(x))))])).toBe(800);
  // The memory of the first value waits for the last one while two of 800 bytes are computed.
  const wide = exp(matmul(exp(x), input('w', [10, 20])));
  const back = matmul(wide, input('v', [20, 10]));
  expect(peakBytes([exp(back)])).toBe(1600);
  expect(heldBytes([exp(back)])).toBe(2000);
});
