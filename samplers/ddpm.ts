/** @file DDPM's ancestral sampling: the mean of x at the next level given the denoised sample, and noise. Ho et al. 2020. */
import '../engine/graph/fluent.ts';
import { choice, options } from '../engine/train/options.ts';
import { defineSampler } from '../engine/train/sampler.ts';
import { alongSlope, ancestral, toClean } from './steps.ts';

export const ddpm = defineSampler({
  name: 'ddpm',
  title: 'First order, one evaluation a step, all noise drawn anew.',
  reference: '2006.11239',
  options: options({
    variance: choice(
      ['small', 'large'],
      'small',
      'Variance of the noise: small, that of the step given the clean sample; large, β of the variance-preserving process',
    ),
  }),
  build: ({ variance }) => ({
    name: 'ddpm',
    evaluations: () => 1,
    start: (x) => ({ x }),
    step(denoise, { x }, { sigma, next }, draw, place) {
      const denoised = denoise(x, sigma);
      if (toClean(place)) return { x: denoised };
      const { down, up } = ancestral({ sigma, next }, 1);
      const mean = alongSlope(x, denoised, sigma, down); // eq. 7 divided by √ᾱ
      // β = 1 − ᾱ/ᾱ′ = (σ² − next²)/(1 + σ²), and another 1 + next² for the division by √ᾱ′.
      const beta = sigma.sub(next).mul(sigma.add(next)).mul(next.square().add(1)).div(sigma.square().add(1));
      return { x: mean.add(draw.normal('fresh', x).mul(variance === 'small' ? up : beta.sqrt())) };
    },
  }),
});
