/** @file Terms that several methods share: pure functions of tensors. */
import '../engine/graph/fluent.ts';
import { floor, softplus } from '../engine/graph/ops/elementwise.ts';
import { constant } from '../engine/graph/ops/leaf.ts';
import type { Tensor } from '../engine/graph/tensor.ts';
import type { Draw } from '../engine/train/loss.ts';
import type { Condition, Network } from '../engine/train/network.ts';
import { OptionError } from '../engine/train/options.ts';
import type { NoiseSchedule } from '../engine/train/schedule.ts';

/** x_t = x_0 + σ ε. */
export const addNoise = (x0: Tensor, sigma: Tensor, eps: Tensor): Tensor => x0.add(sigma.mul(eps));

/** Mean squared difference over everything: []. */
export const mse = (a: Tensor, b: Tensor): Tensor => a.sub(b).square().mean();

/** A scalar whose gradient in x is `direction` / size(x), whatever `direction` depends on: ½ mean (x − sg(x − direction))². */
export const pullAlong = (x: Tensor, direction: Tensor): Tensor => x.sub(x.sub(direction).stop()).square().mean().mul(0.5);

/** Mean of w·(D − x0)² with a weight per sample. */
export const weightedSquares = (denoised: Tensor, x0: Tensor, weight: Tensor): Tensor => denoised.sub(x0).square().mul(weight).mean();

/** EDM's loss weight λ(σ) = (σ² + σ_d²) / (σ σ_d)² = 1/σ² + 1/σ_d². Karras et al. 2022, table 1. */
export const edmWeight = (sigma: Tensor, sigmaData: number): Tensor =>
  sigma
    .square()
    .add(sigmaData ** 2)
    .div(sigma.mul(sigmaData).square());

/**
 * The direction of distribution matching on x: (μ_fake − μ_real) / mean|x − μ_real| per sample.
 * The guard keeps it finite where a sample equals its teacher. Yin et al. 2024, arXiv:2311.18828, eq. 7 and 8.
 */
export const matchingDirection = (x: Tensor, real: Tensor, fake: Tensor, guard: number): Tensor =>
  fake.sub(real).div(x.sub(real).abs().meanPerSample().add(guard));

/** −log D on generated logits: mean softplus(−logit). */
export const generatorLoss = (fake: Tensor): Tensor => softplus(fake.neg()).mean();
/** Logistic discriminator loss: mean softplus(fake) + mean softplus(−real). */
export const discriminatorLoss = (real: Tensor, fake: Tensor): Tensor => softplus(fake).mean().add(softplus(real.neg()).mean());

/** Indices of levels: of n counted from the lowest, those from ⌊from·n⌋ to ⌊to·n⌋, both included. DMD and DMD2 use 0.02 to 0.98. Errors: from above to. */
export function indexRange(n: number, from: number, to: number): { readonly low: number; readonly count: number } {
  if (from > to) throw new OptionError(`levels: the lowest fraction ${from} is above the highest, ${to}`);
  const low = Math.min(Math.floor(from * n), n - 1);
  return { low, count: Math.min(Math.floor(to * n), n - 1) - low + 1 };
}

/** The level of a uniformly drawn index of the range, u in [0, 1), among the schedule's n levels. */
export function indexedLevel(schedule: NoiseSchedule, u: Tensor, n: number, from = 0, to = 1): Tensor {
  const { low, count } = indexRange(n, from, to);
  return schedule.quantile(
    floor(u.mul(count))
      .add(low)
      .div(n - 1),
  );
}

/** Samples of a student with what they are conditioned on. */
export interface Generated {
  readonly x: Tensor;
  readonly condition: Condition;
}
interface OneStepScene {
  readonly nets: { readonly student: Network };
  readonly data: Tensor;
  readonly draw: Draw;
  readonly options: { readonly studentLevel: number };
}
/** What a student makes of unit noise in one step. */
export const called = (
  { nets, options: { studentLevel } }: Pick<OneStepScene, 'nets' | 'options'>,
  z: Tensor,
  condition: Condition,
): Tensor => nets.student.denoise(z.mul(studentLevel), constant(studentLevel), condition);

/**
 * Samples of a student in one step. All phases of a step see the same samples, unless they follow each other and name themselves:
 * then each draws its own.
 */
export function oneStep(scene: OneStepScene, phase?: string): Generated {
  const { data, draw } = scene;
  const condition = draw.condition(phase === undefined ? 'generated' : `${phase} condition`);
  const z = draw.normal(phase === undefined ? 'z' : `${phase} z`, data);
  return { x: called(scene, z, condition), condition };
}
