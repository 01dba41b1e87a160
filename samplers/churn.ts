/** @file Churn: noise that is added before a step and raises its level, so that later steps can mend what earlier ones did wrong. Karras et al. 2022, algorithm 2. */
import '../engine/graph/fluent.ts';
import { and, div, greaterOrEqual, lessOrEqual, minimum, where } from '../engine/graph/ops/elementwise.ts';
import type { Tensor } from '../engine/graph/tensor.ts';
import type { Draw } from '../engine/train/loss.ts';
import { options, real, type Values } from '../engine/train/options.ts';
import type { Levels } from '../engine/train/sampler.ts';

export const churnOptions = options({
  churn: real(0, 'Noise added over the whole trajectory (S_churn); 0 is deterministic', { min: 0 }),
  churnMin: real(0, 'Lowest level at which noise is added (S_min)', { min: 0 }),
  churnMax: real(1e6, 'Highest level at which noise is added (S_max)', { min: 0 }),
  noiseScale: real(1, 'Standard deviation of the added noise (S_noise)', { min: 0 }),
});
export type Churn = Values<typeof churnOptions>;

/** Adds noise, which raises the level from σ to σ̂ = σ + γσ. Lines 4 to 6. @returns x̂ and σ̂ */
export function stir(
  x: Tensor,
  { sigma, steps }: Levels,
  draw: Draw,
  { churn, churnMin, churnMax, noiseScale }: Churn,
): readonly [Tensor, Tensor] {
  if (churn === 0) return [x, sigma];
  const inside = and(greaterOrEqual(sigma, churnMin), lessOrEqual(sigma, churnMax));
  const gamma = where(inside, minimum(div(churn, steps), Math.SQRT2 - 1), 0);
  const added = sigma.mul(gamma.mul(gamma.add(2)).sqrt()); // √(σ̂² − σ²), without cancellation
  return [x.add(draw.normal('churn', x).mul(added.mul(noiseScale))), sigma.mul(gamma.add(1))];
}
