/** @file EDM's sampler: Heun's method, or another of second order, with optional churn. Karras et al. 2022, algorithms 2 and 3. */
import '../engine/graph/fluent.ts';
import { options, real } from '../engine/train/options.ts';
import { defineSampler } from '../engine/train/sampler.ts';
import { churnOptions, stir } from './churn.ts';
import { toClean } from './steps.ts';

export const heun = defineSampler({
  name: 'heun',
  title: 'Second order, two evaluations a step but the last; noise may be added on the way.',
  reference: '2206.00364',
  options: options({
    ...churnOptions.shape,
    second: real(1, 'Where in the step the second evaluation is: 1 Heun, 2/3 Ralston, 1/2 midpoint', { min: 0.1, max: 1 }),
  }),
  build: ({ second, ...churn }) => ({
    name: 'heun',
    evaluations: (place) => (toClean(place) ? 1 : 2),
    start: (x) => ({ x }),
    step(denoise, carry, levels, draw, place) {
      const [x, sigma] = stir(carry.x, levels, draw, churn);
      const denoised = denoise(x, sigma);
      if (toClean(place)) return { x: denoised };
      const h = levels.next.sub(sigma);
      const slope = x.sub(denoised).div(sigma);
      const probe = x.add(slope.mul(h.mul(second)));
      const level = sigma.add(h.mul(second));
      const there = probe.sub(denoise(probe, level)).div(level);
      const weight = 1 / (2 * second);
      return {
        x: x.add(
          slope
            .mul(1 - weight)
            .add(there.mul(weight))
            .mul(h),
        ),
      };
    },
  }),
});
