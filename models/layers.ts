/** @file Layers that several networks share: parameters by PyTorch's names and layouts, arithmetic as a function of a scope. */

import { type ConvOptions, conv2d as convolve, convTranspose2d } from '../engine/graph/ops/conv.ts';
import { add, cos, mul, silu, sin } from '../engine/graph/ops/elementwise.ts';
import { constant } from '../engine/graph/ops/leaf.ts';
import { linear as product } from '../engine/graph/ops/linalg.ts';
import { concat, expand, reshape } from '../engine/graph/ops/movement.ts';
import { groupNorm as normalise } from '../engine/graph/ops/normalize.ts';
import { averagePool } from '../engine/graph/ops/pool.ts';
import { upsampleNearest } from '../engine/graph/ops/resize.ts';
import { fixed, type Tensor } from '../engine/graph/tensor.ts';
import { type Condition, type Init, type Scope, within } from '../engine/train/network.ts';

export { silu };

/** U(−√(6/(fan_in + fan_out)), …) times `gain`. Glorot and Bengio 2010. */
export const xavier = (fanIn: number, fanOut: number, gain = 1): Init => ({
  kind: 'uniform',
  bound: gain * Math.sqrt(6 / (fanIn + fanOut)),
});
export const zeros: Init = { kind: 'constant', value: 0 };
export const ones: Init = { kind: 'constant', value: 1 };

/** NAME.weight [out, in] and, unless `bias` is false, NAME.bias [out]. x [N, in]. */
export function linear(scope: Scope, name: string, x: Tensor, out: number, { gain = 1, bias = true } = {}): Tensor {
  const inside = fixed('linear', x.shape.at(-1));
  const weight = scope(`${name}.weight`, [out, inside], xavier(inside, out, gain));
  return product(x, weight, bias ? scope(`${name}.bias`, [out], zeros) : undefined);
}

/** NAME.weight [out, in/groups, k, k] and NAME.bias [out]. Padding keeps the size unless given. */
export function conv(
  scope: Scope,
  name: string,
  x: Tensor,
  out: number,
  kernel: number,
  options: Omit<ConvOptions, 'bias'> & { gain?: number } = {},
): Tensor {
  const { gain = 1, ...rest } = options;
  const inside = fixed('conv', x.shape[1]) / (rest.groups ?? 1);
  const area = kernel * kernel;
  const weight = scope(`${name}.weight`, [out, inside, kernel, kernel], xavier(inside * area, out * area, gain));
  return convolve(x, weight, { padding: Math.floor(kernel / 2), ...rest, bias: scope(`${name}.bias`, [out], zeros) });
}

/** NAME.weight and NAME.bias [C]. */
export function groupNorm(scope: Scope, name: string, x: Tensor, groups: number, eps: number): Tensor {
  const c = fixed('groupNorm', x.shape[1]);
  return normalise(x, scope(`${name}.weight`, [c], ones), scope(`${name}.bias`, [c], zeros), groups, eps);
}

/** The outer product of a 1-D filter with itself, of sum 1: [1,1,n,n]. */
export function outerFilter(taps: readonly number[]): Init {
  const total = taps.reduce((s, v) => s + v, 0) ** 2;
  return { kind: 'values', values: Float32Array.from(taps.flatMap((a) => taps.map((b) => (a * b) / total))) };
}

/** Halves or doubles height and width with a separable filter. The box [1,1] is average pooling and repetition. */
export function resample(scope: Scope, name: string, x: Tensor, taps: readonly number[], way: 'down' | 'up'): Tensor {
  const n = taps.length;
  const filter = scope.buffer(`${name}.resample_filter`, [1, 1, n, n], outerFilter(taps));
  if (n === 2 && taps[0] === taps[1]) return way === 'down' ? averagePool(x, { kernel: 2 }) : upsampleNearest(x, 2);
  const c = fixed('resample', x.shape[1]);
  const each = tile(filter, c, way === 'up' ? 4 : 1);
  const padding = Math.floor((n - 1) / 2);
  return way === 'down'
    ? convolve(x, each, { stride: 2, padding, groups: c })
    : convTranspose2d(x, each, { stride: 2, padding, groups: c });
}
/** One filter for every channel: [1,1,n,n] → [c,1,n,n]. */
export const tile = (filter: Tensor, c: number, gain: number): Tensor => expand(mul(filter, gain), [c, ...filter.shape.slice(1)]);

export { within };

/** A number [N] or [N,1,…] as features [N, 9]: itself, and sines and cosines of 1, 2, 4 and 8 times it. Smooth, so that tangents through it stay tame. */
export function numberFeatures(value: Tensor): Tensor {
  const column = reshape(value, [value.shape[0] ?? 1, 1]);
  const angles = mul(column, constant(Float64Array.of(1, 2, 4, 8), [1, 4]));
  return concat([column, sin(angles), cos(angles)], 1);
}

/** What a network of `width` values is told of the numbers in its condition: [N, width], zero at first. Missing numbers add nothing. `told.NAME.weight` [width, 9]. */
export function told(scope: Scope, condition: Condition, scalars: readonly string[] = [], width: number): Tensor | null {
  const parts = scalars.flatMap((name) => {
    const weight = scope(`told.${name}.weight`, [width, NUMBER_FEATURES], zeros);
    const value = condition[name];
    return value ? [product(numberFeatures(value), weight)] : [];
  });
  return parts.length > 0 ? parts.reduce(add) : null;
}
const NUMBER_FEATURES = 9;
