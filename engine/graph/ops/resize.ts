/**
 * @file Resizing of images [N,C,H,W]. Enlarging by whole factors and the mean over blocks are primitives, each the other's adjoint
 * up to a factor; everything else that is linear is a product with one constant matrix per axis, and so has exact gradients of any order.
 */
import { apply, type Dim, fixed, type Op, type Shape, ShapeError, scaleDim, show, type Tensor } from '../tensor.ts';
import { mul } from './elementwise.ts';
import { constant } from './leaf.ts';
import { matmul } from './linalg.ts';
import { gather } from './select.ts';

export type Pair = readonly [number, number];
interface Factor {
  readonly factor: Pair;
}
const pair = (v: number | Pair): Pair => (typeof v === 'number' ? [v, v] : v);
const count = (shape: readonly number[]): number => shape.reduce((n, d) => n * d, 1);

function image(where: string, x: { readonly shape: Shape; readonly dtype: Tensor['dtype'] }): readonly [Dim, Dim, Dim, Dim] {
  if (x.shape.length !== 4) throw new ShapeError(`${where}: needs [N,C,H,W], got ${show(x)}`);
  return x.shape as readonly [Dim, Dim, Dim, Dim];
}
const spatial = (where: string, x: Tensor): Pair => {
  const [, , h, w] = image(where, x);
  return [fixed(where, h), fixed(where, w)];
};

const upsampleOp: Op<Factor> = {
  name: 'upsampleNearest',
  infer([x], { factor }) {
    const [n, c, h, w] = image('upsampleNearest', x!);
    return [{ shape: [n, c, scaleDim(h, factor[0]), scaleDim(w, factor[1])], dtype: x!.dtype }];
  },
  vjp: ({ attrs: { factor } }, [dy]) => [mul(blockMean(dy!, factor), factor[0] * factor[1])],
  onnx: ({ attrs: { factor } }, [x], emit) => [
    emit.node('Resize', [x!, '', emit.floats(Float32Array.of(1, 1, ...factor), [4])], {
      mode: 'nearest',
      coordinate_transformation_mode: 'asymmetric',
      nearest_mode: 'floor',
    }),
  ],
  reference([x], { attrs: { factor } }, [out]) {
    const [, , h, w] = out as readonly [number, number, number, number];
    const from = (i: number): number => {
      const [row, col] = [Math.floor(i / w), i % w];
      return (Math.floor(row / h) * (h / factor[0]) + Math.floor((row % h) / factor[0])) * (w / factor[1]) + Math.floor(col / factor[1]);
    };
    return [Float64Array.from({ length: count(out!) }, (_, i) => x!.data[from(i)]!)];
  },
};

const blockMeanOp: Op<Factor> = {
  name: 'blockMean',
  infer([x], { factor }) {
    const [n, c, h, w] = image('averagePool', x!);
    const [hs, ws] = [fixed('averagePool', h) / factor[0], fixed('averagePool', w) / factor[1]];
    if (!Number.isInteger(hs) || !Number.isInteger(ws))
      throw new ShapeError(`averagePool: ${show(x!)} does not split into blocks of [${factor.join(',')}]`);
    return [{ shape: [n, c, hs, ws], dtype: x!.dtype }];
  },
  vjp: ({ attrs: { factor } }, [dy]) => [mul(upsampleNearest(dy!, factor), 1 / (factor[0] * factor[1]))],
  onnx: ({ attrs: { factor } }, [x], emit) => [emit.node('AveragePool', [x!], { kernel_shape: factor, strides: factor })],
  reference([x], { attrs: { factor } }, [out]) {
    const y = new Float64Array(count(out!));
    const [, , h, w] = x!.shape as readonly [number, number, number, number];
    x!.data.forEach((v, i) => {
      const [row, col] = [Math.floor(i / w), i % w];
      const line = Math.floor(row / h) * (h / factor[0]) + Math.floor((row % h) / factor[0]);
      y[line * (w / factor[1]) + Math.floor(col / factor[1])]! += v / (factor[0] * factor[1]);
    });
    return [y];
  },
};
/** Mean over blocks of [height, width] that fill the image. */
export const blockMean = (x: Tensor, factor: Pair): Tensor => apply(blockMeanOp, [x], { factor });

