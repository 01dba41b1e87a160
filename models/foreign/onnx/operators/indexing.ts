/** @file ONNX operators that pick and place values by index. */
import { add, cast, div, equal, greater, less, mul, where } from '../../../../engine/graph/ops/elementwise.ts';
import { constant, leafOf } from '../../../../engine/graph/ops/leaf.ts';
import { concat, expand, reshape, transpose } from '../../../../engine/graph/ops/movement.ts';
import { gather, gatherElements, scatterAddElements } from '../../../../engine/graph/ops/select.ts';
import { axisOf, type Dim, elements, fixed, isSymbolic, type Shape, type Tensor } from '../../../../engine/graph/tensor.ts';
import { computed } from '../fold.ts';
import { constantValues, type NodeView, type Operators } from '../node.ts';
import { product } from './movement.ts';
import { indexVector } from './padding.ts';

/** Ops that only move what they are given. */
const MOVING = ['reshape', 'cast', 'slice', 'transpose', 'expand', 'concat'];
/** Token and class numbers as they are fed: nobody counts them from the end. */
function isFed(t: Tensor): boolean {
  let at = t;
  while (MOVING.includes(at.node.op.name) && at.node.inputs.length === 1) at = at.node.inputs[0]!;
  return leafOf(at)?.kind === 'input';
}
/** An index counted from the front. */
function fromFront(n: NodeView, index: Tensor, size: Dim): Tensor {
  const known = constantValues(computed(index));
  if (isSymbolic(size)) return known?.every((v) => v >= 0) ? index : n.fail('picks along the batch by index, which is not supported');
  if (!known) return isFed(index) ? index : where(less(index, 0), add(index, size), index);
  const wrong = known.find((v) => !(v >= -size && v < size));
  if (wrong !== undefined) n.fail(`its index ${wrong} is not in [${-size}, ${size - 1}]`);
  if (known.every((v) => v >= 0)) return index;
  return constant(
    BigInt64Array.from(known, (v) => BigInt(v < 0 ? v + size : v)),
    index.shape,
  );
}

function gathered(n: NodeView): Tensor {
  const x = n.x(0);
  const axis = axisOf('axis', n.attr.int('axis', 0), x.shape.length);
  const size = x.shape[axis]!;
  const index = fromFront(n, n.x(1), size);
  if (isSymbolic(size)) n.fail('picks along the batch by index, which is not supported');
  return gather(x, index, axis);
}
function gatheredElements(n: NodeView): Tensor {
  const x = n.x(0);
  const axis = axisOf('axis', n.attr.int('axis', 0), x.shape.length);
  const index = fromFront(n, n.x(1), x.shape[axis]!);
  // The index may be smaller along the other axes.
  const cut = x.shape.reduce((t: Tensor, d, i) => {
    const wanted = index.shape[i]!;
    return i === axis || d === wanted ? t : gather(t, indexVector([...Array(fixed('index', wanted)).keys()]), i);
  }, x);
  return gatherElements(cut, index, axis);
}

const count = (shape: Shape): number => fixed('size', elements(shape));
const strides = (sizes: readonly number[]): readonly number[] => sizes.map((_, i) => sizes.slice(i + 1).reduce((a, b) => a * b, 1));

