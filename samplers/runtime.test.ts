/** @file Trajectories, quantiles and labels in float32 on ONNX Runtime against the same graphs in float64. */
import { afterAll, expect, test } from 'vitest';
import { input } from '../engine/graph/ops/leaf.ts';
import { evaluate } from '../engine/graph/reference.ts';
import type { Tensor } from '../engine/graph/tensor.ts';
import { ortRuntime } from '../engine/run/ort.ts';
import { type Executable, float32 } from '../engine/run/runtime.ts';
import { deviation } from '../engine/testing/golden-tensors.ts';
import { mixture } from '../models/mixture.ts';
import { discrete, iddpmPrecondition } from '../models/precondition.ts';
import { alphasCumprod, betas, levelsOf, tabulated } from './betas.ts';
import { sampler, samplers } from './index.ts';
import { karras } from './karras.ts';
import { stored } from './testing/trajectories.ts';
import { unroll } from './unroll.ts';

const open: Executable[] = [];
afterAll(() => Promise.all(open.map((e) => e.close())));

/** The output on both runtimes, for x of shape [n, …]. */
async function both(y: Tensor, x: Float32Array, shape: readonly number[]) {
  const runtime = ortRuntime({ threads: 1 });
  const { program } = await runtime.compile({ program: { outputs: { y }, updates: new Map() } }, runtime.state({}));
  open.push(program!);
  const fast = await program!.run({ x: float32(x, shape) });
  return { fast: fast['y']!.data as Float32Array, exact: evaluate([y], { x }, shape[0])[0]!.data };
}

const toy = mixture({
  weights: [0.3, 0.7],
  means: [
    [-0.8, 0.1],
    [0.5, 0.6],
  ],
  variances: [0.04, 0.01],
});
const start = Float32Array.of(30, -50, 80, 12, -90, 44);
const OPTIONS: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  heun: { churn: 4, churnMin: 0.05, churnMax: 50, noiseScale: 1.003 },
  ddim: { eta: 0.7 },
  unipc: { order: 3 },
  tcd: { gamma: 0.4 },
  ctm: { gamma: 0.4 },
};
test.each(Object.keys(samplers))('%s', async (name) => {
  const levels = karras().levels(8);
  const noise = levels.map((_, i) => Float64Array.of(0.5, -1.2, i / 4, 0.3, -0.7, 1 - i / 3));
  const y = unroll(sampler(name, OPTIONS[name]), toy.denoise, input('x', [3, 2]), levels, stored(noise));
  const { fast, exact } = await both(y, start, [3, 2]);
  expect(deviation(fast, exact)).toBeLessThan(1e-4);
});
test('any number of samples', async () => {
  const y = unroll(sampler('heun'), toy.denoise, input('x', ['N', 2]), karras().levels(5), stored([]));
  const { fast, exact } = await both(y, start, [3, 2]);
  expect(deviation(fast, exact)).toBeLessThan(1e-4);
});
test('quantiles', async () => {
  const u = Float32Array.from({ length: 9 }, (_, i) => i / 8);
  const table = levelsOf(alphasCumprod(betas('scaled_linear', { start: 0.00085, end: 0.012 })));
  for (const schedule of [karras(), tabulated(table)]) {
    const { fast, exact } = await both(schedule.quantile(input('x', ['N', 1])), u, [9, 1]);
    exact.forEach((v, i) => {
      expect(Math.abs(fast[i]! / v - 1)).toBeLessThan(2e-5);
    });
  }
});
test('labels from tables of 1,000 levels', async () => {
  const table = levelsOf(alphasCumprod(betas('scaled_linear', { start: 0.00085, end: 0.012 })));
  const sigma = Float32Array.from([0, 1, 500, 998, 999], (i) => table[i]!);
  const { fast } = await both(discrete(table).label(input('x', ['N', 1, 1, 1])), sigma, [5, 1, 1, 1]);
  expect([...fast].map((v) => Math.round(v * 1e3) / 1e3)).toEqual([0, 1, 500, 998, 999]);
  const seen: Tensor[] = [];
  const network = iddpmPrecondition((x, noise) => {
    seen.push(noise);
    return { output: x, features: {} };
  });
  const x = input('x', ['N', 1]);
  network.denoise(x, x);
  // From precond_iddpm of schedules/edm_family: σ ↦ label.
  const { fast: labels } = await both(seen[0]!, Float32Array.of(0.02, 0.5, 2.5, 80), [4, 1]);
  expect([...labels]).toEqual([6, 289, 755, 991]);
});
