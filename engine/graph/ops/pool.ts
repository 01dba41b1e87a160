/**
 * @file Pooling of images [N,C,H,W]: the mean or the largest value of windows that may overlap, be padded and reach over the edge. Both are one ONNX
 * operator; their gradients are those of a composition of slices and of products with constant matrices, and so have any order.
 */
import { gradients } from '../gradients.ts';
import { apply, type Dim, fixed, type Op, ShapeError, show, type Tensor, type TensorType } from '../tensor.ts';
import { add, maximum } from './elementwise.ts';
import { constant } from './leaf.ts';
import { pad, slice } from './movement.ts';
import { blockMean, type Pair, separable, type Taps } from './resize.ts';

export interface PoolOptions {
  readonly kernel: number | Pair;
  /** Default: the kernel. */
  readonly stride?: number | Pair;
  /** On all sides, or [vertical, horizontal]; at most half the kernel. */
  readonly padding?: number | Pair;
  /** Whether a window that reaches over the lower or right edge counts: PyTorch's `ceil_mode`. One that would begin outside never does. */
  readonly partial?: boolean;
}
export interface AveragePoolOptions extends PoolOptions {
  /** Whether positions of the padding count as zeros, or not at all. Default true. */
  readonly countPadding?: boolean;
}
interface Pool {
  readonly from: Pair;
  readonly to: Pair;
  readonly kernel: Pair;
  readonly stride: Pair;
  readonly padding: Pair;
  readonly countPadding: boolean;
}
const pair = (v: number | Pair): Pair => (typeof v === 'number' ? [v, v] : v);

/** Windows along an axis. PyTorch, `pooling_output_shape`. */
function windows(size: number, kernel: number, stride: number, padding: number, partial: boolean): number {
  const last = (size + 2 * padding - kernel) / stride;
  if (!partial) return Math.floor(last) + 1;
  const count = Math.ceil(last) + 1;
  return (count - 1) * stride >= size + padding ? count - 1 : count;
}

function poolOf(where: string, x: Tensor, options: AveragePoolOptions): Pool {
  if (x.shape.length !== 4) throw new ShapeError(`${where}: needs [N,C,H,W], got ${show(x)}`);
  const from: Pair = [fixed(where, x.shape[2]), fixed(where, x.shape[3])];
  const kernel = pair(options.kernel);
  const stride = pair(options.stride ?? kernel);
  const padding = pair(options.padding ?? 0);
  const along = (a: 0 | 1): number => windows(from[a], kernel[a], stride[a], padding[a], options.partial ?? false);
  const to: Pair = [along(0), along(1)];
  const whole =
    [...kernel, ...stride, ...to].every((v) => Number.isInteger(v) && v >= 1) && padding.every((p, a) => p >= 0 && 2 * p <= kernel[a]!);
  if (!whole) {
    throw new ShapeError(
      `${where}: kernel [${kernel.join(',')}], stride [${stride.join(',')}], padding [${padding.join(',')}] do not fit ${show(x)}`,
    );
  }
  return { from, to, kernel, stride, padding, countPadding: options.countPadding ?? true };
}

/** Positions of the image that window i covers. */
function covered({ from, kernel, stride, padding }: Pool, a: 0 | 1, i: number): readonly number[] {
  const first = i * stride[a] - padding[a];
  return [...Array(kernel[a]).keys()].map((k) => first + k).filter((j) => j >= 0 && j < from[a]);
}
/** What window i is divided by along an axis: its part within the image, or within image and padding. */
function share(p: Pool, a: 0 | 1, i: number): number {
  const first = i * p.stride[a] - p.padding[a];
  return p.countPadding ? Math.min(first + p.kernel[a], p.from[a] + p.padding[a]) - first : covered(p, a, i).length;
}

const out = ([x]: readonly TensorType[], { to }: Pool): readonly TensorType[] => [
  { shape: [x!.shape[0] as Dim, x!.shape[1] as Dim, ...to], dtype: x!.dtype },
];
/** Padding that makes exactly `to` windows. Below and right it may differ from that above and left. */
const pads = ({ from, to, kernel, stride, padding }: Pool): readonly number[] => [
  ...padding,
  ...[0, 1].map((a) => Math.max((to[a]! - 1) * stride[a]! + kernel[a]! - from[a]! - padding[a]!, 0)),
];

