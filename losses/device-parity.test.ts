/** @file Whole training steps on WebGPU give what they give on the CPU: losses of every step, and the weights, moments and averages afterwards. */
import { describe } from 'vitest';
import { adapterTest, answerOf } from '../engine/testing/adapter.ts';
import { expectSameCurve } from './testing/same-curve.ts';
import type { Curve } from './testing/tiny-runs.ts';

const STEPS = 3;
const METHODS = {
  dmd2: { ratio: 2 },
  'f-distill': { ratio: 2 },
  scm: {},
  'phased-dmd': { ratio: 2 },
} as const;
const script = new URL('./testing/parity.ts', import.meta.url);

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
      expectSameCurve(device, cpu);
    });
});
