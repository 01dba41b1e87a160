/**
 * @file Convolutions on TensorFlow.js. Its convolution wants channels last; both gradients are convolutions again, because WebAssembly has a fast kernel
 * for nothing else: the input's with the filter turned round, the filter's with the cotangent as a filter and samples as channels.
 */
import type { ConvAttrs, FilterAttrs, Pair } from '../graph/ops/conv-filter.ts';
import { around, type Kernel, type Kernels, reshaped } from './tfjs-kernel.ts';
import type { Tf, Value } from './tfjs-library.ts';
import { backwards, spread, strided } from './tfjs-movement.ts';

type Pads = ConvAttrs['padding'];
type Image = import('@tensorflow/tfjs-core').Tensor4D;

const transpose = (tf: Tf, x: Value, perm: readonly number[]): Image => tf.transpose(x, perm as number[]) as Image;
const lastChannels = (tf: Tf, x: Value): Image => transpose(tf, x, [0, 2, 3, 1]);
const firstChannels = (tf: Tf, x: Value): Value => transpose(tf, x, [0, 3, 1, 2]);

/** x [n,h,w,c] with zeros around, or cut where a number is negative. */
function framed(tf: Tf, x: Image, pads: Pads): Image {
  const [n, h, w, c] = x.shape;
  const [up, left, down, right] = pads.map((v) => Math.max(-v, 0)) as [number, number, number, number];
  const cut = Math.min(...pads) < 0 ? tf.slice(x, [0, up, left, 0], [n, h - up - down, w - left - right, c]) : x;
  const [t, l, b, r] = pads.map((v) => Math.max(v, 0)) as [number, number, number, number];
  if (Math.max(...pads) <= 0) return cut;
  return tf.pad(cut, [
    [0, 0],
    [t, b],
    [l, r],
    [0, 0],
  ]);
}

/** Every so many rows and columns of x [n,h,w,c], from the first. */
function thinned(tf: Tf, x: Image, [down, across]: Pair): Image {
  const [n, h, w, c] = x.shape;
  const [rows, columns] = [Math.ceil(h / down), Math.ceil(w / across)];
  const tall = strided(tf, reshaped(tf, x, [n, h, w * c]), 0, rows, down); // [n, rows, w·c]
  const wide = strided(tf, reshaped(tf, tall, [n * rows, w, c]), 0, columns, across);
  return reshaped(tf, wide, [n, rows, columns, c]) as Image;
}

/** Cross-correlation of x [n,h,w,c] and a filter [kh,kw,c,o]. The kernel has a stride or a dilation, not both. */
function correlated(tf: Tf, x: Image, filter: Image, stride: Pair, dilation: Pair, pads: Pads): Image {
  const image = framed(tf, x, pads);
  const both = Math.max(...stride) > 1 && Math.max(...dilation) > 1;
  const y = tf.conv2d(image, filter, both ? 1 : (stride as [number, number]), 'valid', 'NHWC', dilation as [number, number]);
  return both ? thinned(tf, y, stride) : y;
}

/** Channels of x [n,c,h,w] from `first`. */
const channels = (tf: Tf, x: Value, first: number, count: number): Value =>
  tf.slice(x, [0, first, 0, 0], [x.shape[0]!, count, x.shape[2]!, x.shape[3]!]);
const filters = (tf: Tf, w: Value, first: number, count: number): Value =>
  tf.slice(w, [first, 0, 0, 0], [count, w.shape[1]!, w.shape[2]!, w.shape[3]!]);

/** x [n,c,h,w] by w [o,c/groups,kh,kw], both with channels first. */
function convolved(tf: Tf, x: Value, w: Value, { stride, dilation, padding, groups }: ConvAttrs): Value {
  const one = (image: Value, filter: Value): Value =>
    firstChannels(tf, correlated(tf, lastChannels(tf, image), transpose(tf, filter, [2, 3, 1, 0]), stride, dilation, padding));
  if (groups === 1) return one(x, w);
  const [o, c] = [w.shape[0]! / groups, w.shape[1]!];
  const parts = Array.from({ length: groups }, (_, g) => one(channels(tf, x, g * c, c), filters(tf, w, g * o, o)));
  return tf.concat(parts, 1);
}

