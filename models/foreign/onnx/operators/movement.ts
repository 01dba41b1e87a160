/** @file ONNX operators that move values without computing on them. */
import { add, broadcastShapes, or } from '../../../../engine/graph/ops/elementwise.ts';
import * as M from '../../../../engine/graph/ops/movement.ts';
import {
  axisOf,
  type Dim,
  elements,
  fixed,
  isSymbolic,
  multipleOf,
  type Shape,
  symbolic,
  type Tensor,
} from '../../../../engine/graph/tensor.ts';
import type { NodeView, Operators } from '../node.ts';
import { encodeSize } from '../sizes.ts';

/** Axes of an attribute (to opset 12) or an input. */
const axesOf = (n: NodeView, i: number): readonly number[] | undefined =>
  n.attr.ints('axes') ?? (n.maybe(i) ? n.numbers(i, 'axes') : undefined);

function reshaped(n: NodeView): Tensor {
  const x = n.x(0);
  const wanted = n.sizes(1, 'shape');
  const copied =
    n.attr.int('allowzero', 0) === 1
      ? wanted
      : wanted.map((d, i) =>
          d === 0 ? (x.shape[i] ?? n.fail(`its shape [${wanted.join(',')}] copies an axis that [${x.shape.join(',')}] has not`)) : d,
        );
  if (copied.some((d) => typeof d === 'number' && d < -1) || copied.filter((d) => d === -1).length > 1)
    n.fail(`its shape is [${wanted.join(',')}]`);
  return M.reshape(x, copied);
}

export const product = (shape: Shape): Dim => {
  const count = elements(shape);
  return isSymbolic(count) ? symbolic(multipleOf(count)) : count;
};
function flattened(n: NodeView): Tensor {
  const x = n.x(0);
  const given = n.attr.int('axis', 1);
  const axis = given < 0 ? given + x.shape.length : given;
  if (!(axis >= 0 && axis <= x.shape.length)) n.fail(`its axis is ${given} for [${x.shape.join(',')}]`);
  return M.reshape(x, [product(x.shape.slice(0, axis)), product(x.shape.slice(axis))]);
}

function unsqueezed(n: NodeView): Tensor {
  const x = n.x(0);
  const given = axesOf(n, 1) ?? n.fail('its axes are missing');
  const rank = x.shape.length + given.length;
  const axes = new Set(given.map((a) => axisOf('axes', a, rank)));
  if (axes.size < given.length) n.fail(`its axes [${given.join(',')}] name one twice`);
  const rest = [...x.shape];
  return M.reshape(
    x,
    Array.from({ length: rank }, (_, i) => (axes.has(i) ? 1 : rest.shift()!)),
  );
}
function squeezed(n: NodeView): Tensor {
  const x = n.x(0);
  const axes = axesOf(n, 1)?.map((a) => axisOf('axes', a, x.shape.length)) ?? x.shape.flatMap((d, i) => (d === 1 ? [i] : []));
  const wrong = axes.find((a) => x.shape[a] !== 1);
  if (wrong !== undefined) n.fail(`axis ${wrong} of [${x.shape.join(',')}] does not have size 1`);
  return M.reshape(
    x,
    x.shape.filter((_, i) => !axes.includes(i)),
  );
}

/** Broadcast to a shape in which the batch size may stand where x has no such axis. */
export function broadcastTo(n: NodeView, x: Tensor, shape: Shape): Tensor {
  const full = broadcastShapes('Expand', x, { shape, dtype: x.dtype });
  const at = full.findIndex((d, i) => isSymbolic(d) && x.shape[i - full.length + x.shape.length] !== d);
  if (at < 0) return M.expand(x, full);
  const zeros = M.reshape(n.zeros(full[at] as 'N', x.dtype), [full[at]!, ...full.slice(at + 1).map(() => 1)]);
  return M.expand(x.dtype === 'bool' ? or(x, zeros) : add(x, zeros), full);
}
function expanded(n: NodeView): Tensor {
  const shape = n.sizes(1, 'shape');
  if (shape.some((d) => typeof d === 'number' && d < 0)) n.fail(`its shape is [${shape.join(',')}]`);
  return broadcastTo(n, n.x(0), shape as Shape);
}

/** Of an axis that holds several batches one after the other, those from `from` up to `to`. */
function batches(x: Tensor, axis: number, from: number, to: number): Tensor {
  const dim = x.shape[axis]!;
  const held = isSymbolic(dim) ? multipleOf(dim) : 1;
  if (from === 0 && to === held) return x;
  const apart = M.reshape(x, x.shape.toSpliced(axis, 1, held, 'N')); // […, held, N, …]
  return M.reshape(M.slice(apart, axis, from, to), x.shape.with(axis, symbolic(to - from)));
}

/** A bound as a place in 0…size. */
const within = (bound: number, size: number, lowest: number, highest: number): number =>
  Math.min(Math.max(bound < 0 ? bound + size : bound, lowest), highest);
