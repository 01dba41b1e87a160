/**
 * @file Layers that keep the magnitude of activations: weights are normalised, sums and concatenations weighed, so that unit variance in is unit variance
 * out. Karras et al. 2024, arXiv:2312.02696; equation numbers are that paper's.
 */
import { conv2d } from '../engine/graph/ops/conv.ts';
import { add, cos, div, mul, silu, sub } from '../engine/graph/ops/elementwise.ts';
import { linear } from '../engine/graph/ops/linalg.ts';
import { concat, reshape } from '../engine/graph/ops/movement.ts';
import { norm } from '../engine/graph/ops/reduce.ts';
import { fixed, type Tensor } from '../engine/graph/tensor.ts';
import type { Scope } from '../engine/train/network.ts';
import type { Weights } from '../engine/train/weights.ts';

const EPS = 1e-4;
const countOver = (shape: Tensor['shape'], axes: readonly number[]): number =>
  axes.reduce((n, axis) => n * fixed('normalise', shape[axis]), 1);

/** Vectors along `axes` with a root mean square of 1, but for a small constant in the divisor (eq. 30 and 67). */
export const normalise = (x: Tensor, axes: readonly number[]): Tensor =>
  div(x, add(mul(norm(x, axes), 1 / Math.sqrt(countOver(x.shape, axes))), EPS));

/** The same over all axes but the first. */
const normaliseRows = (w: Tensor): Tensor =>
  normalise(
    w,
    w.shape.slice(1).map((_, i) => i + 1),
  );

/** SiLU over the root mean square that it has for a unit normal input (eq. 81). */
export const mpSilu = (x: Tensor): Tensor => mul(silu(x), 1 / 0.596);

/** (1 − t)·a + t·b at unit variance for independent a and b of unit variance (eq. 88). */
export const mpSum = (a: Tensor, b: Tensor, t: number): Tensor => mul(add(a, mul(sub(b, a), t)), 1 / Math.hypot(1 - t, t));

/** Channels of a and b side by side, as much of either in the result as t says, however many they are (eq. 103). */
export function mpConcat(a: Tensor, b: Tensor, t: number): Tensor {
  const [na, nb] = [fixed('mpConcat', a.shape[1]), fixed('mpConcat', b.shape[1])];
  const scale = Math.sqrt(na + nb) / Math.hypot(1 - t, t);
  return concat([mul(a, (scale * (1 - t)) / Math.sqrt(na)), mul(b, (scale * t) / Math.sqrt(nb))], 1);
}

/** A filter NAME.weight of unit rows, over the root of the inputs of each output (eq. 47). `gain` is learned or absent. */
export function mpWeight(scope: Scope, name: string, shape: readonly number[], gain?: Tensor): Tensor {
  const inputs = shape.slice(1).reduce((n, d) => n * d, 1);
  const w = mul(normaliseRows(scope(`${name}.weight`, shape, { kind: 'normal', std: 1 })), 1 / Math.sqrt(inputs));
  return gain ? mul(w, gain) : w;
}

/** x [N, in] → [N, out]. */
export const mpLinear = (scope: Scope, name: string, x: Tensor, out: number, gain?: Tensor): Tensor =>
  linear(x, mpWeight(scope, name, [out, fixed('mpLinear', x.shape[1])], gain));

/** A convolution without bias that keeps the size. */
export const mpConv = (scope: Scope, name: string, x: Tensor, out: number, kernel: number, gain?: Tensor): Tensor =>
  conv2d(x, mpWeight(scope, name, [out, fixed('mpConv', x.shape[1]), kernel, kernel], gain), { padding: kernel >> 1 });

/** [N] or [1] → [N, width]: √2·cos of random frequencies and phases, NAME.freqs and NAME.phases (eq. 75). */
export function mpFourier(scope: Scope, name: string, x: Tensor, width: number): Tensor {
  const frequencies = scope.buffer(`${name}.freqs`, [width], { kind: 'normal', std: 2 * Math.PI });
  const phases = scope.buffer(`${name}.phases`, [width], { kind: 'uniform', bound: Math.PI });
  return mul(cos(add(mul(reshape(x, [x.shape[0]!, 1]), frequencies), phases)), Math.SQRT2);
}

/**
 * Forced weight normalisation (eq. 66): training replaces every filter by its normalised self after each step, so that its magnitude, which has no effect,
 * cannot grow and shrink the effective learning rate. Gains (scalars) and buffers stay.
 */
export function forcedNormalisation(weights: Weights): Weights {
  return new Map(
    [...weights].map(([name, { shape, data }]) => {
      if (!name.endsWith('.weight') || shape.length < 2) return [name, { shape, data }];
      const each = data.length / shape[0]!;
      const out = new Float32Array(data.length);
      for (let row = 0; row < shape[0]!; row++) {
        const values = data.subarray(row * each, (row + 1) * each);
        const rms = Math.sqrt(values.reduce((s, v) => s + v * v, 0) / each);
        for (let i = 0; i < each; i++) out[row * each + i] = values[i]! / (rms + EPS);
      }
      return [name, { shape, data: out }];
    }),
  );
}
