/** @file SDE-DPM-Solver++(2M): the multistep solver of the diffusion SDE. Lu et al. 2022, the variant for the SDE. */
import '../engine/graph/fluent.ts';
import { sub } from '../engine/graph/ops/elementwise.ts';
import { options } from '../engine/train/options.ts';
import { defineSampler } from '../engine/train/sampler.ts';
import { alongSlope, toClean } from './steps.ts';

export const dpmpp2mSde = defineSampler({
  name: 'dpmpp-2m-sde',
  title: 'DPM-Solver++(2M) of the SDE: one evaluation a step, all noise drawn anew, corrected by the step before.',
  reference: '2211.01095',
  options: options({}),
  build: () => ({
    name: 'dpmpp-2m-sde',
    evaluations: () => 1,
    start: (x) => ({ x, denoised: x }), // replaced before it is read
    step(denoise, carry, { previous, sigma, next }, draw, place) {
      const { x } = carry;
      const denoised = denoise(x, sigma);
      if (toClean(place)) return { x: denoised, denoised };
      const fall = next.div(sigma); // e⁻ʰ
      const ratio = () => sigma.div(next).log().div(previous.div(sigma).log()); // 1/r = h/h₋₁ in λ = −ln σ
      const ahead = place === 'first' ? denoised : denoised.add(denoised.sub(carry['denoised']!).mul(ratio().mul(0.5)));
      const kept = alongSlope(x, ahead, sigma, next.mul(fall));
      return { x: kept.add(draw.normal('fresh', x).mul(next.mul(sub(1, fall.square()).sqrt()))), denoised };
    },
  }),
});
