/** @file Pooling and enlarging of images on TensorFlow.js. Padding is made before, so that its kernels see whole windows only. */
import type { Pair } from '../graph/ops/resize.ts';
import { type Kernel, type Kernels, reshaped, type Sizes } from './tfjs-kernel.ts';
import type { Tf, Value } from './tfjs-library.ts';

interface Pool {
  readonly from: Pair;
  readonly to: Pair;
  readonly kernel: Pair;
  readonly stride: Pair;
  readonly padding: Pair;
  readonly countPadding: boolean;
}
type Image = import('@tensorflow/tfjs-core').Tensor4D;
/** The lowest finite float32. */
const LOWEST = -3.4028234663852886e38;

/** x [n,c,h,w] with channels last and `value` around it as far as the windows reach. */
function framed(tf: Tf, x: Value, { from, to, kernel, stride, padding }: Pool, value: number): Image {
  const after = [0, 1].map((a) => Math.max((to[a]! - 1) * stride[a]! + kernel[a]! - from[a]! - padding[a]!, 0)) as [number, number];
  return tf.pad(
    tf.transpose(x, [0, 2, 3, 1]),
    [
      [0, 0],
      [padding[0], after[0]],
      [padding[1], after[1]],
      [0, 0],
    ],
    value,
  ) as Image;
}
/** The pooled image, cut to the windows that were asked for, with channels first. */
function pooled(tf: Tf, y: Image, { to }: Pool): Value {
  const [n, , , c] = y.shape;
  return tf.transpose(tf.slice(y, [0, 0, 0, 0], [n, to[0], to[1], c]), [0, 3, 1, 2]);
}

/** How many positions of the image window i covers along an axis. */
const covered = ({ from, kernel, stride, padding }: Pool, a: 0 | 1, i: number): number =>
  Math.min(i * stride[a] - padding[a] + kernel[a], from[a]) - Math.max(i * stride[a] - padding[a], 0);

const averagePool: Kernel<Pool> = ([x], { tf, attrs }) => {
  const { kernel, stride, to, countPadding } = attrs;
  const mean = pooled(tf, tf.avgPool(framed(tf, x!, attrs, 0), kernel as [number, number], stride as [number, number], 'valid'), attrs);
  if (countPadding) return mean;
  const weight = Float32Array.from({ length: to[0] * to[1] }, (_, i) => {
    const [row, column] = [Math.floor(i / to[1]), i % to[1]];
    return (kernel[0] * kernel[1]) / (covered(attrs, 0, row) * covered(attrs, 1, column));
  });
  return tf.mul(mean, tf.tensor(weight, [1, 1, to[0], to[1]], 'float32'));
};

/** A window with a NaN in it gives NaN, which the kernel may look past. */
const maxPool: Kernel<Pool> = ([x], { tf, attrs }) => {
  const most = (image: Value, around: number): Value =>
    pooled(
      tf,
      tf.maxPool(framed(tf, image, attrs, around), attrs.kernel as [number, number], attrs.stride as [number, number], 'valid'),
      attrs,
    );
  const top = most(x!, LOWEST);
  const strange = most(tf.cast(tf.isNaN(x!), 'float32'), 0);
  return tf.where(tf.greater(strange, 0), tf.fill(top.shape, Number.NaN), top);
};

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

const upsampleNearest: Kernel<Factor> = ([x], { tf, attrs: { factor }, out: [shape] }) => {
  const [rows, w] = [x!.size / x!.shape[3]!, x!.shape[3]!];
  const ones = tf.fill([1, factor[0], 1, factor[1]], 1, x!.dtype as 'float32');
  return reshaped(tf, tf.mul(reshaped(tf, x!, [rows, 1, w, 1]), ones), shape!);
};

export const poolKernels = { averagePool, maxPool, blockMean, upsampleNearest } satisfies Kernels;
