/** @file ONNX padding and repetition. */
import { add, cast } from '../../../../engine/graph/ops/elementwise.ts';
import { constant } from '../../../../engine/graph/ops/leaf.ts';
import { pad, reshape } from '../../../../engine/graph/ops/movement.ts';
import { gather } from '../../../../engine/graph/ops/select.ts';
import { axisOf, type Dim, fixed, isSymbolic, type Shape, type Tensor } from '../../../../engine/graph/tensor.ts';
import { constantValues, type NodeView, type Operators } from '../node.ts';
import { broadcastTo, product } from './movement.ts';

/** The longest vectors that an operator may make by itself. */
const LONGEST = 2 ** 24;
export const indexVector = (values: readonly number[]): Tensor => constant(BigInt64Array.from(values, BigInt), [values.length]);

/** Padded on both sides of one axis with a number; negative counts crop. */
export function padConstant(x: Tensor, axis: number, before: number, after: number, value: number): Tensor {
  const padded = pad(x, axis, before, after);
  if (value === 0 || padded === x || (before <= 0 && after <= 0)) return padded;
  const size = fixed('pad', padded.shape[axis]);
  const border = Float64Array.from({ length: size }, (_, i) => (i < before || i >= size - after ? value : 0));
  return add(padded, constant(border, [size, ...x.shape.slice(axis + 1).map(() => 1)]));
}

/** Where each place of the padded axis reads. */
const READS: Readonly<Record<string, (i: number, n: number) => number>> = {
  edge: (i, n) => Math.min(Math.max(i, 0), n - 1),
  reflect: (i, n) => {
    if (n === 1) return 0;
    const at = ((i % (2 * n - 2)) + 2 * n - 2) % (2 * n - 2);
    return at < n ? at : 2 * n - 2 - at;
  },
  wrap: (i, n) => ((i % n) + n) % n,
};

function padded(n: NodeView): Tensor {
  const x = n.x(0);
  const pads = n.numbers(1, 'pads');
  const mode = n.attr.string('mode', 'constant');
  const axes = n.maybe(3) ? n.numbers(3, 'axes').map((a) => axisOf('axes', a, x.shape.length)) : [...x.shape.keys()];
  if (pads.length !== 2 * axes.length || !pads.every((p) => Number.isInteger(p) && Math.abs(p) <= LONGEST))
    n.fail(`its pads [${pads.slice(0, 12).join(',')}] do not fit ${axes.length} axes of [${x.shape.join(',')}]`);
  const value = n.maybe(2) ? (n.numbers(2, 'constant_value')[0] ?? 0) : 0;
  const reads = READS[mode];
  if (mode !== 'constant' && !reads) return n.fail(`its mode is ${mode}; it must be constant, ${Object.keys(READS).join(', ')}`);
  return axes.reduce((t, axis, i) => {
    const [before, after] = [pads[i]!, pads[i + axes.length]!];
    if (before === 0 && after === 0) return t;
    if (!reads) return t.dtype === 'float32' ? padConstant(t, axis, before, after, value) : wholePadded(n, t, axis, before, after, value);
    const size = fixed('pad', t.shape[axis]);
    const length = Math.max(before + size + after, 0);
    return gather(t, indexVector(Array.from({ length }, (_, j) => reads(j - before, size))), axis);
  }, x);
}
function wholePadded(n: NodeView, x: Tensor, axis: number, before: number, after: number, value: number): Tensor {
  if (!constantValues(x)) n.fail('pads whole numbers that are not constant, which is not supported');
  return cast(padConstant(cast(x, 'float32'), axis, before, after, value), x.dtype);
}

/** Repeated along every axis. */
function tiled(n: NodeView): Tensor {
  const x = n.x(0);
  const repeats = n.sizes(1, 'repeats');
  if (repeats.length !== x.shape.length || !repeats.every((r) => isSymbolic(r as Dim) || (Number(r) >= 0 && Number(r) <= LONGEST)))
    n.fail(`its repeats [${repeats.slice(0, 12).join(',')}] do not fit [${x.shape.join(',')}]`);
  return (repeats as Shape).reduce((t: Tensor, r, axis) => {
    if (r === 1) return t;
    const size = t.shape[axis]!;
    if (isSymbolic(r) && t.shape.some(isSymbolic)) return n.fail('repeats the batch by the batch size');
    const apart = reshape(t, t.shape.toSpliced(axis, 0, 1)); // […, 1, size, …]
    return reshape(broadcastTo(n, apart, apart.shape.with(axis, r)), t.shape.with(axis, product([r, size])));
  }, x);
}

export const padding: Operators = {
  Pad: { build: padded, gradient: 'yes', limits: 'constant pads and value; of whole numbers constants only' },
  Tile: { build: tiled, gradient: 'yes', sizes: true },
};
