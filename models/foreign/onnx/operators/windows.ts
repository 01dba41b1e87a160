/** @file Windows of convolutions and pooling: kernels, strides, dilations and the paddings that files ask for by name. One axis or two. */
import { reshape } from '../../../../engine/graph/ops/movement.ts';
import { fixed, type Tensor } from '../../../../engine/graph/tensor.ts';
import type { NodeView } from '../node.ts';

export type Pair = readonly [number, number];
export interface Windows {
  readonly kernel: Pair;
  readonly stride: Pair;
  readonly dilation: Pair;
  /** Top, left, bottom, right. */
  readonly padding: readonly [number, number, number, number];
  /** Size of the input. */
  readonly from: Pair;
}

/** [N,C,L] as [N,C,1,L]; [N,C,H,W] as it is. Errors: more or fewer axes. */
export function asImage(n: NodeView, x: Tensor): Tensor {
  if (x.shape.length === 4) return x;
  if (x.shape.length !== 3) return n.fail(`input [${x.shape.join(',')}] has ${x.shape.length - 2} spatial axes; 1 and 2 are supported`);
  return reshape(x, [x.shape[0]!, x.shape[1]!, 1, x.shape[2]!]);
}
export const likeInput = (x: Tensor, y: Tensor): Tensor => (x.shape.length === 4 ? y : reshape(y, [y.shape[0]!, y.shape[1]!, y.shape[3]!]));

/** Lists of the attribute, for two axes. */
export function pairOf(n: NodeView, name: string, missing: number, rank: number): Pair {
  const given = n.attr.ints(name) ?? [];
  const list = given.length === 0 ? Array<number>(rank).fill(missing) : given;
  if (list.length !== rank || !list.every((v) => Number.isInteger(v) && v >= (name === 'output_padding' ? 0 : 1) && v <= 2 ** 20))
    n.fail(`its ${name} is [${list.slice(0, 8).join(',')}]; it must be ${rank} positive numbers`);
  return (rank === 1 ? [missing, list[0]] : list) as unknown as Pair;
}

/** Padding before and after, of one axis, so that the output has ⌈size/stride⌉ values. */
function same(size: number, k: number, stride: number, dilation: number, upper: boolean): Pair {
  const total = Math.max((Math.ceil(size / stride) - 1) * stride + dilation * (k - 1) + 1 - size, 0);
  const less = Math.floor(total / 2);
  return upper ? [less, total - less] : [total - less, less];
}

/** @param kernel of the weights; pooling has it as an attribute */
export function windowsOf(n: NodeView, x: Tensor, kernel?: Pair): Windows {
  const rank = x.shape.length - 2;
  const image = asImage(n, x);
  const from: Pair = [fixed('height', image.shape[2]), fixed('width', image.shape[3])];
  const k = kernel ?? pairOf(n, 'kernel_shape', 1, rank);
  const stride = pairOf(n, 'strides', 1, rank);
  const dilation = pairOf(n, 'dilations', 1, rank);
  return { kernel: k, stride, dilation, from, padding: paddingOf(n, rank, { kernel: k, stride, dilation, from }) };
}

function paddingOf(n: NodeView, rank: number, { kernel, stride, dilation, from }: Omit<Windows, 'padding'>): Windows['padding'] {
  const auto = n.attr.string('auto_pad', 'NOTSET');
  if (auto === 'SAME_UPPER' || auto === 'SAME_LOWER') {
    const [h, w] = [0, 1].map((a) => same(from[a]!, kernel[a]!, stride[a]!, dilation[a]!, auto === 'SAME_UPPER')) as [Pair, Pair];
    return [h[0], w[0], h[1], w[1]];
  }
  if (auto === 'VALID') return [0, 0, 0, 0];
  if (auto !== 'NOTSET' && auto !== '') return n.fail(`its auto_pad is ${auto}; it must be NOTSET, SAME_UPPER, SAME_LOWER or VALID`);
  const pads = n.attr.ints('pads') ?? Array<number>(2 * rank).fill(0);
  if (pads.length !== 2 * rank || !pads.every((p) => Number.isInteger(p) && p >= 0 && p <= 2 ** 20))
    n.fail(`its pads are [${pads.slice(0, 8).join(',')}]; they must be ${2 * rank} numbers from 0`);
  return rank === 1 ? [0, pads[0]!, 0, pads[1]!] : (pads as unknown as Windows['padding']);
}
