/** @file Parts of trajectories: together they are the whole one, and estimates are what the network says of each state. */
import { afterAll, expect, test } from 'vitest';
import '../../engine/graph/fluent.ts';
import { constant, input } from '../../engine/graph/ops/leaf.ts';
import { evaluate } from '../../engine/graph/reference.ts';
import type { Draw } from '../../engine/train/loss.ts';
import { constantScope } from '../../engine/train/weights.ts';
import { sampler } from '../../samplers/index.ts';
import { karras } from '../../samplers/karras.ts';
import { unroll } from '../../samplers/unroll.ts';
import { gaussianModel } from '../testing/gaussian.ts';
import { tinyModel } from '../testing/tiny.ts';
import { oneHot, sampleNoise } from './feeds.ts';
import { builderOf } from './model.ts';
import { evaluationsOf, openTrajectories, type Trajectories } from './trajectory.ts';

const opened: Trajectories[] = [];
const open = (...args: Parameters<typeof openTrajectories>): Trajectories => {
  opened.push(openTrajectories(...args));
  return opened.at(-1)!;
};
afterAll(async () => {
  for (const each of opened) await each.close();
});
const largest = (a: Float32Array, b: Float32Array): number => Math.max(...a.map((v, i) => Math.abs(v - b[i]!)));
const request = { labels: [3, 1, 4], seed: 2, first: 0, count: 3 };

test.each([
  ['heun', {}, 7],
  ['ddim', { eta: 1 }, 4],
  ['dpmpp-2m', {}, 4],
  ['unipc', {}, 4],
] as const)('a whole trajectory of %s is the one graph of all its steps, in float64', async (name, values, nfe) => {
  const model = tinyModel();
  const solver = sampler(name, values);
  const levels = karras(model.card.schedule).levels(4);
  const { x } = await open(model, solver, { threads: 1 }).walk({ ...request, levels });
  expect(evaluationsOf(solver, levels)).toBe(nfe);
  const network = builderOf(model.card)(constantScope(model.weights));
  const label = constant(oneHot(request.labels, 0, 3, 10).data as Float32Array, [3, 10]);
  const draw: Draw = { normal: (key, like) => input(key, like.shape), uniform: () => label, condition: () => ({}) };
  const start = input('z', [3, 1, 28, 28]).mul(levels[0]!);
  const end = unroll(solver, (at, sigma) => network.denoise(at, sigma, { label }), start, levels, draw);
  const noise = (k: number) => sampleNoise([3, 1, 28, 28], request.seed, k, 0).data as Float32Array;
  const fresh = levels.map((_, i) => [`step${i}/fresh`, noise(i + 1)] as const);
  const [wanted] = evaluate([end], { z: noise(0), ...Object.fromEntries(fresh) });
  const size = Math.max(...x.map(Math.abs));
  expect(Math.max(...x.map((v, i) => Math.abs(v - Number(wanted!.data[i]))))).toBeLessThan(2e-5 * size);
});

test('two parts, one after the other, are the whole; guidance doubles the evaluations', async () => {
  const model = tinyModel();
  const solver = sampler('heun');
  const levels = karras(model.card.schedule).levels(5);
  const trajectories = open(model, solver, { threads: 1, guidance: 2 });
  const whole = await trajectories.walk({ ...request, levels });
  const upper = await trajectories.walk({ ...request, levels: levels.slice(0, 2), end: levels[2]! });
  const lower = await trajectories.walk({ ...request, levels: levels.slice(2), start: upper.x, made: 2 });
  expect(largest(lower.x, whole.x)).toBeLessThan(1e-4);
  expect([...upper.estimates, ...lower.estimates].map((e, i) => largest(e, whole.estimates[i]!) < 1e-4)).toEqual(Array(5).fill(true));
  expect(evaluationsOf(solver, levels.slice(0, 2), levels[2]!, 2)).toBe(8);
  expect(evaluationsOf(solver, levels, 0, 2)).toBe(18);
});

test('estimates are the denoiser at each state: x/(1 + 4σ²) for data of deviation 1/2', async () => {
  const levels = [80, 10, 1];
  const start = Float32Array.from({ length: 784 }, (_, i) => Math.sin(i) * 80);
  const { x, estimates } = await open(gaussianModel(), sampler('euler'), { threads: 1 }).walk({
    ...request,
    labels: [3],
    count: 1,
    levels,
    start,
  });
  // Euler: x ← D + (x − D) next/σ.
  let at = start.map(Number);
  levels.forEach((sigma, i) => {
    const denoised = at.map((v) => v / (1 + 4 * sigma ** 2));
    expect(largest(estimates[i]!, denoised)).toBeLessThan(1e-5);
    at = at.map((v, j) => denoised[j]! + ((v - denoised[j]!) * (levels[i + 1] ?? 0)) / sigma);
  });
  expect(largest(x, at)).toBeLessThan(1e-5);
});
