/** @file Whole training steps on TensorFlow.js give what they give on ONNX Runtime's CPU: of every method, and of every network. */
import { describe, test } from 'vitest';
import { ortRuntime } from '../engine/run/ort.ts';
import { tfjsRuntime } from '../engine/run/tfjs.ts';
import { expectSameCurve } from './testing/same-curve.ts';
import { methodNames, NETWORKS, type NetworkName, tinyCurve, tinyRun } from './testing/tiny-runs.ts';

const STEPS = 3;
async function compare(method: string, network: NetworkName): Promise<void> {
  const run = await tinyRun(method, network, {}, STEPS);
  expectSameCurve(await tinyCurve(tfjsRuntime(), run, STEPS), await tinyCurve(ortRuntime({ threads: 1 }), run, STEPS));
}

describe('on small-unet', () => {
  test.each(methodNames)('%s', (method) => compare(method, 'small-unet'));
});
/** Attention, normalisations and resizing of every kind, at the price of one network. */
describe('edm', () => {
  test.each(Object.keys(NETWORKS) as NetworkName[])('on %s', (network) => compare('edm', network));
});