/** Index tuples as places in the flattened axes that they point into. */
function flatPlaces(n: NodeView, index: Tensor, sizes: readonly Dim[]): Tensor {
  const known = sizes.map((d) => fixed('GatherND', d));
  const steps = strides(known);
  const parts = known.map((size, i) => mul(fromFront(n, gather(index, indexVector([i]), index.shape.length - 1), size), steps[i]!));
  const total = parts.reduce(add);
  return reshape(total, index.shape.slice(0, -1));
}
const gatheredTuples = (n: NodeView): Tensor => gatherTuples(n, n.x(0), n.x(1), n.attr.int('batch_dims', 0));
/** x at index tuples [..., depth], which come after the first `batch` axes. */
export function gatherTuples(n: NodeView, x: Tensor, index: Tensor, batch: number): Tensor {
  const depth = fixed('GatherND', index.shape.at(-1));
  if (batch + depth > x.shape.length) n.fail(`its index tuples have ${depth} values for [${x.shape.join(',')}]`);
  if (batch > 1) {
    const joined = (t: Tensor): Tensor => reshape(t, [product(t.shape.slice(0, batch)), ...t.shape.slice(batch)]);
    return reshape(gatherTuples(n, joined(x), joined(index), 1), [...index.shape.slice(0, -1), ...x.shape.slice(batch + depth)]);
  }
  const sizes = x.shape.slice(batch, batch + depth);
  const rest = x.shape.slice(batch + depth);
  const places = flatPlaces(n, index, sizes);
  const flat = reshape(x, [...x.shape.slice(0, batch), count(sizes), ...rest]);
  if (batch === 0) return gather(flat, places, 0);
  // Each sample picks its own: one element at a time along the flat axis, for every value behind it.
  const width = count(rest);
  const each = count(places.shape.slice(1));
  const source = reshape(flat, [x.shape[0]!, count(sizes), width]);
  const chosen = expand(reshape(places, [x.shape[0]!, each, 1]), [x.shape[0]!, each, width]);
  return reshape(gatherElements(source, chosen, 1), [...places.shape, ...rest]);
}

/** data with the updates at flat places: each place reads either, by one index known now. The last of several updates wins. */
function placed(n: NodeView, data: Tensor, updates: Tensor, places: readonly number[]): Tensor {
  const mode = n.attr.string('reduction', 'none');
  if (mode !== 'none' && mode !== 'add') return n.fail(`its reduction is ${mode}; none and add are supported`);
  const size = count(data.shape);
  const [flat, values] = [reshape(data, [size]), reshape(updates, [places.length])];
  if (mode === 'add') {
    const added = scatterAddElements(values, indexVector(places), 0, size);
    return reshape(add(flat, added), data.shape);
  }
  const reads = Array.from({ length: size }, (_, i) => i);
  places.forEach((place, i) => {
    reads[place] = size + i;
  });
  return reshape(gather(concat([flat, values], 0), indexVector(reads), 0), data.shape);
}
function scatteredElements(n: NodeView): Tensor {
  const [data, index, updates] = [n.x(0), n.x(1), n.x(2)];
  const axis = axisOf('axis', n.attr.int('axis', 0), data.shape.length);
  const front = fromFront(n, index, data.shape[axis]!);
  const known = constantValues(front);
  if (known) {
    const [own, all] = [strides(index.shape.map(Number)), strides(data.shape.map(Number))];
    const place = (v: number, i: number): number =>
      own.reduce((at, stride, a) => at + all[a]! * (a === axis ? v : Math.floor(i / stride) % Number(index.shape[a])), 0);
    return placed(n, data, updates, known.map(place));
  }
  const same = index.shape.every((d, i) => i === axis || d === data.shape[i]);
  if (!same) return n.fail('its index is not constant and smaller than the data, which is not supported');
  return scattered(n, data, front, updates, axis);
}
/** By an index that is not known now. Of several updates for one place the mean counts. */
function scattered(n: NodeView, data: Tensor, index: Tensor, updates: Tensor, axis: number): Tensor {
  const mode = n.attr.string('reduction', 'none');
  if (mode !== 'none' && mode !== 'add') return n.fail(`its reduction is ${mode}; none and add are supported`);
  const size = fixed('axis', data.shape[axis]);
  const sum = scatterAddElements(updates, index, axis, size);
  if (mode === 'add') return add(data, sum);
  const hits = scatterAddElements(add(mul(cast(index, 'float32'), 0), 1), index, axis, size);
  const hit = greater(hits, 0);
  return where(hit, div(sum, where(hit, hits, 1)), data);
}
/** Updates of each sample at index tuples [N, …, depth], which come after the first axis. */
export function scatterTuples(n: NodeView, data: Tensor, index: Tensor, updates: Tensor): Tensor {
  const depth = fixed('ScatterND', index.shape.at(-1));
  if (depth + 1 > data.shape.length) n.fail(`its index tuples have ${depth + 1} values for [${data.shape.join(',')}]`);
  const sizes = data.shape.slice(1, 1 + depth);
  const width = count(data.shape.slice(1 + depth));
  const places = flatPlaces(n, index, sizes);
  const each = count(places.shape.slice(1));
  const rows = (t: Tensor, length: number, across: number): Tensor => reshape(t, [data.shape[0]!, length, across]);
  const chosen = expand(rows(places, each, 1), [data.shape[0]!, each, width]);
  return reshape(scattered(n, rows(data, count(sizes), width), chosen, rows(updates, each, width), 1), data.shape);
}
function scatteredTuples(n: NodeView): Tensor {
  const [data, index, updates] = [n.x(0), n.x(1), n.x(2)];
  const depth = fixed('ScatterND', index.shape.at(-1));
  const places = n.numbers(1, 'indices');
  const sizes = data.shape.map((d) => fixed('ScatterND', d));
  if (depth > sizes.length) n.fail(`its index tuples have ${depth} values for [${sizes.join(',')}]`);
  const steps = strides(sizes);
  const inner = count(sizes.slice(depth));
  const starts = Array.from({ length: places.length / depth }, (_, i) =>
    places.slice(i * depth, (i + 1) * depth).reduce((at, v, a) => {
      if (!(v >= -sizes[a]! && v < sizes[a]!)) n.fail(`its index ${v} is not in [${-sizes[a]!}, ${sizes[a]! - 1}]`);
      return at + (v < 0 ? v + sizes[a]! : v) * steps[a]!;
    }, 0),
  );
  return placed(
    n,
    data,
    updates,
    starts.flatMap((start) => Array.from({ length: inner }, (_, i) => start + i)),
  );
}

