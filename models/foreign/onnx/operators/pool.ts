/** @file ONNX pooling, over one axis or two. */
import { div, maximum } from '../../../../engine/graph/ops/elementwise.ts';
import { constant } from '../../../../engine/graph/ops/leaf.ts';
import { matmul } from '../../../../engine/graph/ops/linalg.ts';
import { slice } from '../../../../engine/graph/ops/movement.ts';
import { averagePool, maxPool } from '../../../../engine/graph/ops/pool.ts';
import { reduceMax, reduceMean } from '../../../../engine/graph/ops/reduce.ts';
import type { Tensor } from '../../../../engine/graph/tensor.ts';
import type { NodeView, Operators } from '../node.ts';
import { padConstant } from './padding.ts';
import { asImage, likeInput, type Windows, windowsOf } from './windows.ts';

/** Windows along one axis. */
interface Axis {
  readonly from: number;
  readonly kernel: number;
  readonly stride: number;
  readonly dilation: number;
  readonly before: number;
  readonly to: number;
}
/** Kernels of more values are global pooling, which has operators of its own. */
const LARGEST_KERNEL = 4096;

function axesOf(n: NodeView, { kernel, stride, dilation, padding, from }: Windows): readonly [Axis, Axis] {
  const up = n.attr.int('ceil_mode', 0) === 1;
  const axis = (a: 0 | 1): Axis => {
    const reach = dilation[a] * (kernel[a] - 1) + 1;
    const room = from[a] + padding[a]! + padding[a + 2]! - reach;
    const full = (up ? Math.ceil(room / stride[a]) : Math.floor(room / stride[a])) + 1;
    // A last window that begins behind the input is left out.
    const to = up && (full - 1) * stride[a] >= from[a] + padding[a]! ? full - 1 : full;
    if (kernel[a] > LARGEST_KERNEL || to < 1)
      n.fail(`kernel [${kernel.join(',')}] with pads [${padding.join(',')}] does not fit an input of [${from.join(',')}]`);
    return { from: from[a], kernel: kernel[a], stride: stride[a], dilation: dilation[a], before: padding[a]!, to };
  };
  return [axis(0), axis(1)];
}
/** The windows are what our own pooling does. */
const isPlain = ({ padding: [top, left, bottom, right], dilation, kernel }: Windows): boolean =>
  top === bottom && left === right && dilation[0] === 1 && dilation[1] === 1 && 2 * top <= kernel[0] && 2 * left <= kernel[1];

const LOWEST = -3.4028234663852886e38;
/** Largest values along one axis, one slice for each place of the kernel. */
function maxAlong(x: Tensor, axis: number, { from, kernel, stride, dilation, before, to }: Axis): Tensor {
  const needed = (to - 1) * stride + dilation * (kernel - 1) + 1;
  const filled = padConstant(x, axis, before, Math.max(needed - from - before, 0), LOWEST);
  const places = Array.from({ length: kernel }, (_, k) => slice(filled, axis, k * dilation, k * dilation + stride * (to - 1) + 1, stride));
  return places.reduce(maximum);
}
function largest(n: NodeView): Tensor {
  const x = n.x(0);
  const windows = windowsOf(n, x);
  const axes = axesOf(n, windows);
  const image = asImage(n, x);
  if (image.dtype !== 'float32') n.fail('takes floats only');
  const { kernel, stride, padding } = windows;
  const y = isPlain(windows)
    ? maxPool(image, { kernel, stride, padding: [padding[0], padding[1]], partial: n.attr.int('ceil_mode', 0) === 1 })
    : maxAlong(maxAlong(image, 3, axes[1]), 2, axes[0]);
  return likeInput(x, y);
}

/** The matrix [from, to] that sums windows, and how many values each window counts. */
function sums({ from, kernel, stride, dilation, before, to }: Axis, counted: (place: number) => boolean) {
  const matrix = new Float64Array(from * to);
  const counts = new Float64Array(to);
  for (let i = 0; i < to; i++)
    for (let k = 0; k < kernel; k++) {
      const place = i * stride - before + k * dilation;
      if (place >= 0 && place < from) matrix[place * to + i] = 1;
      if (counted(place)) counts[i]!++;
    }
  return { matrix, counts };
}
function averages(n: NodeView): Tensor {
  const x = n.x(0);
  const windows = windowsOf(n, x);
  const axes = axesOf(n, windows);
  const image = asImage(n, x);
  const all = n.attr.int('count_include_pad', 0) === 1;
  const { kernel, stride, padding } = windows;
  if (isPlain(windows))
    return likeInput(
      x,
      averagePool(image, {
        kernel,
        stride,
        padding: [padding[0], padding[1]],
        countPadding: all,
        partial: n.attr.int('ceil_mode', 0) === 1,
      }),
    );
  const [h, w] = axes.map((axis, a) => sums(axis, (p) => (all ? p < axis.from + padding[a + 2]! : p >= 0 && p < axis.from))) as [
    ReturnType<typeof sums>,
    ReturnType<typeof sums>,
  ];
  const across = matmul(image, constant(w.matrix, [axes[1].from, axes[1].to])); // [N, C, H, W']
  const rows = Float64Array.from(
    { length: axes[0].from * axes[0].to },
    (_, i) => h.matrix[(i % axes[0].from) * axes[0].to + Math.floor(i / axes[0].from)]!,
  );
  const total = matmul(constant(rows, [axes[0].to, axes[0].from]), across); // [N, C, H', W']
  const counts = Float64Array.from(
    { length: axes[0].to * axes[1].to },
    (_, i) => h.counts[Math.floor(i / axes[1].to)]! * w.counts[i % axes[1].to]!,
  );
  return likeInput(x, div(total, constant(counts, [axes[0].to, axes[1].to])));
}

const spatialAxes = (n: NodeView): readonly number[] => [...n.x(0).shape.keys()].slice(2);

export const pool: Operators = {
  MaxPool: { build: largest, gradient: 'yes', limits: '1-D and 2-D, floats, without indices' },
  AveragePool: { build: averages, gradient: 'yes', limits: '1-D and 2-D' },
  GlobalMaxPool: { build: (n) => reduceMax(n.x(0), spatialAxes(n)), gradient: 'yes' },
  GlobalAveragePool: { build: (n) => reduceMean(n.x(0), spatialAxes(n)), gradient: 'yes' },
};
