/**
 * @file Values that are used again only after others are there: recomputed parts of a graph are kept from being merged with, or run beside,
 * what they repeat.
 */
import { apply, type Op, ShapeError, type Tensor } from '../tensor.ts';
import { ELEMENT_TYPE } from './elementwise.ts';

/** A whole number that is always 0 and that no optimizer of graphs knows before all inputs are computed. */
const afterOp: Op<null> = {
  name: 'after',
  infer: () => [{ shape: [], dtype: 'int64' }],
  vjp: null,
  onnx(_, inputs, emit) {
    // One value of each stands for all of it. That none is below −1 in size is no news, but nobody proves it: not even of NaN.
    const firsts = inputs.map((x) => {
      const flat = emit.node('Reshape', [x, emit.ints([-1])]);
      return emit.node('Slice', [flat, emit.ints([0]), emit.ints([1]), emit.ints([0])]);
    });
    const all = firsts.length === 1 ? firsts[0]! : emit.node('Concat', firsts, { axis: 0 });
    const never = emit.node('Less', [emit.node('Abs', [all]), emit.scalar(-1)]);
    const zeros = emit.node('Cast', [never], { to: ELEMENT_TYPE.int64 });
    return [emit.node('ReduceSum', [zeros, emit.ints([0])], { keepdims: 0 })];
  },
  reference: () => [Float64Array.of(0)],
};

/** The number 0, which is there once all of `values` (float32, not empty) are. */
export const after = (values: readonly Tensor[]): Tensor => apply(afterOp, values, null);

const barrierOp: Op<null> = {
  name: 'barrier',
  infer([x, zero]) {
    if (zero!.dtype !== 'int64' || zero!.shape.length > 0)
      throw new ShapeError(`barrier: waits for a number of after(), got ${zero!.dtype}`);
    return [{ shape: x!.shape, dtype: x!.dtype }];
  },
  vjp: (_, [dy]) => [dy!, null],
  onnx({ outputs: [y] }, [x, zero], emit) {
    // x − 0 is x to the last bit, and is written over x where that is its last use. A reshape by sizes that depend on `zero` would cost nothing, but
    // ONNX Runtime's optimizer fails on it (1.30), and shapes behind it would be unknown.
    const { dtype } = y!;
    if (dtype === 'float32') return [emit.node('Sub', [x!, emit.node('Cast', [zero!], { to: ELEMENT_TYPE.float32 })])];
    return [emit.node('Where', [emit.node('Cast', [zero!], { to: ELEMENT_TYPE.bool }), x!, x!])];
  },
  reference: ([x]) => [x!.data.slice()],
};

/** `x`, not before `zero`, which `after` made. */
export const barrier = (x: Tensor, zero: Tensor): Tensor => apply(barrierOp, [x, zero], null);
