/**
 * @file PNDM: linear multistep methods for the noise that a sample holds, moved by DDIM's step. Liu et al. 2022. `plms` begins with lower orders,
 * `pndm` with three Runge–Kutta steps.
 */
import '../engine/graph/fluent.ts';
import type { Tensor } from '../engine/graph/tensor.ts';
import { options } from '../engine/train/options.ts';
import { type Carry, defineSampler, type Levels, type Sampler } from '../engine/train/sampler.ts';
import { numbersOf, toClean } from './steps.ts';

/** Adams and Bashforth's weights for the noise of a step and of those before it, by how many there are. */
const BASHFORTH = [[1], [3 / 2, -1 / 2], [23 / 12, -16 / 12, 5 / 12], [55 / 24, -59 / 24, 37 / 24, -9 / 24]] as const;
const REMEMBERED = ['noise1', 'noise2', 'noise3'] as const;

/** The weights of step i: `weight0` of its own noise, the others of those before it. */
const bashforth = (i: number): Readonly<Record<string, number>> =>
  Object.fromEntries(Array.from({ length: 4 }, (_, k) => [`weight${k}`, BASHFORTH[Math.min(i, 3)]![k] ?? 0]));

/** DDIM's step for a given noise. Eq. 9 divided by √ᾱ. */
const transfer = (x: Tensor, noise: Tensor, from: Tensor, to: Tensor): Tensor => x.add(noise.mul(to.sub(from)));
type Noise = (x: Tensor, level: Tensor) => Tensor;
/** The step from `sigma` to `next` of one that remembers nothing, given the noise at its start. */
type Opening = (noise: Noise, x: Tensor, first: Tensor, levels: Levels) => Tensor;

/** The mean of the noise at both ends, as Heun's method has it. */
const twoEnds: Opening = (noise, x, first, { sigma, next }) => {
  const there = noise(transfer(x, first, sigma, next), next);
  return transfer(x, first.add(there).mul(0.5), sigma, next);
};
/** Runge and Kutta's four evaluations, two of them at a level between. */
const rungeKutta: Opening = (noise, x, first, { sigma, next, ...levels }) => {
  const half = numbersOf('pndm', { sigma, next, ...levels })('half');
  const second = noise(transfer(x, first, sigma, half), half);
  const third = noise(transfer(x, second, sigma, half), half);
  const fourth = noise(transfer(x, third, sigma, next), next);
  const mean = first
    .add(second.mul(2))
    .add(third.mul(2))
    .add(fourth)
    .mul(1 / 6);
  return transfer(x, mean, sigma, next);
};

interface Scheme {
  readonly name: string;
  readonly opening: number;
  readonly evaluations: number;
  readonly open: Opening;
  readonly numbers?: NonNullable<Sampler['numbers']>;
}
/** Steps of the opening, then steps that remember the noise of three. */
const multistep = ({ name, opening, evaluations, open, numbers }: Scheme): Sampler => ({
  name,
  opening,
  evaluations: (place) => (place === 'first' ? evaluations : 1),
  numbers: (levels, i) => ({ ...bashforth(i), ...numbers?.(levels, i) }),
  start: (x) => ({ x, noise1: x, noise2: x, noise3: x }), // have weight 0 until they are replaced
  step(denoise, carry, levels, _draw, place): Carry {
    const { x } = carry;
    const denoised = denoise(x, levels.sigma);
    const noiseOf = (at: Tensor, clean: Tensor, level: Tensor): Tensor => at.sub(clean).div(level);
    const noise = noiseOf(x, denoised, levels.sigma);
    const history = { noise1: noise, noise2: carry['noise1']!, noise3: carry['noise2']! };
    if (toClean(place)) return { x: denoised, ...history };
    if (place === 'first') return { x: open((at, level) => noiseOf(at, denoise(at, level), level), x, noise, levels), ...history };
    const number = numbersOf(name, levels);
    const mean = REMEMBERED.reduce((sum, key, k) => sum.add(carry[key]!.mul(number(`weight${k + 1}`))), noise.mul(number('weight0')));
    return { x: transfer(x, mean, levels.sigma, levels.next), ...history };
  },
});

/** @param between the level half-way between two */
export const pndmSteps = (between: (sigma: number, next: number) => number): Sampler =>
  multistep({
    name: 'pndm',
    opening: 3,
    evaluations: 4,
    open: rungeKutta,
    numbers: (levels, i) => ({ half: between(levels[i]!, levels[i + 1]!) }),
  });

export const plms = defineSampler({
  name: 'plms',
  title: 'Pseudo linear multistep: second order, one evaluation a step but the first, which has two.',
  reference: '2202.09778',
  options: options({}),
  build: () => multistep({ name: 'plms', opening: 1, evaluations: 2, open: twoEnds }),
});
export const pndm = defineSampler({
  name: 'pndm',
  title: 'Pseudo linear multistep after three pseudo Runge-Kutta steps of four evaluations; half-way is meant in ln σ.',
  reference: '2202.09778',
  options: options({}),
  build: () => pndmSteps((sigma, next) => Math.sqrt(sigma * next)),
});
