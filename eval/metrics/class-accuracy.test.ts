/** @file Accuracy on logits small enough to read. */
import { expect, test } from 'vitest';
import { featureSet } from '../metric.ts';
import { accuracy, classAccuracy } from './class-accuracy.ts';

test('the share of rows whose largest logit is the label', () => {
  const logits = Float32Array.of(1, 5, 2, 9, -1, 0, -3, -2, -1, 0, 1, 0);
  expect(accuracy(logits, [1, 0, 2, 0], 3)).toBe(0.75);
  expect(accuracy(logits, Uint8Array.of(0, 1, 0, 0), 3)).toBe(0);
});

test('a tie goes to the lower class, NaN is wrong whatever its place', () => {
  expect(accuracy(Float32Array.of(2, 2), [0], 2)).toBe(1);
  expect(accuracy(Float32Array.of(2, 2), [1], 2)).toBe(0);
  expect(accuracy(Float32Array.of(Number.NaN, 1, 1, Number.NaN), [0, 0], 2)).toBe(0);
});

test('wrong sizes and labels are refused', () => {
  expect(() => accuracy(new Float32Array(4), [0], 2)).toThrow('accuracy: 4 logits; 1 labels of 2 classes take 2');
  expect(() => accuracy(new Float32Array(2), [2], 2)).toThrow(
    'accuracy: label 0 is 2; with 2 classes it must be a whole number from 0 to 1',
  );
  expect(() => accuracy(new Float32Array(0), [], 2)).toThrow('accuracy: there are no samples');
});

test('as a metric: the share and its interval; what lacks is named', async () => {
  const logits = { values: Float32Array.of(3, 1, 0, 2, 5, 1, 0, 9), classes: 2 };
  const set = featureSet(new Float32Array(4), 1, { name: 'a', logits, labels: [0, 1, 1, 1] });
  expect(await classAccuracy.compute(set, null, {})).toMatchObject({
    value: 3 / 4,
    low: expect.closeTo(0.3006, 4),
    high: expect.closeTo(0.9544, 4),
  });
  await expect(classAccuracy.compute({ ...set, labels: null }, null, {})).rejects.toThrow('class-accuracy: a has no labels');
  await expect(classAccuracy.compute({ ...set, logits: null }, null, {})).rejects.toThrow('class-accuracy: a has no logits');
});
