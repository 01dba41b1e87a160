/** @file SDE-DPM-Solver++(2M): the multistep solver of the diffusion SDE. Lu et al. 2022, the variant for the SDE. */
import '../engine/graph/fluent.ts';
import { sub } from '../engine/graph/ops/elementwise.ts';
import { choice, options } from '../engine/train/options.ts';
import { defineSampler } from '../engine/train/sampler.ts';
import { differenceShare, SOLVERS, stepOf } from './exponential.ts';
import { alongSlope, numbersOf, toClean } from './steps.ts';

export const dpmpp2mSde = defineSampler({
  name: 'dpmpp-2m-sde',
  title: 'DPM-Solver++(2M) of the SDE: one evaluation a step, all noise drawn anew, corrected by the step before.',
  reference: '2211.01095',
  options: options({
    solver: choice(
      SOLVERS,
      'midpoint',
      'How a step takes the change of the denoised sample: as its half (midpoint), or by the exact integral (heun)',
    ),
  }),
  build: ({ solver }) => ({
    name: 'dpmpp-2m-sde',
    evaluations: () => 1,
    numbers: (levels, i) => ({ share: levels[i + 1] === 0 ? 0 : differenceShare(solver, 2 * stepOf(levels[i]!, levels[i + 1]!)) }),
    start: (x) => ({ x, denoised: x }), // replaced before it is read
    step(denoise, carry, levels, draw, place) {
      const { previous, sigma, next } = levels;
      const { x } = carry;
      const denoised = denoise(x, sigma);
      if (toClean(place)) return { x: denoised, denoised };
      const fall = next.div(sigma); // e⁻ʰ
      const ratio = () => sigma.div(next).log().div(previous.div(sigma).log()); // 1/r = h/h₋₁ in λ = −ln σ
      const ahead =
        place === 'first'
          ? denoised
          : denoised.add(denoised.sub(carry['denoised']!).mul(ratio().mul(numbersOf('dpmpp-2m-sde', levels)('share'))));
      const kept = alongSlope(x, ahead, sigma, next.mul(fall));
      return { x: kept.add(draw.normal('fresh', x).mul(next.mul(sub(1, fall.square()).sqrt()))), denoised };
    },
  }),
});
