/** @file The tiny networks of the reference values of consistency methods, and what their tests share. */
import '../../engine/graph/fluent.ts';
import { conv2d } from '../../engine/graph/ops/conv.ts';
import { silu } from '../../engine/graph/ops/elementwise.ts';
import { constant } from '../../engine/graph/ops/leaf.ts';
import { linear } from '../../engine/graph/ops/linalg.ts';
import { erf64 } from '../../engine/graph/ops/special.ts';
import type { Tensor } from '../../engine/graph/tensor.ts';
import { type Network, networkOf, type Scope, within } from '../../engine/train/network.ts';
import { edmPrecondition } from '../../models/precondition.ts';

const WIDTH = 6;
/** Images [2,4,4]. s = ln(σ)/4; e = silu(time s [+ label]); h = silu(conv_in(c_in x) + e); F = conv_out(h), preconditioned as EDM. */
export const twoChannels =
  (classes: number) =>
  (outer: Scope): Network => {
    const scope = within(outer, 'model.');
    return edmPrecondition(
      (x, noise, { label }) => {
        const time = linear(noise.reshape([-1, 1]), scope('time.weight', [WIDTH, 1]), scope('time.bias', [WIDTH])); // [N or 1, 6]
        const labelled = classes > 0 ? scope('label.weight', [WIDTH, classes]) : null;
        const e = silu(label && labelled ? time.add(linear(label, labelled)) : time).reshape([-1, WIDTH, 1, 1]);
        const conv = (name: string, from: Tensor, out: number, inside: number): Tensor =>
          conv2d(from, scope(`${name}.weight`, [out, inside, 3, 3]), { bias: scope(`${name}.bias`, [out]), padding: 1 });
        const h = silu(conv('conv_in', x, WIDTH, 2).add(e));
        return { output: conv('conv_out', h, 2, WIDTH), features: { bottleneck: h } };
      },
      { sigmaData: 0.5 },
    );
  };

/** The uniform draws that lead to given levels of a log-normal law cut off to a range. */
export function lognormalDraws(levels: ArrayLike<number>, { mean = -1.1, std = 2, low = 0.002, high = 80 } = {}): Float64Array {
  const cdf = (level: number): number => 0.5 * (1 + erf64((Math.log(level) - mean) / (std * Math.SQRT2)));
  return Float64Array.from(levels, (level) => (cdf(level) - cdf(low)) / (cdf(high) - cdf(low)));
}

/** A network whose output inside EDM's preconditioning is w x, so that a consistency function of it is (c_skip + c_out w) x. */
export const proportional = (scope: Scope): Network =>
  networkOf((x, sigma) => {
    const total = sigma.square().add(0.25);
    const out = sigma.mul(0.5).div(total.sqrt());
    return x.mul(
      constant(0.25)
        .div(total)
        .add(out.mul(scope('w', [1]))),
    );
  });
/** What that consistency function multiplies x by. Song et al. 2023, appendix C. */
export const factorAt = (w: number, sigma: number, sigmaMin = 0.002, sigmaData = 0.5): number =>
  sigmaData ** 2 / ((sigma - sigmaMin) ** 2 + sigmaData ** 2) + (w * (sigma - sigmaMin) * sigmaData) / Math.hypot(sigma, sigmaData);
/** The same with its slope in w. */
export const slopeAt = (sigma: number, sigmaMin = 0.002, sigmaData = 0.5): number =>
  ((sigma - sigmaMin) * sigmaData) / Math.hypot(sigma, sigmaData);
