/** @file DPM-Solver++(2S): two evaluations, the second half-way in ln σ. Lu et al. 2022, algorithm 1 with r = 1/2. */
import '../engine/graph/fluent.ts';
import { options, real } from '../engine/train/options.ts';
import { defineSampler } from '../engine/train/sampler.ts';
import { alongSlope, ancestral, toClean } from './steps.ts';

export const dpmpp2s = defineSampler({
  name: 'dpmpp-2s',
  title: 'Second order in one step, two evaluations a step but the last; eta draws noise anew after it.',
  reference: '2211.01095',
  options: options({ eta: real(0, 'Share of fresh noise: 0 deterministic, 1 ancestral (DDPM)', { min: 0, max: 1 }) }),
  build: ({ eta }) => ({
    name: 'dpmpp-2s',
    evaluations: (place) => (toClean(place) ? 1 : 2),
    start: (x) => ({ x }),
    step(denoise, { x }, levels, draw, place) {
      const { sigma } = levels;
      const denoised = denoise(x, sigma);
      if (toClean(place)) return { x: denoised };
      const { down, up } = eta === 0 ? { down: levels.next, up: null } : ancestral(levels, eta);
      const half = sigma.mul(down).sqrt();
      // With r = 1/2 the weights 1 − 1/2r and 1/2r of the two denoised samples are 0 and 1.
      const ahead = denoise(alongSlope(x, denoised, sigma, half), half);
      const moved = alongSlope(x, ahead, sigma, down);
      return { x: up ? moved.add(draw.normal('fresh', x).mul(up)) : moved };
    },
  }),
});
