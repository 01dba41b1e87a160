/**
 * @file What every sampler keeps to: the order that it states on exact trajectories of a mixture, the mean and variance of a Gaussian where it draws
 * noise, the denoised sample at the end, the same bits for a part of a batch, and finite numbers for one and two steps between the ends.
 */
import { describe, expect, test } from 'vitest';
import '../engine/graph/fluent.ts';
import { constant } from '../engine/graph/ops/leaf.ts';
import { evaluate } from '../engine/graph/reference.ts';
import type { Tensor } from '../engine/graph/tensor.ts';
import type { Denoiser } from '../engine/train/network.ts';
import type { Carry, Sampler } from '../engine/train/sampler.ts';
import { gaussian } from '../models/gaussian.ts';
import { mixture } from '../models/mixture.ts';
import { sampler, samplers } from './index.ts';
import { karras } from './karras.ts';
import { placeOf } from './steps.ts';
import { silent, stored, trajectory } from './testing/trajectories.ts';
import { constantLevels, unroll } from './unroll.ts';

/** Order of every deterministic solver, by name and options; docs/samplers.md says the same. */
const ORDERS: readonly (readonly [string, Readonly<Record<string, unknown>>, number])[] = [
  ['euler', {}, 1],
  ['ddim', {}, 1],
  ['flow-euler', {}, 1],
  ['path-heun', { corrected: false, path: 'vp' }, 1],
  ['heun', {}, 2],
  ['heun', { second: 0.5 }, 2],
  ['heun', { second: 2 / 3 }, 2],
  ['path-heun', { path: 'vp' }, 2],
  ['path-heun', { path: 'trigflow' }, 2],
  ['flow-heun', {}, 2],
  ['dpmpp-2m', {}, 2],
  ['dpmpp-2m', { solver: 'heun' }, 2],
  ['dpmpp-2s', {}, 2],
  ['plms', {}, 2],
  ['pndm', {}, 2],
  ['dpmpp-3m', { bend: 'half' }, 2],
  ['dpmpp-3m', {}, 3],
  ['unipc', { order: 1 }, 2],
  ['unipc', { order: 1, variant: 'bh1' }, 2],
  ['unipc', {}, 3],
  ['unipc', { variant: 'bh1' }, 3],
  // The first two steps are of lower order.
  ['unipc', { order: 3 }, 3],
  ['unipc', { order: 3, variant: 'bh1' }, 3],
];
/** Solvers of the SDE, by name and options, and the order in which a Gaussian's deviation comes out. */
const STOCHASTIC: readonly (readonly [string, Readonly<Record<string, unknown>>, number])[] = [
  ['ddim', { eta: 1 }, 1],
  ['ddim', { eta: 0.5 }, 1],
  ['ddpm', {}, 1],
  ['ddpm', { variance: 'large' }, 1],
  ['euler-ancestral', {}, 1],
  ['euler', { churn: 40 }, 1],
  ['heun', { churn: 40 }, 1],
  ['dpmpp-2m-sde', {}, 2],
  ['dpmpp-2m-sde', { solver: 'heun' }, 2],
  ['dpmpp-2s', { eta: 1 }, 2],
  ['dpmpp-2s', { eta: 0.5 }, 2],
];
/** Those that take what the network says for a sample: right for networks that say samples. */
const DISTILLED = ['student', 'lcm', 'scm', 'tcd', 'ctm', 'flow-euler'];

test('every sampler is in one of the lists', () => {
  const listed = [...ORDERS, ...STOCHASTIC].map(([name]) => name as string);
  expect(Object.keys(samplers).filter((name) => !listed.includes(name) && !DISTILLED.includes(name))).toEqual([]);
});