const conv2d: Kernel<ConvAttrs> = ([x, w, bias], { tf, attrs }) => {
  const y = convolved(tf, x!, w!, attrs);
  return bias ? tf.add(y, reshaped(tf, bias, [1, bias.size, 1, 1])) : y;
};

/** y [n,o,h,w] with zeros between rows and columns. */
function stretched(tf: Tf, y: Value, [down, across]: Pair): Value {
  const [n, o, h, w] = y.shape as [number, number, number, number];
  const tall = (h - 1) * down + 1;
  const wide = (w - 1) * across + 1;
  const rows = spread(tf, reshaped(tf, y, [n * o, h, w]), 0, down, tall);
  return reshaped(tf, spread(tf, reshaped(tf, rows, [n * o * tall, w, 1]), 0, across, wide), [n, o, tall, wide]);
}

/** w [o,c/g,kh,kw] turned by 180° with inputs and outputs of every group exchanged: [c,o/g,kh,kw]. */
function turned(tf: Tf, w: Value, groups: number): Value {
  const [o, c, kh, kw] = w.shape as [number, number, number, number];
  const round = kh * kw === 1 ? w : backwards(tf, around(tf, w, 2, 2));
  const apart = reshaped(tf, round, [groups, o / groups, c, kh * kw]);
  return reshaped(tf, tf.transpose(apart, [0, 2, 1, 3]), [groups * c, o / groups, kh, kw]);
}

const convInputGradient: Kernel<ConvAttrs & { readonly size: Pair }> = ([y, w], { tf, attrs }) => {
  const { stride, padding, dilation, groups, size } = attrs;
  const kernel = w!.shape.slice(2);
  const before = [0, 1].map((i) => dilation[i]! * (kernel[i]! - 1) - padding[i]!);
  const after = [0, 1].map((i) => size[i]! - 1 + padding[i]! - (y!.shape[i + 2]! - 1) * stride[i]!);
  const image = Math.max(...stride) > 1 ? stretched(tf, y!, stride) : y!;
  const pads = [...before, ...after] as unknown as Pads;
  return convolved(tf, image, turned(tf, w!, groups), { stride: [1, 1], dilation, padding: pads, groups });
};

/** The filter's gradient: strides and dilations change places. */
const convFilterGradient: Kernel<FilterAttrs> = ([x, y], { tf, attrs: { stride, dilation, padding, groups, kernel } }) => {
  const [c, o] = [x!.shape[1]! / groups, y!.shape[1]! / groups];
  const [top, left, bottom, right] = padding;
  const parts = Array.from({ length: groups }, (_, g) => {
    const [image, cotangent] = groups === 1 ? [x!, y!] : [channels(tf, x!, g * c, c), channels(tf, y!, g * o, o)];
    const samples = transpose(tf, image, [1, 2, 3, 0]); // [C, H, W, N]
    const taps = transpose(tf, cotangent, [2, 3, 0, 1]); // [H', W', N, O]
    const wide = correlated(tf, samples, taps, dilation, stride, [top, left, bottom, right]); // rows left over by the stride give more than kh, kw
    const whole = wide.shape[1] === kernel[0] && wide.shape[2] === kernel[1];
    return transpose(tf, whole ? wide : tf.slice(wide, [0, 0, 0, 0], [c, kernel[0], kernel[1], o]), [3, 0, 1, 2]);
  });
  return groups === 1 ? parts[0]! : tf.concat(parts, 0);
};

export const convKernels = { conv2d, convInputGradient, convFilterGradient } satisfies Kernels;
