/** @file Sums, largest values, products of matrices and normalisations on TensorFlow.js. */
import { around, expanded, isNative, type Kernel, type Kernels, pieces, reshaped, runs, type Sizes, sizeOf } from './tfjs-kernel.ts';
import type { Tf, Value } from './tfjs-library.ts';

interface Axes {
  readonly axes: readonly number[];
}
/** x with neighbouring axes folded that are reduced, or kept, together; and the places of those that are reduced. */
function folded(tf: Tf, x: Value, axes: readonly number[]): readonly [Value, number[]] {
  const parts = runs(x.shape.map((_, axis) => axes.includes(axis)));
  const shape = parts.map(([from, to]) => sizeOf(x.shape.slice(from, to)));
  return [reshaped(tf, x, shape), parts.flatMap(([from], i) => (axes.includes(from) ? [i] : []))];
}

const reduceSum: Kernel<Axes> = ([x], { tf, attrs, out: [shape] }) => {
  const [y, axes] = folded(tf, x!, attrs.axes);
  return reshaped(tf, tf.sum(y, axes), shape!);
};
/** Kernels look past a NaN that is not the first value. */
const reduceMax: Kernel<Axes> = ([x], { tf, attrs, out: [shape] }) => {
  const [y, axes] = folded(tf, x!, attrs.axes);
  const top = tf.max(y, axes);
  if (y.dtype !== 'float32') return reshaped(tf, top, shape!);
  const strange = tf.sum(tf.cast(tf.isNaN(y), 'float32'), axes);
  return reshaped(tf, tf.where(tf.greater(strange, 0), tf.fill(top.shape, Number.NaN), top), shape!);
};

/** x as [rows, n] with the axis last, and back. */
function lastAxis(tf: Tf, x: Value, axis: number, f: (rows: Value) => Value): Value {
  const y = around(tf, x, axis); // [outer, n, inner]
  const [outer, n, inner] = y.shape as [number, number, number];
  if (inner === 1) return reshaped(tf, f(reshaped(tf, y, [outer, n])), x.shape);
  const turned = tf.transpose(y, [0, 2, 1]);
  const back = reshaped(tf, f(reshaped(tf, turned, [outer * inner, n])), [outer, inner, n]);
  return reshaped(tf, tf.transpose(back, [0, 2, 1]), x.shape);
}
const softmax: Kernel<{ readonly axis: number }> = ([x], { tf, attrs: { axis } }) => lastAxis(tf, x!, axis, (rows) => tf.softmax(rows));
const cumsum: Kernel<{ readonly axis: number; readonly reverse: boolean }> = ([x], { tf, attrs: { axis, reverse } }) =>
  lastAxis(tf, x!, axis, (rows) => tf.cumsum(rows, 1, false, reverse));

/** Multiplications from which a pair of matrices is worth a call of its own: WebAssembly multiplies many pairs at a sixth of the speed of one. */
const LARGE_PRODUCT = 32 ** 3;

/** A single right factor takes all rows of the left one at once, a single left factor all columns. */
const matmul: Kernel = ([a, b], { tf, out: [shape] }) => {
  const [m, n] = shape!.slice(-2) as [number, number];
  const k = a!.shape.at(-1)!;
  const outer = shape!.slice(0, -2);
  const batch = sizeOf(outer);
  if (b!.size === k * n) return reshaped(tf, tf.matMul(reshaped(tf, a!, [-1, k]), reshaped(tf, b!, [k, n])), shape!);
  const right = reshaped(tf, expanded(tf, b!, [...outer, k, n]), [batch, k, n]);
  if (a!.size === m * k) {
    const columns = reshaped(tf, tf.transpose(right, [1, 0, 2]), [k, batch * n]);
    const product = tf.matMul(reshaped(tf, a!, [m, k]), columns);
    return reshaped(tf, tf.transpose(reshaped(tf, product, [m, batch, n]), [1, 0, 2]), shape!);
  }
  const left = reshaped(tf, expanded(tf, a!, [...outer, m, k]), [batch, m, k]);
  if (isNative(tf) || m * k * n < LARGE_PRODUCT) return reshaped(tf, tf.matMul(left, right), shape!);
  const [lefts, rights] = [pieces(tf, left, Array<Sizes>(batch).fill([m, k])), pieces(tf, right, Array<Sizes>(batch).fill([k, n]))];
  return reshaped(
    tf,
    tf.concat(
      lefts.map((one, i) => tf.matMul(one, rights[i]!)),
      0,
    ),
    shape!,
  );
};

interface Statistics {
  readonly hat: Value;
  readonly mean: Value;
  readonly rstd: Value;
}
/** x [rows, n] with mean 0 and variance 1 in every row, and what it took. */
function standardised(tf: Tf, x: Value, eps: number): Statistics {
  const share = 1 / x.shape[1]!;
  const mean = tf.mul(tf.sum(x, 1, true), share);
  const centred = tf.sub(x, mean);
  const variance = tf.mul(tf.sum(tf.mul(centred, centred), 1, true), share);
  const rstd = tf.div(1, tf.sqrt(tf.add(variance, eps)));
  return { hat: tf.mul(centred, rstd), mean, rstd };
}

const groupNorm: Kernel<{ readonly groups: number; readonly eps: number }> = ([x, gamma, beta], { tf, attrs: { groups, eps }, out }) => {
  const [shape, statistics] = out as [Sizes, Sizes];
  const [n, c] = shape as readonly [number, number];
  const { hat, mean, rstd } = standardised(tf, reshaped(tf, x!, [n * groups, x!.size / (n * groups)]), eps);
  const channel = (t: Value): Value => reshaped(tf, t, [1, c, 1]);
  const y = tf.add(tf.mul(reshaped(tf, hat, [n, c, x!.size / (n * c)]), channel(gamma!)), channel(beta!));
  return [reshaped(tf, y, shape), reshaped(tf, mean, statistics), reshaped(tf, rstd, statistics)];
};

const layerNormalize: Kernel<{ readonly eps: number }> = ([x, gamma, beta], { tf, attrs: { eps }, out }) => {
  const [shape, statistics] = out as [Sizes, Sizes];
  const { hat, mean, rstd } = standardised(tf, reshaped(tf, x!, [-1, shape.at(-1)!]), eps);
  const scaled = tf.mul(hat, gamma!);
  return [reshaped(tf, beta ? tf.add(scaled, beta) : scaled, shape), reshaped(tf, mean, statistics), reshaped(tf, rstd, statistics)];
};

/** Rows of the last axis. */
const flat = (tf: Tf, x: Value): Value => reshaped(tf, x, [-1, x.shape.at(-1)!]);
const rowAffine: Kernel = ([x, a, b], { tf, out: [shape] }) =>
  reshaped(tf, tf.add(tf.mul(flat(tf, x!), flat(tf, a!)), flat(tf, b!)), shape!);
const rowDot: Kernel = ([a, b], { tf, out: [shape] }) => reshaped(tf, tf.sum(tf.mul(flat(tf, a!), flat(tf, b!)), 1), shape!);

export const reduceKernels = {
  reduceSum,
  reduceMax,
  softmax,
  cumsum,
  matmul,
  groupNorm,
  layerNormalize,
  rowAffine,
  rowDot,
} satisfies Kernels;
