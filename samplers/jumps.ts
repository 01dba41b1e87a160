/**
 * @file Samplers that jump below the next level and come back up to it with fresh noise; γ is how far below. For networks that were distilled:
 * a teacher's denoised sample is a mean, and jumps that stay long make its samples too smooth however many steps there are.
 */
import '../engine/graph/fluent.ts';
import type { Tensor } from '../engine/graph/tensor.ts';
import type { Condition } from '../engine/train/network.ts';
import { options, real } from '../engine/train/options.ts';
import { defineSampler, type Sampler } from '../engine/train/sampler.ts';
import { levelAt, vpSde } from './paths.ts';
import { alongSlope, numbersOf, toClean } from './steps.ts';

const gammaOptions = options({
  gamma: real(0, 'How far the jump goes below the next level before noise is added: 0 not at all, 1 to a clean sample', { min: 0, max: 1 }),
});

interface Jump {
  readonly name: string;
  readonly gamma: number;
  /** The level that is jumped to on the way to `next`. */
  below(next: number): number;
  /** What the network is told of a level above 0 that it jumps to. */
  told?(level: Tensor): Condition;
}
const jumping = ({ name, gamma, below, told = () => ({}) }: Jump): Sampler => ({
  name,
  evaluations: () => 1,
  numbers(levels, i) {
    const [next, low] = [levels[i + 1]!, below(levels[i + 1]!)];
    return { low, fresh: Math.sqrt(Math.max(0, (next - low) * (next + low))) };
  },
  start: (x) => ({ x }),
  step(denoise, { x }, levels, draw, place) {
    if (toClean(place)) return { x: denoise(x, levels.sigma) };
    const number = numbersOf(name, levels);
    const low = number('low');
    const landed = alongSlope(x, denoise(x, levels.sigma, gamma === 1 ? {} : told(low)), levels.sigma, low);
    return { x: gamma === 0 ? landed : landed.add(draw.normal('fresh', x).mul(number('fresh'))) };
  },
});

/** Strategic stochastic sampling with the level below in a process's own terms. Zheng et al. 2024, algorithm 4. @param below (level, γ) ↦ lower level */
export const tcdSteps = (gamma: number, below: (next: number, gamma: number) => number): Sampler =>
  jumping({ name: 'tcd', gamma, below: (next) => (gamma === 0 || next === 0 ? next : below(next, gamma)) });

export const tcd = defineSampler({
  name: 'tcd',
  title: "TCD's sampling: jumps to the share 1 − γ of the next time of the variance-preserving process, then adds noise.",
  reference: '2402.19159',
  options: gammaOptions,
  only: 'student',
  build: ({ gamma }) => tcdSteps(gamma, (next, g) => levelAt(vpSde(), (1 - g) * vpSde().time(next))),
});

export const ctm = defineSampler({
  name: 'ctm',
  title: "CTM's γ-sampling: jumps to √(1 − γ²) of the next level, which the network is told, then adds noise.",
  reference: '2310.02279',
  options: gammaOptions,
  only: 'ctm',
  build: ({ gamma }) =>
    jumping({
      name: 'ctm',
      gamma,
      below: (next) => next * Math.sqrt(1 - gamma ** 2),
      told: (level) => ({ toward: level.log().mul(0.25).reshape([1]) }), // as losses/ctm.ts trains it; a clean sample is told by the form
    }),
});
