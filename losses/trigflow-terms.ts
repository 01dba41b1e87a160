/**
 * @file Consistency in continuous time, in TrigFlow's terms and the levels of our denoisers. TrigFlow lives on x̂ = cos t x0 + sin t σd ε,
 * which is our x times cos t, with tan t = σ/σd. Its network F is EDM's with the sign turned: D = cos t x̂ − sin t σd F.
 * Lu and Song 2025, arXiv:2410.11081.
 */
import '../engine/graph/fluent.ts';
import { rsqrt } from '../engine/graph/ops/elementwise.ts';
import { norm } from '../engine/graph/ops/reduce.ts';
import { sizeOf, type Tensor } from '../engine/graph/tensor.ts';
import type { Moment } from '../engine/train/loss.ts';
import type { Condition, Network } from '../engine/train/network.ts';
import { alongTrajectory, type Derivative, type Point } from './flow-terms.ts';

/** Cosine and sine of TrigFlow's time at a level. */
export function trigOf(sigma: Tensor, sigmaData: number): { readonly cos: Tensor; readonly sin: Tensor } {
  const scale = rsqrt(sigma.square().add(sigmaData ** 2));
  return { cos: scale.mul(sigmaData), sin: sigma.mul(scale) };
}

/** dx̂/dt of a trajectory at a point: (cos t x̂ − towards)/sin t. For the clean sample itself this is cos t z − sin t x0. */
export function trigVelocity({ x, sigma, towards }: Point, sigmaData: number): Tensor {
  const { cos, sin } = trigOf(sigma, sigmaData);
  return x.mul(cos.square()).sub(towards).div(sin);
}

export interface TangentOptions {
  readonly sigmaData: number;
  readonly derivative: Derivative;
}
/** F with its gradient, the denoised sample without, and cos t sin t dF/dt along the trajectory. */
export interface Moving {
  readonly output: Tensor;
  readonly denoised: Tensor;
  readonly slope: Tensor;
}
/**
 * The student at a point. Its F is made of the clean sample that it says, so that a student may be parametrised in any way, as noise or as a flow; what
 * EDM's networks say themselves is −F. cos t sin t d/dt is d/d ln σ, so that nothing large is ever divided out.
 */
export function movingOutput({ denoise }: Network, point: Point, condition: Condition, { derivative, sigmaData }: TangentOptions): Moving {
  const said = (x: Tensor, sigma: Tensor): Tensor =>
    trigVelocity({ x, sigma, towards: denoise(x, sigma, condition) }, sigmaData).div(sigmaData);
  const { value, slope } = alongTrajectory(said, point, derivative);
  return { output: value, slope, denoised: denoise(point.x.stop(), point.sigma.stop(), condition).stop() };
}

/**
 * cos t df/dt = −cos² t (σd F − dx̂/dt) − r cos t sin t (x̂ + σd dF/dt), where r brings the second part in. Its first part is
 * cos² t (D − towards)/sin t. Algorithm 1 of the paper.
 */
export function tangentOf({ denoised, slope }: Moving, { x, sigma, towards }: Point, share: Tensor, sigmaData: number): Tensor {
  const { cos, sin } = trigOf(sigma, sigmaData);
  const first = denoised.sub(towards).mul(cos.square()).div(sin);
  const second = x.mul(cos.square().mul(sin)).add(slope.mul(sigmaData));
  return first.sub(second.mul(share)).stop();
}

export type Taming = 'norm' | 'rms' | 'clip' | 'none';
/** Keeps tangents small: g/(‖g‖ + c), the same with the root mean square (whatever the size of a sample), or clipped to ±1. */
export function tamed(tangent: Tensor, way: Taming, constant: number): Tensor {
  if (way === 'none') return tangent;
  if (way === 'clip') return tangent.clamp(-1, 1);
  const axes = tangent.shape.map((_, i) => i).slice(1);
  const size = norm(tangent, axes).mul(way === 'rms' ? 1 / Math.sqrt(sizeOf(tangent.shape.slice(1))) : 1);
  return tangent.div(size.add(constant));
}

/** ‖F − sg(F) − g‖²/size per sample, [N,1,…]: its gradient in F is −2g/size. */
export const towardsTangent = (output: Tensor, tangent: Tensor): Tensor =>
  output.sub(output.stop()).sub(tangent.stop()).square().meanPerSample();

/** Mean of w e^(−v) l + v, with the learned log-variance v of each level [N,1]. Eq. 8, with v = −w_φ. */
export function adaptively(perSample: Tensor, weight: Tensor | null, logVariance: Tensor | null): Tensor {
  const each = (weight ? perSample.mul(weight) : perSample).reshape([-1, 1]);
  return (logVariance ? each.mul(logVariance.neg().exp()).add(logVariance) : each).mean();
}

interface ConsistencyOptions extends TangentOptions {
  readonly taming: Taming;
  readonly tamingConstant: number;
}
/** ‖F − sg(F) − g‖²/size of each sample [N,1,…] along a trajectory, and the tangent g before it is tamed. `share` brings in its second part. */
export function consistencyError(student: Network, point: Point, condition: Condition, share: Tensor, o: ConsistencyOptions) {
  const moving = movingOutput(student, point, condition, o);
  const tangent = tangentOf(moving, point, share, o.sigmaData);
  return { error: towardsTangent(moving.output, tamed(tangent, o.taming, o.tamingConstant)), tangent };
}

/** How far the tangent's second part is brought in. */
export const tangentShare = ({ step, steps }: Moment, { tangentWarmup }: { readonly tangentWarmup: number }): number =>
  tangentWarmup === 0 ? 1 : Math.min(1, step / (tangentWarmup * steps));
