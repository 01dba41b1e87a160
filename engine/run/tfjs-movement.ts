/** @file Moving values on TensorFlow.js: everything along one axis is done on [outer, n, inner], where its kernels are fast and their ranks suffice. */
import { around, expanded, type Kernel, type Kernels, pieces, reshaped, runs, type Sizes, transposed } from './tfjs-kernel.ts';
import type { Tf, Value } from './tfjs-library.ts';

/** Part of the middle axis of x [outer, n, inner]. */
const rows = (tf: Tf, x: Value, from: number, count: number): Value =>
  count === x.shape[1] ? x : tf.slice(x, [0, from, 0], [x.shape[0]!, count, x.shape[2]!]);
/** x [outer, n, inner] with zeros around its middle axis. */
const padded = (tf: Tf, x: Value, before: number, after: number): Value =>
  before === 0 && after === 0
    ? x
    : tf.pad(x, [
        [0, 0],
        [before, after],
        [0, 0],
      ]);

/** Every `step`-th of the middle axis of x [outer, n, inner], `count` of them: the first of each run. */
export function strided(tf: Tf, x: Value, start: number, count: number, step: number): Value {
  if (step === 1) return rows(tf, x, start, count);
  const [outer, size, inner] = x.shape as [number, number, number];
  const there = Math.min(count * step, size - start);
  const whole = padded(tf, rows(tf, x, start, there), 0, count * step - there);
  const apart = reshaped(tf, whole, [outer * count, step, inner]);
  return reshaped(tf, rows(tf, apart, 0, 1), [outer, count, inner]);
}

/** The middle axis of x [outer, n, inner] with zeros between and around, `size` long: the adjoint of `strided`. */
export function spread(tf: Tf, x: Value, start: number, step: number, size: number): Value {
  const [outer, count, inner] = x.shape as [number, number, number];
  if (step === 1) return padded(tf, x, start, size - start - count);
  const apart = padded(tf, reshaped(tf, x, [outer * count, 1, inner]), 0, step - 1);
  const wide = reshaped(tf, apart, [outer, count * step, inner]);
  const room = size - start;
  return room < count * step ? padded(tf, rows(tf, wide, 0, room), start, 0) : padded(tf, wide, start, room - count * step);
}

interface Range {
  readonly axis: number;
  readonly start: number;
  readonly step: number;
}
const slice: Kernel<Range> = ([x], { tf, attrs: { axis, start, step }, out: [shape] }) =>
  reshaped(tf, strided(tf, around(tf, x!, axis), start, shape![axis]!, step), shape!);
const place: Kernel<Range & { readonly size: number }> = ([x], { tf, attrs: { axis, start, step, size }, out: [shape] }) =>
  reshaped(tf, spread(tf, around(tf, x!, axis), start, step, size), shape!);

const concat: Kernel<{ readonly axis: number }> = (inputs, { tf, attrs: { axis }, out: [shape] }) =>
  reshaped(
    tf,
    tf.concat(
      inputs.map((x) => around(tf, x, axis)),
      1,
    ),
    shape!,
  );

/** The middle axis of x [outer, n, inner] backwards. The kernel for this goes value by value. */
export function backwards(tf: Tf, x: Value): Value {
  const [outer, n, inner] = x.shape as [number, number, number];
  const lines = pieces(tf, tf.transpose(x, [1, 0, 2]), Array<Sizes>(n).fill([1, outer, inner]));
  return tf.transpose(tf.concat(lines.toReversed(), 0), [1, 0, 2]);
}
/** Neighbouring axes turn as one. */
const flip: Kernel<{ readonly axes: readonly number[] }> = ([x], { tf, attrs: { axes }, out: [shape] }) => {
  const turning = runs(shape!.map((_, axis) => axes.includes(axis))).filter(([from]) => axes.includes(from));
  return turning.reduce((y, [from, to]) => reshaped(tf, backwards(tf, around(tf, y, from, to - from)), shape!), x!);
};

const unpack: Kernel<{ readonly shapes: readonly Sizes[] }> = ([x], { tf, attrs: { shapes } }) => pieces(tf, x!, shapes);

export const movementKernels = {
  reshape: ([x], { tf, out: [shape] }) => reshaped(tf, x!, shape!),
  transpose: (([x], { tf, attrs: { perm } }) => transposed(tf, x!, perm)) satisfies Kernel<{ readonly perm: readonly number[] }>,
  expand: ([x], { tf, out: [shape] }) => expanded(tf, x!, shape!),
  slice,
  place,
  concat,
  flip,
  unpack,
} satisfies Kernels;
