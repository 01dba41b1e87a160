/** @file Cases of operations that move values. */
import { gradients } from '../../graph/gradients.ts';
import { after, barrier } from '../../graph/ops/barrier.ts';
import { add, cast, mul, square } from '../../graph/ops/elementwise.ts';
import { constant } from '../../graph/ops/leaf.ts';
import * as M from '../../graph/ops/movement.ts';
import { sum } from '../../graph/ops/reduce.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { float, type OpCase, smooth } from '../gradcheck.ts';

/** Squares, so that the second order is not zero throughout. */
const squared =
  (f: (x: Tensor) => Tensor) =>
  (x: Tensor): Tensor =>
    square(f(x));
const move = (op: string, title: string, shape: readonly number[], f: (x: Tensor) => Tensor): OpCase =>
  smooth(op, title, [float(shape)], squared(f));
/** The adjoint of a linear map, as a map of its cotangent. */
const adjoint =
  (shape: readonly number[], f: (x: Tensor) => Tensor) =>
  (y: Tensor): Tensor => {
    const x = mul(sum(y), M.fill(0, shape));
    return gradients(sum(mul(f(x), y)), [x])[0]!;
  };

export const movementCases: readonly OpCase[] = [
  smooth('barrier', 'behind a value', [float([2, 3])], (x) => square(barrier(square(x), after([x, sum(x)])))),
  smooth('barrier', 'of a scalar, behind a sum', [float([4])], (x) => square(barrier(sum(x), after([square(x)])))),
  smooth('after', 'as a number', [float([3])], (x) => square(add(x, cast(after([x]), 'float32')))),
  move('reshape', 'merges and splits', [2, 3, 4], (x) => M.reshape(x, [4, -1])),
  move('reshape', 'twice', [2, 3, 4], (x) => M.reshape(M.reshape(x, [24]), [3, 8])),
  move('transpose', 'cycle', [2, 3, 4], (x) => M.transpose(x, [2, 0, 1])),
  move('swapLast', 'of four axes', [2, 1, 3, 4], M.swapLast),
  move('expand', 'rows', [3, 1], (x) => M.expand(x, [2, 3, 4])),
  move('expand', 'scalar', [], (x) => M.expand(x, [2, 2])),
  smooth('fill', 'as a factor', [float([3])], (x) => mul(M.fill(1.5, [2, 3]), square(x))),
  move('slice', 'middle', [3, 6], (x) => M.slice(x, 1, 1, 4)),
  move('slice', 'from the end', [3, 6], (x) => M.slice(x, -1, -4, -1)),
  move('slice', 'step 2 to the end', [2, 7, 2], (x) => M.slice(x, 1, 0, undefined, 2)),
  move('slice', 'step 2 that stops short', [2, 7, 2], (x) => M.slice(x, 1, 1, 5, 2)),
  move('slice', 'step 3, remainder 1', [7], (x) => M.slice(x, 0, 0, 7, 3)),
  move('slice', 'step 3, remainder 2', [8], (x) => M.slice(x, 0, 0, 8, 3)),
  move('slice', 'step longer than the range', [5, 2], (x) => M.slice(x, 0, 3, 5, 4)),
  smooth(
    'place',
    'one after the other',
    [float([2, 3])],
    adjoint([2, 7], (x) => M.slice(x, 1, 2, 5)),
  ),
  smooth(
    'place',
    'step 2 to the end',
    [float([2, 4])],
    adjoint([2, 7], (x) => M.slice(x, 1, 0, undefined, 2)),
  ),
  smooth(
    'place',
    'step 3 from 1, two left over',
    [float([2, 2, 2])],
    adjoint([2, 7, 2], (x) => M.slice(x, 1, 1, 5, 3)),
  ),
  move('pad', 'both sides', [2, 3], (x) => M.pad(x, 1, 2, 1)),
  move('pad', 'cropped before, grown after', [2, 5], (x) => M.pad(x, 1, -2, 3)),
  move('pad', 'grown before, cropped after', [5, 2], (x) => M.pad(x, 0, 1, -2)),
  smooth('concat', 'three', [float([2, 1]), float([2, 3]), float([2, 2])], (a, b, c) => square(M.concat([a, b, c], 1))),
  smooth('concat', 'a value twice', [float([3, 2])], (a) => square(M.concat([a, a], 0))),
  smooth('concat', 'with constants', [float([2, 2])], (a) =>
    square(M.concat([constant(Float32Array.of(1, 2), [2, 1]), a, constant(Float32Array.of(3, 4), [2, 1])], 1)),
  ),
  move('flip', 'one axis', [2, 5], (x) => mul(M.flip(x, [1]), x)),
  move('flip', 'two axes of four', [2, 1, 3, 4], (x) => mul(M.flip(x, [2, -1]), x)),
  move('unpack', 'all parts', [9], (x) => {
    const [a, b, c] = M.unpack(x, [[2], [2, 3], []]);
    return add(mul(b!, c!), M.reshape(a!, [2, 1]));
  }),
  move('unpack', 'one part unused', [8], (x) => M.unpack(x, [[2], [3, 1], [3]])[1]!),
  move('split', 'unequal parts', [2, 6], (x) => {
    const [a, b, c] = M.split(x, [1, 2, 3], 1);
    return M.concat([c!, mul(a!, b!)], 1);
  }),
  move('unsqueeze', 'inside', [2, 3], (x) => mul(M.unsqueeze(x, 1), x)),
  move('unsqueeze', 'at the end', [2, 3], (x) => M.unsqueeze(x, -1)),
  move('sumTo', 'new and kept axes', [2, 3, 4], (x) => M.sumTo(x, [3, 1])),
  move('pixelShuffle', 'by 2', [1, 8, 2, 3], (x) =>
    mul(
      M.pixelShuffle(x, 2),
      constant(
        Float32Array.from({ length: 6 }, (_, i) => i),
        [6],
      ),
    ),
  ),
  move('pixelUnshuffle', 'by 2', [1, 2, 4, 6], (x) => mul(M.pixelUnshuffle(x, 2), constant(Float32Array.of(1, 2, 3), [3]))),
];
