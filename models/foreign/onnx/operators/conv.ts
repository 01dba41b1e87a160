/** @file ONNX convolutions, over one axis or two. */

import { conv2d, convTranspose2d } from '../../../../engine/graph/ops/conv.ts';
import { add } from '../../../../engine/graph/ops/elementwise.ts';
import { pad, reshape } from '../../../../engine/graph/ops/movement.ts';
import { fixed, type Tensor } from '../../../../engine/graph/tensor.ts';
import type { NodeView, Operators } from '../node.ts';
import { asImage, likeInput, type Pair, pairOf, type Windows, windowsOf } from './windows.ts';

const kernelOf = (w: Tensor): Pair => [fixed('kernel', w.shape[2]), fixed('kernel', w.shape[3])];

function conv(n: NodeView): Tensor {
  const x = n.x(0);
  const w = asImage(n, n.x(1));
  const { stride, dilation, padding } = windowsOf(n, x, kernelOf(w));
  const options = { stride, dilation, padding, groups: n.attr.int('group', 1), bias: n.maybe(2) };
  return likeInput(x, conv2d(asImage(n, x), w, options));
}

/** What a transposed convolution cuts off at both ends: given, or what makes its output as large as is asked for. */
function cropping(n: NodeView, { kernel, stride, dilation, padding, from }: Windows, extra: Pair, rank: number): Windows['padding'] {
  const auto = n.attr.string('auto_pad', 'NOTSET');
  const asked = n.attr.ints('output_shape');
  const sized = asked ?? (auto.startsWith('SAME') ? from.slice(2 - rank).map((v, i) => v * stride[i + 2 - rank]!) : undefined);
  if (!sized) return padding;
  const sizes = rank === 1 ? [1, sized.at(-1)!] : sized.slice(-2);
  const totals = [0, 1].map((a) => stride[a]! * (from[a]! - 1) + extra[a]! + (kernel[a]! - 1) * dilation[a]! + 1 - sizes[a]!);
  const small = totals.map((t) => Math.floor(t / 2));
  const large = totals.map((t, a) => t - small[a]!);
  const [before, after] = auto === 'SAME_UPPER' ? [small, large] : [large, small];
  return [before[0]!, before[1]!, after[0]!, after[1]!];
}

function convTranspose(n: NodeView): Tensor {
  const x = n.x(0);
  const w = asImage(n, n.x(1));
  const rank = x.shape.length - 2;
  const windows = windowsOf(n, x, kernelOf(w));
  const extra = n.attr.has('output_padding') ? pairOf(n, 'output_padding', 0, rank) : ([0, 0] as const);
  const crop = cropping(n, windows, extra, rank);
  // A negative crop is rows that no input reaches.
  const grown = crop.map((v) => Math.max(-v, 0));
  const { stride, dilation } = windows;
  const padding = crop.map((v) => Math.max(v, 0)) as unknown as Windows['padding'];
  const y = convTranspose2d(asImage(n, x), w, { stride, dilation, padding, groups: n.attr.int('group', 1), outputPadding: extra });
  const full = pad(pad(y, 2, grown[0]!, grown[2]!), 3, grown[1]!, grown[3]!);
  const bias = n.maybe(2);
  return likeInput(x, bias ? add(full, reshape(bias, [1, -1, 1, 1])) : full);
}

export const conv1d2d: Operators = {
  Conv: { build: conv, gradient: 'yes', limits: '1-D and 2-D' },
  ConvTranspose: { build: convTranspose, gradient: 'yes', limits: '1-D and 2-D' },
};
