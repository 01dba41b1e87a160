/** @file Whole training steps of every method on TensorFlow.js give what they give on ONNX Runtime's CPU. */
import { expect, test } from 'vitest';
import { ortRuntime } from '../engine/run/ort.ts';
import { tfjsRuntime } from '../engine/run/tfjs.ts';
import { methodNames, tinyCurve, tinyRun } from './testing/tiny-runs.ts';

const STEPS = 3;
test.each(methodNames)('%s', { timeout: 60_000 }, async (method) => {
  const run = await tinyRun(method, 'small-unet', {}, STEPS);
  const cpu = await tinyCurve(ortRuntime({ threads: 1 }), run, STEPS);
  const t0 = performance.now();
  const tfjs = await tinyCurve(tfjsRuntime(), run, STEPS);
  console.log(method, cpu.seconds, tfjs.seconds, performance.now() - t0);
  const off = (actual: readonly number[], wanted: readonly number[]): number => {
    const scale = Math.max(...wanted.map(Math.abs), 1e-30);
    return Math.max(...wanted.map((v, i) => Math.abs(v - actual[i]!))) / scale;
  };
  let [wt, ww, wm] = [0, 0, 0];
  for (const [i, step] of cpu.terms.entries())
    for (const [name, value] of Object.entries(step))
      wt = Math.max(wt, Math.abs(tfjs.terms[i]![name]! - value) / Math.max(1e-2, Math.abs(value)));
  for (const [name, values] of Object.entries(cpu.weights)) {
    const o = off(tfjs.weights[name]!, values);
    if (/\/[mv]$/.test(name)) wm = Math.max(wm, o);
    else ww = Math.max(ww, o);
  }
  console.log(method, wt, ww, wm, cpu.skipped, tfjs.skipped);
});
