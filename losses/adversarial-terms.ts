/** @file Terms of discriminators on the hidden maps of a network that denoises, and when their gradient is penalised: pure functions. */
import '../engine/graph/fluent.ts';
import { gradients } from '../engine/graph/gradients.ts';
import { relu } from '../engine/graph/ops/elementwise.ts';
import type { Tensor } from '../engine/graph/tensor.ts';
import type { Condition, Network } from '../engine/train/network.ts';
import { options, real, type Values, whole } from '../engine/train/options.ts';

/**
 * Hidden maps of a network at a noised sample. One that has none, such as an exact denoiser, shows its denoised sample as the bottleneck: nothing
 * is lost by that, since E[x0 | x_t] is the gradient of a strictly convex function of x_t, and so different at different places.
 */
export function hiddenMaps({ predict }: Network, xt: Tensor, sigma: Tensor, condition: Condition): Readonly<Record<string, Tensor>> {
  const { features, denoised } = predict(xt, sigma, condition);
  return Object.keys(features).length > 0 ? features : { bottleneck: denoised };
}

/** Hinge loss of a discriminator: mean max(0, 1 − real) + mean max(0, 1 + fake). */
export const hingeDiscriminatorLoss = (real: Tensor, fake: Tensor): Tensor =>
  relu(real.neg().add(1))
    .mean()
    .add(relu(fake.add(1)).mean());
/** What a generator minimises against it: −mean fake. */
export const hingeGeneratorLoss = (fake: Tensor): Tensor => fake.mean().neg();

/** R1: mean over samples of ‖∇_x Σ D(x)‖², to be differentiated again. Mescheder et al. 2018, arXiv:1801.04406, without γ/2. */
export const gradientPenalty = (logits: Tensor, x: Tensor): Tensor => gradients(logits.sum(), [x])[0]!.square().sumPerSample().mean();

/** A discriminator's loss with its logits of real and of generated samples. */
export interface Judged {
  readonly loss: Tensor;
  readonly real: Tensor;
  readonly fake: Tensor;
}
/** Of the lazy penalty R1, which joins one step in so many; it weighs `r1` unless told otherwise. */
export const penaltyOptions = (r1: number) =>
  options({
    r1: real(r1, 'weight of the gradient penalty R1; half of it times the squared gradient is added', { min: 0 }),
    r1Every: whole(4, 'steps from one penalty to the next; it weighs as much more', { min: 1 }),
  });
type PenaltyOptions = Values<ReturnType<typeof penaltyOptions>>;

export const penalised = (step: number, { r1, r1Every }: PenaltyOptions): boolean => r1 > 0 && step % r1Every === 0;
export const unpenalised = (step: number, o: PenaltyOptions): boolean => !penalised(step, o);

/** What is logged of a discriminator on steps without penalty. */
export const withoutPenalty = ({ loss, real, fake }: Judged) => ({ loss, real: real.mean(), fake: fake.mean() });
/** The same with the penalty on real samples. */
export function withPenalty({ loss: gan, real, fake }: Judged, data: Tensor, { r1, r1Every }: PenaltyOptions) {
  const penalty = gradientPenalty(real, data);
  return { loss: gan.add(penalty.mul((r1 / 2) * r1Every)), gan, penalty, real: real.mean(), fake: fake.mean() };
}
