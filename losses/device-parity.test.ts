/** @file Whole training steps on WebGPU give what they give on the CPU: losses of every step, and the weights, moments and averages afterwards. */
import { describe, expect } from 'vitest';
import { adapterTest, answerOf } from '../engine/testing/adapter.ts';
import { type Curve, differences } from './testing/tiny-runs.ts';

const STEPS = 3;
const METHODS = {
  dmd2: { ratio: 2 },
  'f-distill': { ratio: 2 },
  scm: {},
  'phased-dmd': { ratio: 2 },
} as const;
const script = new URL('./testing/parity.ts', import.meta.url);

/**
 * Three steps in float32, whose sums are added in another order. Moments are sums of gradients, which agree to a few 1e-7 of their largest; Adam divides by
 * roots of the second ones, which are noise for weights that get next to no gradient: a few 1e-5 of the largest weight.
 */
const CLOSE = { terms: 5e-5, weights: 2e-4, moments: 1e-5 } as const;

describe.each(Object.entries(METHODS))('%s', (method, options) => {
  // What differs between UNets is compiled for every method and network by the test of placement: one method on a deep one will do.
  for (const network of [method === 'dmd2' ? 'song-unet' : 'small-unet', 'dit'])
    adapterTest(`on ${network}`, async () => {
      const { cpu, device } = await answerOf<Readonly<Record<'cpu' | 'device', Curve>>>(script, [
        method,
        network,
        String(STEPS),
        JSON.stringify(options),
      ]);
      expect([cpu.skipped, device.skipped]).toEqual([0, 0]);
      expect(device.terms.map((step) => Object.keys(step))).toEqual(cpu.terms.map((step) => Object.keys(step)));
      expect(Object.keys(device.weights)).toEqual(Object.keys(cpu.weights));
      const { terms, weights, moments } = differences(cpu, device);
      expect(terms.largest, terms.where).toBeLessThan(CLOSE.terms);
      expect(weights.largest, weights.where).toBeLessThan(CLOSE.weights);
      expect(moments.largest, moments.where).toBeLessThan(CLOSE.moments);
    });
});