/** Every pixel repeated `factor` times along height and width. x [N,C,H,W]. */
export function upsampleNearest(x: Tensor, factor: number | Pair): Tensor {
  const f = pair(factor);
  if (!f.every((v) => Number.isInteger(v) && v >= 1))
    throw new ShapeError(`upsampleNearest: factors must be whole numbers from 1, got [${f.join(',')}]`);
  return f[0] === 1 && f[1] === 1 ? x : apply(upsampleOp, [x], { factor: f });
}

/** What one output position reads along an axis: (source, weight) pairs. */
export type Taps = (i: number) => readonly Pair[];

/** The matrix [to, from] of one axis, or its transpose. */
function axisMatrix(from: number, to: number, taps: Taps, turned: boolean): Tensor {
  const m = new Float64Array(from * to);
  for (let i = 0; i < to; i++) for (const [j, v] of taps(i)) m[turned ? j * to + i : i * from + j]! += v;
  return constant(m, turned ? [from, to] : [to, from]);
}
/** Width, then height, each as one product with a matrix. The width comes first: it is one plain product over all rows. */
export function separable(x: Tensor, [h, w]: Pair, [to, wide]: Pair, rows: Taps, cols: Taps): Tensor {
  const across = matmul(x, axisMatrix(w, wide, cols, true)); // [N, C, H, W']
  return matmul(axisMatrix(h, to, rows, false), across); // [N, C, H', W']
}

function checkSize(where: string, size: Pair): void {
  if (!size.every((v) => Number.isInteger(v) && v >= 1))
    throw new ShapeError(`${where}: sizes must be whole numbers from 1, got [${size.join(',')}]`);
}

/** Nearest neighbour to [height, width]: position i reads floor(i·in/out), computed exactly. */
export function resizeNearest(x: Tensor, size: Pair): Tensor {
  checkSize('resizeNearest', size);
  const [h, w] = spatial('resizeNearest', x);
  if (size[0] % h === 0 && size[1] % w === 0) return upsampleNearest(x, [size[0] / h, size[1] / w]);
  const index = (from: number, to: number): Tensor =>
    constant(
      BigInt64Array.from({ length: to }, (_, i) => BigInt(Math.floor((i * from) / to))),
      [to],
    );
  const tall = size[0] === h ? x : gather(x, index(h, size[0]), 2);
  return size[1] === w ? tall : gather(tall, index(w, size[1]), 3);
}

export interface ResizeOptions {
  /** Corner pixels map to corner pixels; otherwise the image's edges map to its edges (half-pixel centres). */
  readonly alignCorners?: boolean;
}
/** Where output position i lies on the axis of the source, in pixels. */
const sourceOf = (i: number, from: number, to: number, alignCorners: boolean): number =>
  alignCorners ? (to === 1 ? 0 : (i * (from - 1)) / (to - 1)) : ((i + 0.5) * from) / to - 0.5;
const limit = (j: number, size: number): number => Math.min(Math.max(j, 0), size - 1);

const bilinear =
  (from: number, to: number, alignCorners: boolean): Taps =>
  (i) => {
    const at = Math.max(sourceOf(i, from, to, alignCorners), 0);
    const j = Math.min(Math.floor(at), from - 1);
    return [
      [j, 1 - (at - j)],
      [limit(j + 1, from), at - j],
    ];
  };

/** Cubic convolution with a = −0.75, the constant of PyTorch and OpenCV. Keys 1981, eq. (4). */
function cubic(t: number): number {
  const [a, d] = [-0.75, Math.abs(t)];
  if (d <= 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
  return d < 2 ? (((d - 5) * d + 8) * d - 4) * a : 0;
}
const bicubic =
  (from: number, to: number, alignCorners: boolean): Taps =>
  (i) => {
    const at = sourceOf(i, from, to, alignCorners);
    const j = Math.floor(at);
    return [-1, 0, 1, 2].map((k): Pair => [limit(j + k, from), cubic(at - j - k)]);
  };

const interpolated =
  (where: string, taps: (from: number, to: number, alignCorners: boolean) => Taps) =>
  (x: Tensor, size: Pair, { alignCorners = false }: ResizeOptions = {}): Tensor => {
    checkSize(where, size);
    const from = spatial(where, x);
    return separable(x, from, size, taps(from[0], size[0], alignCorners), taps(from[1], size[1], alignCorners));
  };

/** Bilinear interpolation to [height, width], without antialiasing, as PyTorch's `interpolate`. */
export const resizeBilinear = interpolated('resizeBilinear', bilinear);
/** Bicubic interpolation to [height, width], without antialiasing, as PyTorch's `interpolate`. */
export const resizeBicubic = interpolated('resizeBicubic', bicubic);