function sliceAxis(n: NodeView, x: Tensor, axis: number, [start, end, step]: readonly [number, number, number]): Tensor {
  const dim = x.shape[axis]!;
  if (isSymbolic(dim)) {
    const [from, to] = [start, end].map((bound) => within(bound, encodeSize(dim), 0, encodeSize(dim)) / encodeSize('N')) as [
      number,
      number,
    ];
    if (step !== 1 || !Number.isInteger(from) || !Number.isInteger(to) || to <= from)
      return n.fail('cuts along the batch elsewhere than between whole batches, which is not supported');
    return batches(x, axis, from, to);
  }
  if (step === 0 || !Number.isInteger(step)) n.fail(`its step is ${step}`);
  if (step > 0) {
    const from = within(start, dim, 0, dim);
    return M.slice(x, axis, from, Math.max(within(end, dim, 0, dim), from), Math.min(step, Math.max(dim, 1)));
  }
  // Backwards: the same places forwards, then turned around.
  const [from, to] = [within(start, dim, -1, dim - 1), within(end, dim, -1, dim - 1)];
  const count = Math.max(Math.ceil((from - to) / -step), 0);
  if (count === 0) return M.slice(x, axis, 0, 0);
  const first = from + (count - 1) * step;
  return M.flip(M.slice(x, axis, first, from + 1, -step), [axis]);
}
function sliced(n: NodeView): Tensor {
  const x = n.x(0);
  const [starts, ends] = [n.bounds(1, 'starts'), n.bounds(2, 'ends')];
  const axes = n.maybe(3) ? n.numbers(3, 'axes') : starts.map((_, i) => i);
  const steps = n.maybe(4) ? n.numbers(4, 'steps') : starts.map(() => 1);
  if (new Set([starts, ends, axes, steps].map((list) => list.length)).size > 1)
    n.fail('its starts, ends, axes and steps are not of one length');
  return axes.reduce((t, axis, i) => sliceAxis(n, t, axisOf('axes', axis, x.shape.length), [starts[i]!, ends[i]!, steps[i]!]), x);
}

/** Whole batches of an axis that holds several. */
function batchParts(n: NodeView, x: Tensor, axis: number): readonly Tensor[] {
  const dim = x.shape[axis] as 'N';
  const given = n.inputs > 1 ? n.sizes(1, 'split') : undefined;
  const each = given ? given.map((d) => encodeSize(d) / encodeSize('N')) : Array<number>(n.outputs).fill(multipleOf(dim) / n.outputs);
  if (n.attr.has('split') || !each.every(Number.isInteger) || each.reduce((a, b) => a + b, 0) !== multipleOf(dim))
    n.fail('cuts along the batch elsewhere than between whole batches, which is not supported');
  return each.map((count, i) => {
    const from = each.slice(0, i).reduce((a, b) => a + b, 0);
    return batches(x, axis, from, from + count);
  });
}

function parts(n: NodeView): readonly Tensor[] {
  const x = n.x(0);
  const axis = axisOf('axis', n.attr.int('axis', 0), x.shape.length);
  if (isSymbolic(x.shape[axis]!)) return batchParts(n, x, axis);
  const size = fixed('Split', x.shape[axis]);
  const count = n.attr.int('num_outputs', n.outputs);
  const each = Math.ceil(size / count);
  const sizes =
    n.attr.ints('split') ??
    (n.maybe(1) ? n.numbers(1, 'split') : Array.from({ length: n.outputs }, (_, i) => Math.max(Math.min(each, size - i * each), 0)));
  if (sizes.some((s) => !(s >= 0)) || sizes.reduce((a, b) => a + b, 0) !== size)
    n.fail(`its parts [${sizes.slice(0, 12).join(',')}] are not ${size} in all`);
  return M.split(x, sizes, axis);
}

function turned(n: NodeView): Tensor {
  const x = n.x(0);
  return M.transpose(x, n.attr.ints('perm') ?? [...x.shape.keys()].reverse());
}
function concatenated(n: NodeView): Tensor {
  const axis = axisOf('axis', n.attr.int('axis'), n.x(0).shape.length);
  // Empty ones stand for nothing.
  const xs = n.all().filter((x) => x.shape[axis] !== 0);
  return xs.length === 0 ? n.x(0) : M.concat(xs, axis);
}

function depthToSpace(n: NodeView): Tensor {
  const x = n.x(0, 4);
  const r = n.attr.int('blocksize');
  if (!(r >= 1 && r <= 2 ** 20)) n.fail(`its blocksize is ${r}`);
  if (n.attr.string('mode', 'DCR') === 'CRD') return M.pixelShuffle(x, r);
  const [batch, c, h, w] = x.shape;
  const channels = fixed('DepthToSpace', c) / (r * r);
  const apart = M.transpose(M.reshape(x, [batch!, r, r, channels, h!, w!]), [0, 3, 4, 1, 5, 2]);
  return M.reshape(apart, [batch!, channels, fixed('height', h) * r, fixed('width', w) * r]);
}
function spaceToDepth(n: NodeView): Tensor {
  const x = n.x(0, 4);
  const r = n.attr.int('blocksize');
  if (!(r >= 1 && r <= 2 ** 20)) n.fail(`its blocksize is ${r}`);
  const [batch, c, h, w] = x.shape;
  const [height, width] = [fixed('height', h) / r, fixed('width', w) / r];
  const apart = M.transpose(M.reshape(x, [batch!, c!, height, r, width, r]), [0, 3, 5, 1, 2, 4]);
  return M.reshape(apart, [batch!, fixed('channels', c) * r * r, height, width]);
}

export const movement: Operators = {
  Reshape: { build: reshaped, gradient: 'yes', sizes: true },
  Flatten: { build: flattened, gradient: 'yes', sizes: true },
  Transpose: { build: turned, gradient: 'yes', sizes: true },
  Concat: { build: concatenated, gradient: 'yes', sizes: true },
  Split: { build: parts, gradient: 'yes', sizes: true, limits: 'along the batch whole batches only' },
  Slice: { build: sliced, gradient: 'yes', sizes: true, limits: 'constant bounds; along the batch whole batches only' },
  Squeeze: { build: squeezed, gradient: 'yes', sizes: true },
  Unsqueeze: { build: unsqueezed, gradient: 'yes', sizes: true },
  Expand: { build: expanded, gradient: 'yes', sizes: true },
  DepthToSpace: { build: depthToSpace, gradient: 'yes' },
  SpaceToDepth: { build: spaceToDepth, gradient: 'yes' },
};
