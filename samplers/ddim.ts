/** @file DDIM, from deterministic to ancestral. Song et al. 2021. */
import '../engine/graph/fluent.ts';
import { options, real } from '../engine/train/options.ts';
import { defineSampler } from '../engine/train/sampler.ts';
import { alongSlope, ancestral, toClean } from './steps.ts';

export const ddim = defineSampler({
  name: 'ddim',
  title: 'First order, one evaluation a step; eta sets how much of the noise is drawn anew.',
  reference: '2010.02502',
  options: options({ eta: real(0, 'Share of fresh noise: 0 deterministic, 1 ancestral (DDPM)', { min: 0, max: 1 }) }),
  build: ({ eta }) => ({
    name: 'ddim',
    evaluations: () => 1,
    start: (x) => ({ x }),
    step(denoise, { x }, levels, draw, place) {
      const denoised = denoise(x, levels.sigma);
      if (toClean(place)) return { x: denoised };
      if (eta === 0) return { x: alongSlope(x, denoised, levels.sigma, levels.next) };
      const { down, up } = ancestral(levels, eta);
      return { x: alongSlope(x, denoised, levels.sigma, down).add(draw.normal('fresh', x).mul(up)) };
    },
  }),
});
