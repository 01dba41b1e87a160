/** @file When two devices are said to have trained alike: terms of every step, and weights, moments and averages afterwards. */
import { expect } from 'vitest';
import { type Curve, differences } from './tiny-runs.ts';

/**
 * Three steps in float32, whose sums are added in another order. Moments are sums of gradients, which agree to a few 1e-7 of their largest; Adam divides by
 * roots of the second ones, which are noise for weights that get next to no gradient: a few 1e-5 of the largest weight.
 */
const CLOSE = { terms: 5e-5, weights: 2e-4, moments: 1e-5 } as const;

/** Fails with the step and term, or the tensor, that differs most. No step may have been skipped. */
export function expectSameCurve(device: Curve, cpu: Curve): void {
  expect([cpu.skipped, device.skipped]).toEqual([0, 0]);
  expect(device.terms.map((step) => Object.keys(step))).toEqual(cpu.terms.map((step) => Object.keys(step)));
  expect(Object.keys(device.weights)).toEqual(Object.keys(cpu.weights));
  const { terms, weights, moments } = differences(cpu, device);
  expect(terms.largest, terms.where).toBeLessThan(CLOSE.terms);
  expect(weights.largest, weights.where).toBeLessThan(CLOSE.weights);
  expect(moments.largest, moments.where).toBeLessThan(CLOSE.moments);
}