describe('order on a mixture', () => {
  const [top, end] = [10, 0.1];
  const [weights, means, variances] = [
    [0.3, 0.7],
    [-0.8, 0.6],
    [0.09, 0.25],
  ] as const;
  const { denoise } = mixture({ weights, means: means.map((m) => [m]), variances });
  const starts = Float64Array.of(-9, -1.5, 0.5, 6);
  /** The mixture's posterior mean, written once more. */
  const mean = (x: number, sigma: number): number => {
    const r = weights.map(
      (w, k) => (w / Math.hypot(sigma, Math.sqrt(variances[k]!))) * Math.exp(-((x - means[k]!) ** 2) / (2 * (variances[k]! + sigma ** 2))),
    );
    const own = means.map((m, k) => m + (variances[k]! / (variances[k]! + sigma ** 2)) * (x - m));
    return (r[0]! * own[0]! + r[1]! * own[1]!) / (r[0]! + r[1]!);
  };
  /** Runge and Kutta's method in ln σ with steps so short that rounding is all that is left. */
  function exact(x: number): number {
    const n = 4000;
    const h = Math.log(end / top) / n;
    const slope = (at: number, log: number): number => at - mean(at, Math.exp(log));
    for (let i = 0; i < n; i++) {
      const log = Math.log(top) + i * h;
      const a = slope(x, log);
      const b = slope(x + (h / 2) * a, log + h / 2);
      const c = slope(x + (h / 2) * b, log + h / 2);
      x += (h / 6) * (a + 2 * b + 2 * c + slope(x + h * c, log + h));
    }
    return x;
  }
  const goal = starts.map(exact);
  /** With two short steps at the beginning: there a method that remembers is of first order, which would be all that is seen of it. */
  const gentle = (levels: readonly number[]): readonly number[] => {
    const short = Math.log(levels[0]! / levels[1]!) ** 2;
    return [levels[0]!, levels[0]! * Math.exp(-short), levels[0]! * Math.exp(-2 * short), ...levels.slice(1)];
  };
  /** The state at level `end`. UniPC's is the one that its corrector makes of it in the step after. */
  function error(solver: Sampler, n: number): number {
    const even = karras({ sigmaMin: end, sigmaMax: top }).levels(n + 1);
    const levels = solver.name === 'dpmpp-3m' ? gentle(even) : even;
    const around = solver.name === 'unipc' ? [...levels, 0.99 * end, 0.98 * end] : levels;
    const last = around.slice(0, solver.name === 'unipc' ? n + 1 : -1).reduce<Carry>(
      (carry, _, i) => {
        const after = solver.step(
          denoise,
          carry,
          constantLevels(solver, around.slice(0, -1), i, around.at(-1)),
          silent,
          placeOf(i, 1, solver.opening),
        );
        const keys = Object.keys(after);
        return Object.fromEntries(evaluate(Object.values(after)).map((v, k) => [keys[k]!, constant(v.data, [4, 1])])) as Carry &
          Record<'x', Tensor>;
      },
      solver.start(constant(starts, [4, 1])),
    );
    const x = evaluate([last[solver.name === 'unipc' ? 'base' : 'x']!])[0]!.data;
    return Math.max(...x.map((v, k) => Math.abs(v - goal[k]!)));
  }
  test.each(ORDERS)('%s %o is of order %i', (name, options, order) => {
    const solver = sampler(name, options);
    expect(Math.log2(error(solver, 100) / error(solver, 200))).toBeGreaterThan(order - 0.15);
  });
});

/**
 * A step on a Gaussian is linear in x and its noise: the variance at the end is the sum of the squared responses to a unit start and to the unit noise
 * of each step, one a sample here. No noise is drawn, so nothing is left to chance.
 */
function spread(
  solver: Sampler,
  denoise: Denoiser,
  levels: readonly number[],
  end: number,
  std: number,
): { readonly mean: number; readonly std: number } {
  const n = levels.length;
  const centre = trajectory({
    sampler: solver,
    denoise,
    x: Float64Array.of(0.3),
    shape: [1, 1],
    levels,
    end,
    noise: levels.map(() => new Float64Array(1)),
  })[0]!;
  const start = new Float64Array(n + 1).fill(0.3).with(0, 0.3 + Math.hypot(std, levels[0]!));
  const noise = levels.map((_, i) => new Float64Array(n + 1).with(i + 1, 1));
  const x = trajectory({ sampler: solver, denoise, x: start, shape: [n + 1, 1], levels, end, noise });
  return { mean: centre, std: Math.hypot(...x.map((v) => v - centre)) };
}

describe('a Gaussian under noise', () => {
  const [std, end] = [0.5, 0.05];
  const { denoise } = gaussian({ mean: 0.3, std });
  const levels = (n: number) =>
    karras({ sigmaMin: end, sigmaMax: 20 })
      .levels(n + 1)
      .slice(0, -1);
  const error = (solver: Sampler, n: number): number =>
    Math.abs(spread(solver, denoise, levels(n), end, std).std / Math.hypot(std, end) - 1);
  test.each(STOCHASTIC)('%s %o keeps its mean, and its deviation to order %i', (name, options, order) => {
    const solver = sampler(name, options);
    expect(spread(solver, denoise, levels(20), end, std).mean).toBeCloseTo(0.3, 10);
    const [few, many] = [error(solver, 150), error(solver, 300)];
    expect(many).toBeLessThan(0.05);
    expect(Math.log2(few / many)).toBeGreaterThan(order - 0.15);
  });
  test('DPM-Solver++(2M) of the SDE is nearer than ancestral sampling', () => {
    const [first, second] = ['euler-ancestral', 'dpmpp-2m-sde'].map((name) => error(sampler(name), 30));
    expect(second).toBeLessThan(first! / 3);
  });
});

