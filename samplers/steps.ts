/** @file What several samplers share: where a step stands, the step along a line of which most are made, and the share of noise drawn anew. */
import '../engine/graph/fluent.ts';
import { sub } from '../engine/graph/ops/elementwise.ts';
import type { Tensor } from '../engine/graph/tensor.ts';
import type { Levels, Place, Sampler } from '../engine/train/sampler.ts';

/** Where step i stands when it leads to level `next`; the first `opening` steps are `first`. */
export function placeOf(i: number, next: number, opening = 1): Place {
  if (next === 0) return i === 0 ? 'only' : 'last';
  return i < opening ? 'first' : 'middle';
}

/** Whether the step ends at the clean sample, which is then the denoised one itself. */
export const toClean = (place: Place): boolean => place === 'last' || place === 'only';

/** x moved from level σ to `next` along the line through x and the denoised sample: x + (next − σ)(x − D)/σ, without the cancellation near 0. */
export const alongSlope = (x: Tensor, denoised: Tensor, sigma: Tensor, next: Tensor): Tensor =>
  denoised.add(x.sub(denoised).mul(next.div(sigma)));

/**
 * How a step to `next` is split so that the share η² of the noise that a whole ancestral step draws anew is drawn anew: the level `down` that is
 * reached without it, and the deviation `up` of what is added; down² + up² = next². Song et al. 2021, eq. 16, divided by √ᾱ.
 */
export function ancestral({ sigma, next }: Pick<Levels, 'sigma' | 'next'>, eta: number): { readonly down: Tensor; readonly up: Tensor } {
  const fresh = sub(1, next.div(sigma).square()).mul(eta ** 2);
  return { down: next.mul(sub(1, fresh).sqrt()), up: next.mul(fresh.sqrt()) };
}

/** The sampler's numbers of this step by name. Errors: a runner that does not feed them. */
export function numbersOf(sampler: string, { numbers }: Levels): (name: string) => Tensor {
  return (name) => {
    const found = numbers?.[name];
    if (!found) throw new Error(`internal: the runner does not feed ${name} to the sampler ${sampler}`);
    return found;
  };
}

/** The numbers of step i on the way through `levels` to `end`; none where the sampler has none. */
export const numbersAt = ({ numbers }: Sampler, levels: readonly number[], i: number, end = 0): Readonly<Record<string, number>> =>
  numbers?.([...levels, end], i) ?? {};
