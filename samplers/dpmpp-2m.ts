/** @file DPM-Solver++(2M). Lu et al. 2022, algorithm 2. */
import '../engine/graph/fluent.ts';
import { choice, options } from '../engine/train/options.ts';
import { defineSampler } from '../engine/train/sampler.ts';
import { differenceShare, SOLVERS, stepOf } from './exponential.ts';
import { alongSlope, numbersOf, toClean } from './steps.ts';

export const dpmpp2m = defineSampler({
  name: 'dpmpp-2m',
  title: 'Second order, one evaluation a step: it remembers the step before. First order at both ends.',
  reference: '2211.01095',
  options: options({
    solver: choice(
      SOLVERS,
      'midpoint',
      'How a step takes the change of the denoised sample: as its half (midpoint), or by the exact integral (heun)',
    ),
  }),
  build: ({ solver }) => ({
    name: 'dpmpp-2m',
    evaluations: () => 1,
    numbers: (levels, i) => ({ share: levels[i + 1] === 0 ? 0 : differenceShare(solver, stepOf(levels[i]!, levels[i + 1]!)) }),
    start: (x) => ({ x, denoised: x }), // replaced before it is read
    step(denoise, carry, levels, _draw, place) {
      const { previous, sigma, next } = levels;
      const { x } = carry;
      const denoised = denoise(x, sigma);
      if (toClean(place)) return { x: denoised, denoised };
      if (place === 'first') return { x: alongSlope(x, denoised, sigma, next), denoised };
      const ratio = sigma.div(next).log().div(previous.div(sigma).log()); // 1/r = h/h₋₁ in λ = −ln σ
      const ahead = denoised.add(denoised.sub(carry['denoised']!).mul(ratio.mul(numbersOf('dpmpp-2m', levels)('share'))));
      return { x: alongSlope(x, ahead, sigma, next), denoised };
    },
  }),
});
