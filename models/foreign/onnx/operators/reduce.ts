/** @file ONNX reductions, running sums and the places of extreme values. */
import * as E from '../../../../engine/graph/ops/elementwise.ts';
import { constant } from '../../../../engine/graph/ops/leaf.ts';
import { concat, flip, reshape, slice } from '../../../../engine/graph/ops/movement.ts';
import * as R from '../../../../engine/graph/ops/reduce.ts';
import { axisOf, fixed, type Tensor } from '../../../../engine/graph/tensor.ts';
import type { NodeView, Operator, Operators } from '../node.ts';
import { onFloats } from './elementwise.ts';

type Reduction = (x: Tensor, axes: readonly number[]) => Tensor;

/** Axes come as an attribute, in later opsets as an input; none means all, or nothing at all. */
function axesOf(n: NodeView, x: Tensor): readonly number[] {
  const given = n.attr.ints('axes') ?? (n.maybe(1) ? n.numbers(1, 'axes') : undefined);
  if (given?.length) return given.map((a) => axisOf('axes', a, x.shape.length));
  return n.attr.int('noop_with_empty_axes', 0) === 1 ? [] : [...x.shape.keys()];
}
const dropped = (x: Tensor, axes: readonly number[]): Tensor =>
  reshape(
    x,
    x.shape.filter((_, i) => !axes.includes(i)),
  );
const reduction = (f: Reduction, sizes = false): Operator => ({
  build(n) {
    const x = n.x(0);
    const axes = axesOf(n, x);
    const y = f(x, axes);
    return n.attr.int('keepdims', 1) === 1 ? y : dropped(y, axes);
  },
  gradient: 'yes',
  ...(sizes ? { sizes: true } : {}),
});

const sumOfSquares: Reduction = (x, axes) => R.reduceSum(E.mul(x, x), axes);
/** Shifted by the largest value, whose gradient cancels. */
function logSumExp(x: Tensor, axes: readonly number[]): Tensor {
  const top = E.stop(R.reduceMax(x, axes));
  return E.add(E.log(R.reduceSum(E.exp(E.sub(x, top)), axes)), top);
}
const longest = 4096;
/** One factor after the other: exact for zeros and negative numbers too. */
function product(x: Tensor, axes: readonly number[]): Tensor {
  return axes.reduce((t, axis) => {
    let parts = t;
    if (fixed('ReduceProd', t.shape[axis]) > longest) throw new RangeError(`ReduceProd over more than ${longest} values is not supported`);
    // Halves are multiplied until one value is left.
    while (fixed('ReduceProd', parts.shape[axis]) > 1) {
      const size = fixed('ReduceProd', parts.shape[axis]);
      const half = Math.floor(size / 2);
      const both = E.mul(slice(parts, axis, 0, half), slice(parts, axis, half, 2 * half));
      parts = size % 2 === 0 ? both : concat([both, slice(parts, axis, size - 1, size)], axis);
    }
    return parts;
  }, x);
}
const meanOf: Reduction = (x, axes) => onFloats((t) => R.reduceMean(t, axes))(x);

/** The first or last position of the largest value along an axis. */
const position =
  (sign: 1 | -1): Operator['build'] =>
  (n) => {
    const x = n.x(0);
    const axis = axisOf('axis', n.attr.int('axis', 0), x.shape.length);
    const size = fixed('axis', x.shape[axis]);
    const values = sign === 1 ? x : E.neg(x);
    const places = constant(
      Float64Array.from({ length: size }, (_, i) => i),
      x.shape.map((_, i) => (i === axis ? size : 1)),
    );
    const top = E.equal(values, R.reduceMax(values, [axis]));
    const last = n.attr.int('select_last_index', 0) === 1;
    const found = last ? R.reduceMax(E.where(top, places, -1), [axis]) : R.reduceMin(E.where(top, places, size), [axis]);
    const index = E.cast(found, 'int64');
    return n.attr.int('keepdims', 1) === 1 ? index : dropped(index, [axis]);
  };

function runningSum(n: NodeView): Tensor {
  const x = n.x(0);
  const axis = axisOf('axis', n.numbers(1, 'axis')[0] ?? 0, x.shape.length);
  const backwards = n.attr.int('reverse', 0) === 1;
  const turned = backwards ? flip(x, [axis]) : x;
  const sums = R.cumsum(turned, axis);
  const y = n.attr.int('exclusive', 0) === 1 ? E.sub(sums, turned) : sums;
  return backwards ? flip(y, [axis]) : y;
}

export const reduce: Operators = {
  ReduceSum: reduction(R.reduceSum, true),
  ReduceMean: reduction(meanOf),
  ReduceMax: reduction(R.reduceMax, true),
  ReduceMin: reduction(R.reduceMin, true),
  ReduceProd: { ...reduction(product, true), limits: `at most ${longest} values along an axis` },
  ReduceL1: reduction((x, axes) => R.reduceSum(E.abs(x), axes)),
  ReduceL2: reduction((x, axes) => R.norm(x, axes)),
  ReduceSumSquare: reduction(sumOfSquares),
  ReduceLogSum: reduction((x, axes) => E.log(R.reduceSum(x, axes))),
  ReduceLogSumExp: reduction(logSumExp),
  ArgMax: { build: position(1), gradient: 'none' },
  ArgMin: { build: position(-1), gradient: 'none' },
  CumSum: { build: runningSum, gradient: 'yes' },
};