describe('networks that say samples', () => {
  const std = 0.5;
  const levels = [20, 4, 1, 0.2];
  const deviate = (x: Tensor, from: Tensor, to: Tensor | number): Tensor => {
    const size = (level: Tensor): Tensor =>
      level
        .square()
        .add(std ** 2)
        .sqrt();
    return x
      .sub(0.3)
      .mul(size(typeof to === 'number' ? constant(to) : to))
      .div(size(from))
      .add(0.3);
  };
  /** The end of the exact trajectory of a Gaussian. */
  const consistent: Denoiser = (x, sigma) => deviate(x, sigma, 0);
  /** What a jump along the line to the level that is told needs to end on the trajectory. */
  const jumping: Denoiser = (x, sigma, { toward } = {}) => {
    if (!toward) return consistent(x, sigma);
    const to = toward.mul(4).exp();
    const share = to.div(sigma);
    return deviate(x, sigma, to).sub(x.mul(share)).div(share.neg().add(1));
  };
  test.each([
    ['student', {}, consistent],
    ['student', { noise: 'fresh' }, consistent],
    ['lcm', {}, consistent],
    ['scm', {}, consistent],
    ['flow-euler', { stochastic: true }, consistent],
    ['tcd', { gamma: 1 }, consistent],
    ['ctm', { gamma: 1 }, jumping],
    ['ctm', { gamma: 0.6 }, jumping],
    ['ctm', { gamma: 0 }, jumping],
  ] as const)('%s %o ends with the data', (name, options, denoise) => {
    const got = spread(sampler(name, options), denoise, levels, 0, std);
    expect(got.mean).toBeCloseTo(0.3, 12);
    expect(got.std).toBeCloseTo(std, 12);
  });
  test('γ 0 is deterministic: CTM tells the next level, TCD is DDIM', () => {
    const told: number[] = [];
    const listening: Denoiser = (x, sigma, condition = {}) => {
      if (condition['toward']) told.push(Math.exp(4 * evaluate([condition['toward']])[0]!.data[0]!));
      return jumping(x, sigma, condition);
    };
    const x = constant(Float64Array.of(1, -2), [2, 1]);
    unroll(sampler('ctm'), listening, x, levels, silent);
    expect(told.map((v) => Number(v.toFixed(12)))).toEqual(levels.slice(1));
    const { denoise } = gaussian({ mean: 0.3, std });
    const [tcd, ddim] = evaluate(['tcd', 'ddim'].map((name) => unroll(sampler(name), denoise, x, levels, silent)));
    expect([...tcd!.data]).toEqual([...ddim!.data]);
  });
  test('γ between: TCD comes back to the level by noise', () => {
    // Below 1, VP time (1 − γ) t: Song et al. 2021, with β from 0.1 to 20.
    const vpTime = (level: number): number => (Math.sqrt(0.01 + 39.8 * Math.log1p(level ** 2)) - 0.1) / 19.9;
    const numbers = sampler('tcd', { gamma: 0.3 }).numbers!([20, 4, 0], 0);
    expect(vpTime(numbers['low']!) / vpTime(4)).toBeCloseTo(0.7, 12);
    expect(Math.hypot(numbers['low']!, numbers['fresh']!)).toBeCloseTo(4, 12);
  });
});

describe.each(Object.keys(samplers))('%s', (name) => {
  const { denoise } = mixture({
    weights: [0.5, 0.5],
    means: [
      [-1, 0],
      [1, 0.5],
    ],
    variances: [0.04, 0.09],
  });
  const start = Float64Array.of(60, -90, 3, 4, -70, 20, 110, -5);
  const noiseFor = (count: number, skip = 0) =>
    [0, 1, 2, 3, 4, 5].map((i) => Float64Array.from({ length: count }, (_, k) => Math.sin(7 * i + 3 * (k + skip))));
  test('the last step gives what the network says of its state', () => {
    const said: Tensor[] = [];
    const listening: Denoiser = (x, sigma) => {
      said.push(denoise(x, sigma));
      return said.at(-1)!;
    };
    const end = unroll(sampler(name), listening, constant(start, [4, 2]), karras().levels(5), stored(noiseFor(8)));
    const [ours, last] = evaluate([end, said.at(-1)!]);
    expect([...ours!.data]).toEqual([...last!.data]);
  });
  test('a part of a batch gives the same bits', () => {
    const run = (x: Float64Array, skip: number) =>
      trajectory({
        sampler: sampler(name),
        denoise,
        x,
        shape: [x.length / 2, 2],
        levels: karras().levels(6),
        noise: noiseFor(x.length, skip),
      });
    const parts = [run(start.slice(0, 2), 0), run(start.slice(2), 2)];
    expect(parts.flatMap((part) => [...part])).toEqual([...run(start, 0)]);
  });
  test.each([[80], [0.002], [80, 0.002], [80, 0.003, 0.002], [0.0021, 0.002], karras().levels(40)])(
    'finite for levels %j …',
    (...levels) => {
      const x = trajectory({
        sampler: sampler(name),
        denoise,
        x: start.map((v) => (v * levels[0]!) / 80),
        shape: [4, 2],
        levels,
        noise: levels.map((_, i) => noiseFor(8)[i % 6]!),
      });
      expect([...x].filter((v) => !Number.isFinite(v))).toEqual([]);
    },
  );
});
