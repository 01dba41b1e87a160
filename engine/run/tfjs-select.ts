/** @file Values picked by indices on TensorFlow.js, and sums into picked places. Indices are looked at here: its kernels read beyond the end. */
import { around, type Kernel, type Kernels, reshaped, sizeOf } from './tfjs-kernel.ts';
import type { Tf, Value } from './tfjs-library.ts';

interface Along {
  readonly axis: number;
}
interface Into extends Along {
  readonly size: number;
}

/** The indices, all of which lie in [0, size). */
function positions(where: string, index: Value, size: number): Int32Array {
  const found = index.dataSync() as Int32Array;
  const wrong = found.find((v) => !(v >= 0 && v < size));
  if (wrong !== undefined) throw new RangeError(`${where}: index ${wrong} is not in [0, ${size - 1}]`);
  return found;
}
const whole = (tf: Tf, values: Int32Array, shape: readonly number[] = [values.length]): Value =>
  tf.tensor(values, shape as number[], 'int32');
/** Zeros [size, width] into which rows [n, width] are added. */
const added = (tf: Tf, rows: Value, places: Int32Array, size: number): Value =>
  tf.scatterND(whole(tf, places, [places.length, 1]), rows, [size, rows.shape[1]!]);

const gather: Kernel<Along> = ([x, index], { tf, attrs: { axis }, out: [shape] }) => {
  const picked = positions('gather', index!, x!.shape[axis]!);
  return reshaped(tf, tf.gather(around(tf, x!, axis), whole(tf, picked), 1), shape!);
};

const scatterAdd: Kernel<Into & { readonly rank: number }> = ([y, index], { tf, attrs: { axis, size, rank }, out: [shape] }) => {
  const places = positions('scatterAdd', index!, size);
  const rows = around(tf, y!, axis, rank); // [outer, K, inner]
  const [outer, k, inner] = rows.shape as [number, number, number];
  const first = reshaped(tf, tf.transpose(rows, [1, 0, 2]), [k, outer * inner]);
  const sums = reshaped(tf, added(tf, first, places, size), [size, outer, inner]);
  return reshaped(tf, tf.transpose(sums, [1, 0, 2]), shape!);
};

/** In flat data with `size` places along the axis, where each value of an index of this shape points to. */
function places(where: string, index: Value, axis: number, size: number): Int32Array {
  const inner = sizeOf(index.shape.slice(axis + 1));
  const n = index.shape[axis]!;
  return positions(where, index, size).map((v, i) => (Math.floor(i / (inner * n)) * size + v) * inner + (i % inner));
}

const gatherElements: Kernel<Along> = ([x, index], { tf, attrs: { axis }, out: [shape] }) => {
  const from = places('gatherElements', index!, axis, x!.shape[axis]!);
  return reshaped(tf, tf.gather(reshaped(tf, x!, [x!.size]), whole(tf, from)), shape!);
};

const scatterAddElements: Kernel<Into> = ([y, index], { tf, attrs: { axis, size }, out: [shape] }) => {
  const to = places('scatterAddElements', index!, axis, size);
  return reshaped(tf, added(tf, reshaped(tf, y!, [y!.size, 1]), to, sizeOf(shape!)), shape!);
};

export const selectKernels = { gather, scatterAdd, gatherElements, scatterAddElements } satisfies Kernels;