/** Runs `of` on the values of each window, in reading order. */
function overWindows(data: Float64Array, p: Pool, of: (values: readonly number[], i: number, j: number) => number): Float64Array {
  const [[h, w], [rows, columns]] = [p.from, p.to];
  const planes = h * w === 0 ? 0 : data.length / (h * w);
  const y = new Float64Array(planes * rows * columns);
  for (let plane = 0; plane < planes; plane++)
    for (let i = 0; i < rows; i++)
      for (let j = 0; j < columns; j++) {
        const values = covered(p, 0, i).flatMap((r) => covered(p, 1, j).map((c) => data[(plane * h + r) * w + c]!));
        y[(plane * rows + i) * columns + j] = of(values, i, j);
      }
  return y;
}

const averagePoolOp: Op<Pool> = {
  name: 'averagePool',
  infer: out,
  vjp: ({ inputs: [x], attrs }, [dy]) => gradients(averaged(x!, attrs), [x!], dy!),
  onnx: ({ attrs }, [x], emit) => [
    emit.node('AveragePool', [x!], {
      kernel_shape: attrs.kernel,
      strides: attrs.stride,
      pads: pads(attrs),
      count_include_pad: attrs.countPadding ? 1 : 0,
    }),
  ],
  reference: ([x], { attrs }) => [
    overWindows(x!.data, attrs, (values, i, j) => values.reduce((a, b) => a + b, 0) / (share(attrs, 0, i) * share(attrs, 1, j))),
  ],
};

/** The same as products with one matrix per axis. */
function averaged(x: Tensor, p: Pool): Tensor {
  const taps =
    (a: 0 | 1): Taps =>
    (i) =>
      covered(p, a, i).map((j): Pair => [j, 1 / share(p, a, i)]);
  return separable(x, p.from, p.to, taps(0), taps(1));
}

/**
 * Mean over windows. Positions of the padding count as zeros, unless `countPadding` is false: then they do not count. Windows that reach over the edge
 * are dropped, or with `partial` divided by their part within image and padding.
 */
export function averagePool(x: Tensor, options: AveragePoolOptions): Tensor {
  const p = poolOf('averagePool', x, options);
  const { from, to, kernel, stride, padding } = p;
  const inside = to.every((n, a) => (n - 1) * stride[a]! + kernel[a]! <= from[a]! + 2 * padding[a]!);
  if (inside && kernel.every((k, a) => k === stride[a] && padding[a] === 0))
    return blockMean(slice(slice(x, 2, 0, to[0] * kernel[0]), 3, 0, to[1] * kernel[1]), kernel);
  // ONNX has no divisor that counts the padding but not what lies beyond it.
  return inside || !p.countPadding ? apply(averagePoolOp, [x], p) : averaged(x, p);
}

const maxPoolOp: Op<Pool> = {
  name: 'maxPool',
  infer: out,
  vjp: ({ inputs: [x], attrs }, [dy]) => gradients(largest(x!, attrs), [x!], dy!),
  onnx: ({ attrs }, [x], emit) => [emit.node('MaxPool', [x!], { kernel_shape: attrs.kernel, strides: attrs.stride, pads: pads(attrs) })],
  reference: ([x], { attrs }) => [overWindows(x!.data, attrs, (values) => Math.max(...values))],
};

/** Largest value of each window. On a tie the first position in reading order gets the gradient. */
export const maxPool = (x: Tensor, options: PoolOptions): Tensor => apply(maxPoolOp, [x], poolOf('maxPool', x, options));

/** The same as the maximum of shifted images: the lesser of equals in reading order wins. */
function largest(x: Tensor, p: Pool): Tensor {
  const ends = pads(p);
  const along = (t: Tensor, a: 0 | 1): Tensor => {
    const filled = padLow(t, a + 2, p.padding[a], ends[a + 2]!, p.from[a]);
    const { [a]: stride } = p.stride;
    const shifts = [...Array(p.kernel[a]).keys()].map((k) => slice(filled, a + 2, k, k + stride * (p.to[a] - 1) + 1, stride));
    return shifts.reduce((best, next) => maximum(best, next));
  };
  // Rows first: among equals that leaves the leftmost of the topmost row.
  return along(along(x, 1), 0);
}

/** The lowest finite float32: nothing is smaller. */
const LOWEST = -3.4028234663852886e38;

/** Padded along one axis with a value that is never the largest. */
function padLow(x: Tensor, axis: number, before: number, after: number, size: number): Tensor {
  if (before === 0 && after === 0) return x;
  const border = Float32Array.from({ length: size + before + after }, (_, i) => (i < before || i >= before + size ? LOWEST : 0));
  const low = constant(border, axis === 2 ? [border.length, 1] : [border.length]);
  return add(pad(x, axis, before, after), low);
}
