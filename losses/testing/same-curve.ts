/** @file When two devices are said to have trained alike: terms of every step, and weights, moments and averages afterwards. */
import { expect } from 'vitest';
import type { Curve } from './tiny-runs.ts';

/**
 * Three steps in float32, whose sums are added in another order. Moments are sums of gradients, which agree to a few 1e-7 of their largest; Adam divides by
 * roots of the second ones, which are noise for weights that get next to no gradient: a few 1e-5 of the largest weight.
 */
const CLOSE = { terms: 5e-5, weights: 2e-4, moments: 1e-5 } as const;

const off = (actual: readonly number[], wanted: readonly number[]): number => {
  const scale = Math.max(...wanted.map(Math.abs), 1e-30);
  return Math.max(...wanted.map((v, i) => Math.abs(v - actual[i]!))) / scale;
};

/** Fails with the first step, term or tensor that differs. No step may have been skipped. */
export function expectSameCurve(actual: Curve, wanted: Curve): void {
  expect([wanted.skipped, actual.skipped]).toEqual([0, 0]);
  expect(actual.terms.map((step) => Object.keys(step))).toEqual(wanted.terms.map((step) => Object.keys(step)));
  for (const [i, step] of wanted.terms.entries())
    for (const [name, value] of Object.entries(step))
      expect(Math.abs(actual.terms[i]![name]! - value), `step ${i + 1}: ${name} = ${value}`).toBeLessThan(
        CLOSE.terms * Math.max(1e-2, Math.abs(value)),
      );
  expect(Object.keys(actual.weights)).toEqual(Object.keys(wanted.weights));
  for (const [name, values] of Object.entries(wanted.weights))
    expect(off(actual.weights[name]!, values), name).toBeLessThan(/\/[mv]$/.test(name) ? CLOSE.moments : CLOSE.weights);
}
