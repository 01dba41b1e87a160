/** @file ONNX resampling: every mode as one matrix, or one index, per axis. */
import { constant } from '../../../../engine/graph/ops/leaf.ts';
import { matmul } from '../../../../engine/graph/ops/linalg.ts';
import { transpose } from '../../../../engine/graph/ops/movement.ts';
import { upsampleNearest } from '../../../../engine/graph/ops/resize.ts';
import { gather } from '../../../../engine/graph/ops/select.ts';
import { axisOf, fixed, type Tensor } from '../../../../engine/graph/tensor.ts';
import type { NodeView, Operators } from '../node.ts';
import { indexVector } from './padding.ts';
import { type Axis, type Kernel, nearestIndex, weightsOf } from './resize-weights.ts';

/** Matrices of more values are not made. */
const LARGEST = 2 ** 24;

/** What is asked for, per axis of x: its new size and how many times its old one that is. */
function targets(n: NodeView, x: Tensor, axes: readonly number[]): readonly Axis[] {
  const scales = n.maybe(2) ? n.numbers(2, 'scales') : [];
  const sizes = scales.length === 0 ? n.sizes(3, 'sizes') : [];
  const given = scales.length + sizes.length;
  if (given !== axes.length) n.fail(`${given} scales or sizes are given for ${axes.length} axes of [${x.shape.join(',')}]`);
  const from = axes.map((a) => x.shape[a]!);
  const ratios = keptRatio(n, sizes, from);
  return axes.map((axis, i): Axis => {
    const old = from[i]!;
    if (typeof old !== 'number') {
      if (sizes[i] === old || scales[i] === 1) return { axis, from: 1, to: 1, scale: 1 };
      return n.fail('resizes the batch');
    }
    const scale = scales[i] ?? ratios?.[i] ?? Number(sizes[i]) / old;
    const to = scales.length > 0 ? Math.floor(old * scale + 1e-9) : ratios ? Math.round(old * scale) : Number(sizes[i]);
    if (!(Number.isInteger(to) && to >= 1 && scale > 0)) n.fail(`axis ${axis} of size ${old} should become ${to}`);
    return { axis, from: old, to, scale };
  });
}
/** One factor for all axes, so that none is stretched. */
function keptRatio(n: NodeView, sizes: readonly unknown[], from: readonly unknown[]): readonly number[] | undefined {
  const policy = n.attr.string('keep_aspect_ratio_policy', 'stretch');
  if (policy === 'stretch' || sizes.length === 0) return undefined;
  const each = sizes.map((s, i) => Number(s) / Number(from[i]));
  const one =
    policy === 'not_larger'
      ? Math.min(...each)
      : policy === 'not_smaller'
        ? Math.max(...each)
        : n.fail(`its keep_aspect_ratio_policy is ${policy}`);
  return each.map(() => one);
}

/** One axis as a product with a matrix; the last two axes are multiplied where they are. */
function resampled(n: NodeView, x: Tensor, target: Axis, weights: Float64Array): Tensor {
  const { axis, from, to } = target;
  const last = x.shape.length - 1;
  if (axis === last) {
    const turned = Float64Array.from({ length: from * to }, (_, i) => weights[(i % to) * from + Math.floor(i / to)]!);
    return matmul(x, constant(turned, [from, to]));
  }
  if (axis === last - 1) return matmul(constant(weights, [to, from]), x);
  if (x.shape.length < 2) return n.fail('needs at least two axes');
  const swap = [...x.shape.keys()].map((a) => (a === axis ? last : a === last ? axis : a));
  return transpose(resampled(n, transpose(x, swap), { ...target, axis: last }, weights), swap);
}

function resized(n: NodeView): Tensor {
  const x = n.x(0);
  const given = n.attr.ints('axes')?.map((a) => axisOf('axes', a, x.shape.length)) ?? [...x.shape.keys()];
  const wanted = targets(n, x, given).filter(({ from, to, scale }) => from !== to || scale !== 1);
  const kernel = kernelOf(n);
  if (wanted.some(({ from, to }) => from * to > LARGEST)) n.fail(`makes an axis of ${Math.max(...wanted.map((t) => t.to))}`);
  const whole = wanted.every(({ axis, scale }) => axis >= 2 && Number.isInteger(scale));
  if (kernel.mode === 'nearest' && kernel.transform === 'asymmetric' && kernel.nearest === 'floor' && whole && x.shape.length === 4)
    return upsampleNearest(
      x,
      [2, 3].map((axis) => wanted.find((t) => t.axis === axis)?.scale ?? 1) as unknown as readonly [number, number],
    );
  if (kernel.mode === 'nearest')
    return wanted.reduce((t, target) => gather(t, indexVector(nearestIndex(kernel, target, n.fail)), target.axis), x);
  // Width before height: one plain product over all rows.
  return wanted.toReversed().reduce((t, target) => resampled(n, t, target, weightsOf(kernel, target, n.fail)), x);
}

function kernelOf(n: NodeView): Kernel {
  const mode = n.attr.string('mode', 'nearest');
  if (mode !== 'nearest' && mode !== 'linear' && mode !== 'cubic')
    return n.fail(`its mode is ${mode}; it must be nearest, linear or cubic`);
  return {
    mode,
    transform: n.attr.string('coordinate_transformation_mode', 'half_pixel'),
    nearest: n.attr.string('nearest_mode', 'round_prefer_floor'),
    cubic: n.attr.float('cubic_coeff_a', -0.75),
    excludeOutside: n.attr.int('exclude_outside', 0) === 1,
    antialias: n.attr.int('antialias', 0) === 1,
  };
}
const fixedAxes = (n: NodeView): Tensor => {
  for (const d of n.x(0).shape.slice(1)) fixed('Resize', d);
  return resized(n);
};

export const resize: Operators = {
  Resize: { build: fixedAxes, gradient: 'yes', limits: 'constant scales or sizes; without tf_crop_and_resize' },
};
