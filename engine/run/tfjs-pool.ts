/** @file Pooling and enlarging of images on TensorFlow.js. Windows are sums or maxima of shifted images: its own pooling loses NaN. */
import type { Pair } from '../graph/ops/resize.ts';
import { extreme } from './tfjs-elementwise.ts';
import { type Kernel, type Kernels, reshaped, type Sizes } from './tfjs-kernel.ts';
import type { Tf, Value } from './tfjs-library.ts';
import { strided } from './tfjs-movement.ts';

interface Pool {
  readonly from: Pair;
  readonly to: Pair;
  readonly kernel: Pair;
  readonly stride: Pair;
  readonly padding: Pair;
  readonly countPadding: boolean;
}

/** What a window of x [n,c,h,w] gives when its values are joined two at a time: rows first, then columns. `edge` is what lies around the image. */
function overWindows(tf: Tf, x: Value, { from, to, kernel, stride, padding }: Pool, edge: number, join: Join): Value {
  const along = (image: Value, a: 0 | 1): Value => {
    const reach = Math.max((to[a] - 1) * stride[a] + kernel[a] - from[a] - padding[a], 0);
    const lines = tf.pad(
      image,
      [
        [0, 0],
        [padding[a], reach],
        [0, 0],
      ],
      edge,
    );
    return Array.from({ length: kernel[a] }, (_, k) => strided(tf, lines, k, to[a], stride[a])).reduce((sofar, next) =>
      join(tf, sofar, next),
    );
  };
  const planes = x.size / (from[0] * from[1]);
  const tall = along(reshaped(tf, x, [planes, from[0], from[1]]), 0);
  return reshaped(tf, along(reshaped(tf, tall, [planes * to[0], from[1], 1]), 1), [x.shape[0]!, x.shape[1]!, ...to]);
}
type Join = (tf: Tf, a: Value, b: Value) => Value;

/** How many positions of the image window i covers along an axis. */
const covered = ({ from, kernel, stride, padding }: Pool, a: 0 | 1, i: number): number =>
  Math.min(i * stride[a] - padding[a] + kernel[a], from[a]) - Math.max(i * stride[a] - padding[a], 0);

const averagePool: Kernel<Pool> = ([x], { tf, attrs }) => {
  const { kernel, to, countPadding } = attrs;
  const sums = overWindows(tf, x!, attrs, 0, (_, a, b) => tf.add(a, b));
  if (countPadding) return tf.mul(sums, 1 / (kernel[0] * kernel[1]));
  const weights = Float32Array.from(
    { length: to[0] * to[1] },
    (_, i) => 1 / (covered(attrs, 0, Math.floor(i / to[1])) * covered(attrs, 1, i % to[1])),
  );
  return tf.mul(sums, tf.tensor(weights, [1, 1, to[0], to[1]], 'float32'));
};

const maxPool: Kernel<Pool> = ([x], { tf, attrs }) =>
  overWindows(
    tf,
    x!,
    attrs,
    Number.NEGATIVE_INFINITY,
    extreme((_, a, b) => tf.maximum(a, b)),
  );

interface Factor {
  readonly factor: Pair;
}
const blockMean: Kernel<Factor> = ([x], { tf, attrs: { factor }, out: [shape] }) => {
  const [, , h, w] = shape as Sizes as [number, number, number, number];
  const lines = x!.size / (h * factor[0] * w * factor[1]);
  const across = tf.sum(reshaped(tf, x!, [lines * h * factor[0] * w, factor[1]]), 1);
  const down = tf.sum(reshaped(tf, across, [lines * h, factor[0], w]), 1);
  return reshaped(tf, tf.mul(down, 1 / (factor[0] * factor[1])), shape!);
};

/** Columns are repeated by a product of matrices, rows by one with ones: kernels that repeat single values take ten times as long. */
const upsampleNearest: Kernel<Factor> = ([x], { tf, attrs: { factor }, out: [shape] }) => {
  const [tall, wide] = factor;
  const rows = x!.size / x!.shape[3]!;
  const across = wide === 1 ? x! : tf.matMul(reshaped(tf, x!, [x!.size, 1]), tf.ones([1, wide]));
  const lines = reshaped(tf, across, [rows, 1, x!.shape[3]! * wide]);
  return reshaped(tf, tall === 1 ? lines : tf.mul(lines, tf.ones([1, tall, 1])), shape!);
};

export const poolKernels = { averagePool, maxPool, blockMean, upsampleNearest } satisfies Kernels;
