/** @file Euler's method on the probability-flow ODE, with optional churn. Karras et al. 2022, algorithm 2 without its second evaluation. */
import { defineSampler } from '../engine/train/sampler.ts';
import { churnOptions, stir } from './churn.ts';
import { alongSlope, toClean } from './steps.ts';

/**
 * diffusers adds the churn's noise after the network was asked and takes its answer for one at the raised level; here, as in the paper, the
 * network sees the noise.
 */
export const euler = defineSampler({
  name: 'euler',
  title: 'First order, one evaluation a step; without churn the same as deterministic DDIM and as Euler on a flow.',
  reference: '2206.00364',
  options: churnOptions,
  build: (churn) => ({
    name: 'euler',
    evaluations: () => 1,
    start: (x) => ({ x }),
    step(denoise, carry, levels, draw, place) {
      const [x, sigma] = stir(carry.x, levels, draw, churn);
      const denoised = denoise(x, sigma);
      return { x: toClean(place) ? denoised : alongSlope(x, denoised, sigma, levels.next) };
    },
  }),
});