/** Values on and off, from an index of any whole or float type; one that is out of range is off everywhere. */
function oneHot(n: NodeView): Tensor {
  const index = cast(n.x(0), 'int64');
  const depth = n.numbers(1, 'depth')[0] ?? n.fail('its depth is empty');
  if (!(Number.isInteger(depth) && depth >= 1 && depth <= 2 ** 20)) n.fail(`its depth is ${depth}`);
  const values = n.x(2);
  const rank = index.shape.length + 1;
  const axis = axisOf('axis', n.attr.int('axis', -1), rank);
  const front = where(less(index, 0), add(index, depth), index);
  const hit = equal(reshape(front, [...index.shape, 1]), indexVector([...Array(depth).keys()])); // […, depth]
  const last = [...Array(rank).keys()].filter((a) => a !== rank - 1);
  const moved = transpose(hit, last.toSpliced(axis, 0, rank - 1));
  const [off, on] = [0, 1].map((i) => reshape(gather(values, indexVector([i]), 0), [])) as [Tensor, Tensor];
  return where(moved, on, off);
}

export const indexing: Operators = {
  Gather: { build: gathered, gradient: 'yes', sizes: true, limits: 'not along the batch; what is fed as an index must not be negative' },
  GatherElements: { build: gatheredElements, gradient: 'yes', limits: 'as Gather' },
  GatherND: { build: gatheredTuples, gradient: 'yes', limits: 'not along a batch of free size' },
  ScatterElements: {
    build: scatteredElements,
    gradient: 'yes',
    sizes: true,
    limits: 'reduction none or add; an index that is not constant must be as large as the data',
  },
  ScatterND: {
    build: scatteredTuples,
    gradient: 'yes',
    sizes: true,
    limits: 'constant indices, or behind the number of each sample; reduction none or add',
  },
  OneHot: { build: oneHot, gradient: 'none' },
};
