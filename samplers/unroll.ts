/** @file A whole trajectory in one graph: for tests, toys and the export of generators with few steps. */
import { constant } from '../engine/graph/ops/leaf.ts';
import type { Tensor } from '../engine/graph/tensor.ts';
import type { Draw } from '../engine/train/loss.ts';
import type { Denoiser } from '../engine/train/network.ts';
import type { Carry, Levels, Sampler } from '../engine/train/sampler.ts';
import { numbersAt, placeOf } from './steps.ts';

/** The same draws under names led by `prefix`. */
export const drawWithin = (draw: Draw, prefix: string): Draw => ({
  normal: (name, like) => draw.normal(`${prefix}${name}`, like),
  uniform: (name, like) => draw.uniform(`${prefix}${name}`, like),
  condition: (name) => draw.condition(`${prefix}${name}`),
});

/** What step i on the way through `levels` to `end` sees, as float64 constants. */
export function constantLevels(sampler: Sampler, levels: readonly number[], i: number, end = 0): Levels {
  const numbers = Object.entries(numbersAt(sampler, levels, i, end)).map(([name, value]) => [name, constant(value)] as const);
  return {
    previous: constant(levels[i - 1] ?? 0),
    sigma: constant(levels[i]!),
    next: constant(levels[i + 1] ?? end),
    steps: constant(levels.length),
    numbers: Object.fromEntries(numbers),
  };
}

/**
 * The sample at level `end` of the trajectory that starts with x (of level `levels[0]`) and steps through `levels`, from high to low.
 * Levels become float64 constants; noise of step i is drawn under names led by `step<i>/`.
 */
export function unroll(sampler: Sampler, denoise: Denoiser, x: Tensor, levels: readonly number[], draw: Draw, end = 0): Tensor {
  const all = [...levels, end];
  const fall = levels.findIndex((level, i) => !(level > all[i + 1]!));
  if (fall !== -1) throw new RangeError(`unroll: level ${levels[fall]} is followed by ${all[fall + 1]}; levels fall from step to step`);
  const last = levels.reduce<Carry>(
    (carry, _, i) =>
      sampler.step(
        denoise,
        carry,
        constantLevels(sampler, levels, i, end),
        drawWithin(draw, `step${i}/`),
        placeOf(i, all[i + 1]!, sampler.opening),
      ),
    sampler.start(x),
  );
  return last.x;
}
