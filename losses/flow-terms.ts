/**
 * @file Terms of methods that differentiate along a trajectory, and rectified flow in the levels of our denoisers.
 * A flow lives on (1 − t) x0 + t ε, which is our x = x0 + σ ε divided by 1 + σ, with t = σ/(1 + σ) and logit t = ln σ.
 * All of it needs only the clean sample D that a denoiser says: the velocity is what D holds of noise, less what it holds of the sample.
 */
import '../engine/graph/fluent.ts';
import { jvp } from '../engine/graph/gradients.ts';
import { less, maximum, pow, reciprocal, where } from '../engine/graph/ops/elementwise.ts';
import { exact } from '../engine/graph/precision.ts';
import type { Tensor } from '../engine/graph/tensor.ts';
import type { Draw } from '../engine/train/loss.ts';
import { perSample } from '../engine/train/network.ts';

/** The flow's time t in [0, 1) of a level. */
export const flowTime = (sigma: Tensor): Tensor => sigma.div(sigma.add(1));
export const flowTimeOf = (sigma: number): number => sigma / (1 + sigma);
/** The level of a flow's time. */
export const flowLevel = (t: Tensor): Tensor => t.div(t.neg().add(1));

/** What makes d/dt of d/d ln σ: (1 + σ)²/σ. */
export const flowRate = (sigma: Tensor): Tensor => sigma.add(1).square().div(sigma);

/** The flow's velocity ε − x0 where the clean sample is said to be D: (x − D)/σ − D. */
export const flowVelocity = (x: Tensor, denoised: Tensor, sigma: Tensor): Tensor => x.sub(denoised).div(sigma).sub(denoised);

/** A point of a trajectory; `towards` is the clean sample that it heads for there: dx/dσ = (x − towards)/σ. */
export interface Point {
  readonly x: Tensor;
  /** [N,1,…]. */
  readonly sigma: Tensor;
  readonly towards: Tensor;
}
export type Derivative = 'exact' | 'difference';
/** Half the distance of a central difference, in ln σ. */
const STEP = 1e-3;

/** f at a point, and df/d ln σ along the trajectory without its gradient. */
export function alongTrajectory(
  f: (x: Tensor, sigma: Tensor) => Tensor,
  point: Point,
  derivative: Derivative = 'exact',
): { readonly value: Tensor; readonly slope: Tensor } {
  // x is made of σ: stopped, the two are independent arguments.
  const [x, sigma, towards] = [point.x.stop(), point.sigma.stop(), point.towards.stop()];
  const value = f(x, sigma);
  const velocity = x.sub(towards); // dx/d ln σ
  if (derivative === 'exact') return { value, slope: exact(jvp(value, [x, sigma], [velocity, sigma]), value).stop() };
  const at = (h: number): Tensor => f(x.add(velocity.mul(h)), sigma.mul(1 + h)).stop();
  return {
    value,
    slope: at(STEP)
      .sub(at(-STEP))
      .div(2 * STEP),
  };
}

/** Log-normal levels of which a share is replaced by the level at which the student is called. */
export function startOrLogNormal(
  draw: Draw,
  data: Tensor,
  o: { readonly levelMean: number; readonly levelStd: number; readonly startShare: number; readonly studentLevel: number },
): Tensor {
  const sigma = draw.normal('level', perSample(data)).mul(o.levelStd).add(o.levelMean).exp();
  return o.startShare === 0 ? sigma : where(less(draw.uniform('start', perSample(data)), o.startShare), o.studentLevel, sigma);
}

/**
 * The target of a mean velocity u from t down to r, v − (t − r) du/dt, of its slope du/d ln σ. For r = 0 the velocity that belongs to a
 * transport by −t u is u + t du/dt. Geng et al. 2025, arXiv:2505.13447, eq. 6.
 */
export function meanVelocityTarget({ x, sigma, towards }: Point, lower: Tensor | 0, slope: Tensor): Tensor {
  const gap = lower === 0 ? flowTime(sigma) : flowTime(sigma).sub(flowTime(lower));
  return flowVelocity(x, towards, sigma)
    .sub(slope.mul(gap.mul(flowRate(sigma))))
    .stop();
}

/** Σ Δ² per sample with the weight 1/(Σ Δ² + c)^p, or 1/(√Σ Δ² + c)^p, under stop-gradient, averaged over the batch. */
export function softSquares(
  difference: Tensor,
  power: number,
  constant: number,
  weighting: 'square' | 'norm',
): { readonly loss: Tensor; readonly squares: Tensor } {
  const squares = difference.square().sumPerSample();
  const size = weighting === 'square' ? squares : squares.sqrt();
  const weight = pow(size.add(constant), -power).stop();
  return { loss: squares.mul(weight).mean(), squares };
}

/**
 * The recursive consistency target of F(x_t, t, r): F − clamp(F c_l − I c_r − v, ±1), where I is the way from t − step to r, c_l = (t − r)/step
 * and c_r = 1/step. Where r is nearer than a step, nothing is left of the way, and the target is the velocity. Cheng et al. 2025.
 */
export function recursiveTarget(said: Tensor, way: Tensor, velocity: Tensor, t: Tensor, lower: Tensor, step: number): Tensor {
  const gap = t.sub(lower);
  const near = less(gap, step);
  const left = where(near, 1, gap.div(step));
  const right = where(near, reciprocal(maximum(gap, 1e-6)), 1 / step);
  return said.sub(said.mul(left).sub(way.mul(right)).sub(velocity).clamp(-1, 1)).stop();
}

/** The direction in which the velocity of a sample is corrected: that of the samples' flow less that of the data's, clamped to ±1. */
export const twinDirection = (fake: Tensor, real: Tensor): Tensor => fake.sub(real).clamp(-1, 1).stop();
