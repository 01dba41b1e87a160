/**
 * @file Elementwise arithmetic. Broadcasting follows NumPy; the backward pass undoes it once, in gradients().
 * Gradients at kinks: abs, relu and sign give 0 at 0; maximum and minimum give all to the first operand on a tie; clamp passes at its bounds.
 */
import {
  apply,
  type Dim,
  type DType,
  type Emitter,
  type Op,
  type Shape,
  ShapeError,
  show,
  type Tensor,
  type TensorType,
} from '../tensor.ts';
import { constant } from './leaf.ts';
import { erf64 } from './special.ts';
import { cosNodes, nanNodes, orNodes, roundNodes, signNodes, sinNodes } from './webgpu-spellings.ts';

export type Operand = Tensor | number;

/** The shape of `a ∘ b`; `where` names the op in the error. */
export function broadcastShapes(where: string, a: TensorType, b: TensorType): Shape {
  const rank = Math.max(a.shape.length, b.shape.length);
  return Array.from({ length: rank }, (_, i): Dim => {
    const da = a.shape[a.shape.length - rank + i] ?? 1;
    const db = b.shape[b.shape.length - rank + i] ?? 1;
    if (da !== db && da !== 1 && db !== 1) throw new ShapeError(`${where}: cannot broadcast ${show(a)} with ${show(b)}`);
    return da === 1 ? db : da;
  });
}

/** For every position of `out`, the index into a tensor of `shape` broadcast to it. */
export function broadcastIndex(shape: readonly number[], out: readonly number[]): (flat: number) => number {
  const rank = out.length;
  const strides = new Array<number>(rank).fill(0);
  let stride = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    if (shape[i] !== 1) strides[rank - shape.length + i] = stride;
    stride *= shape[i]!;
  }
  return (flat) => {
    let index = 0;
    for (let i = rank - 1, rest = flat; i >= 0; i--) {
      const d = out[i]!;
      index += (rest % d) * strides[i]!;
      rest = Math.floor(rest / d);
    }
    return index;
  };
}

const count = (shape: readonly number[]): number => shape.reduce((n, d) => n * d, 1);

/** Applies `f` over broadcast operands. */
function mapBroadcast(
  inputs: readonly { shape: readonly number[]; data: Float64Array }[],
  out: readonly number[],
  f: (...x: number[]) => number,
): Float64Array {
  const at = inputs.map((v) => broadcastIndex(v.shape, out));
  return Float64Array.from({ length: count(out) }, (_, i) => f(...inputs.map((v, k) => v.data[at[k]!(i)]!)));
}

type BinaryVjp = (a: Tensor, b: Tensor, y: Tensor, dy: Tensor) => readonly [Tensor | null, Tensor | null];
type UnaryVjp = (x: Tensor, y: Tensor, dy: Tensor) => Tensor | null;

const lift = (x: Operand, dtype: DType): Tensor => (typeof x === 'number' ? constant(x, [], dtype) : x);

function binary(
  name: string,
  onnx: string | ((a: string, b: string, emit: Emitter) => string),
  f: (a: number, b: number) => number,
  vjp: BinaryVjp | null,
  result?: DType,
): (a: Operand, b: Operand) => Tensor {
  const op: Op<null> = {
    name,
    infer([a, b]) {
      if (a!.dtype !== b!.dtype) throw new ShapeError(`${name}: types differ in ${show(a!)} and ${show(b!)}`);
      return [{ shape: broadcastShapes(name, a!, b!), dtype: result ?? a!.dtype }];
    },
    vjp: vjp && (({ inputs: [a, b], outputs: [y] }, [dy]) => vjp(a!, b!, y!, dy!)),
    onnx: (_, [a, b], emit) => [typeof onnx === 'string' ? emit.node(onnx, [a!, b!]) : onnx(a!, b!, emit)],
    // Whole numbers stay whole: their quotients are cut off.
    reference: (inputs, { outputs: [y] }, [out]) => [
      mapBroadcast(inputs, out!, y!.dtype === 'int64' ? (p, q) => Math.trunc(f(p!, q!)) : f),
    ],
  };
  return (a, b) => {
    const dtype = typeof a === 'number' ? (typeof b === 'number' ? 'float32' : b.dtype) : a.dtype;
    return apply(op, [lift(a, dtype), lift(b, dtype)], null);
  };
}

function unary(
  name: string,
  onnx: string | ((x: string, emit: Emitter) => string),
  f: (x: number) => number,
  vjp: UnaryVjp | null,
): (x: Tensor) => Tensor {
  const op: Op<null> = {
    name,
    infer: ([x]) => [{ shape: x!.shape, dtype: x!.dtype }],
    vjp: vjp && (({ inputs: [x], outputs: [y] }, [dy]) => [vjp(x!, y!, dy!)]),
    onnx: (_, [x], emit) => [typeof onnx === 'string' ? emit.node(onnx, [x!]) : onnx(x!, emit)],
    reference: ([x]) => [x!.data.map(f)],
  };
  return (x) => apply(op, [x], null);
}

export const add = binary(
  'add',
  'Add',
  (a, b) => a + b,
  (_a, _b, _y, dy) => [dy, dy],
);
export const sub = binary(
  'sub',
  'Sub',
  (a, b) => a - b,
  (_a, _b, _y, dy) => [dy, neg(dy)],
);
export const mul = binary(
  'mul',
  'Mul',
  (a, b) => a * b,
  (a, b, _y, dy) => [mul(dy, b), mul(dy, a)],
);
export const div = binary(
  'div',
  'Div',
  (a, b) => a / b,
  (_a, b, y, dy) => {
    const da = div(dy, b);
    return [da, neg(mul(da, y))];
  },
);

export const less = binary('less', 'Less', (a, b) => Number(a < b), null, 'bool');
export const lessOrEqual = binary('lessOrEqual', 'LessOrEqual', (a, b) => Number(a <= b), null, 'bool');
export const greater = binary('greater', 'Greater', (a, b) => Number(a > b), null, 'bool');
export const greaterOrEqual = binary('greaterOrEqual', 'GreaterOrEqual', (a, b) => Number(a >= b), null, 'bool');
export const equal = binary('equal', 'Equal', (a, b) => Number(a === b), null, 'bool');
export const and = binary('and', 'And', (a, b) => Number(a !== 0 && b !== 0), null, 'bool');
export const or = binary('or', orNodes, (a, b) => Number(a !== 0 || b !== 0), null, 'bool');
export const not = unary('not', 'Not', (x) => Number(x === 0), null);

export const maximum = binary('maximum', 'Max', Math.max, (a, b, _y, dy) => {
  const first = greaterOrEqual(a, b);
  return [where(first, dy, 0), where(first, 0, dy)];
});
export const minimum = binary('minimum', 'Min', Math.min, (a, b, _y, dy) => {
  const first = lessOrEqual(a, b);
  return [where(first, dy, 0), where(first, 0, dy)];
});

/** The angle of the point (x, y), in (−π, π]. ONNX has no such operator: arctangent of the quotient, moved to the right quadrant. */
export const atan2 = binary(
  'atan2',
  (y, x, emit) => {
    const zero = emit.scalar(0);
    const origin = emit.node('And', [emit.node('Equal', [x, zero]), emit.node('Equal', [y, zero])]);
    const angle = emit.node('Where', [
      origin,
      zero,
      emit.node('Atan', [emit.node('Div', [y, emit.node('Where', [origin, emit.scalar(1), x])])]),
    ]);
    const half = emit.node('Where', [emit.node('Less', [y, zero]), emit.scalar(-Math.PI), emit.scalar(Math.PI)]);
    return emit.node('Add', [angle, emit.node('Where', [emit.node('Less', [x, zero]), half, zero])]);
  },
  Math.atan2,
  (y, x, _angle, dy) => {
    const r2 = add(mul(x, x), mul(y, y));
    return [div(mul(dy, x), r2), neg(div(mul(dy, y), r2))];
  },
);

const sigmoid64 = (x: number): number => (x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x)));

export const neg: (x: Tensor) => Tensor = unary(
  'neg',
  'Neg',
  (x) => -x,
  (_x, _y, dy) => neg(dy),
);
export const exp = unary('exp', 'Exp', Math.exp, (_x, y, dy) => mul(dy, y));
export const log = unary('log', 'Log', Math.log, (x, _y, dy) => div(dy, x));
export const sqrt = unary('sqrt', 'Sqrt', Math.sqrt, (_x, y, dy) => div(mul(dy, 0.5), y));
export const sin: (x: Tensor) => Tensor = unary('sin', sinNodes, Math.sin, (x, _y, dy) => mul(dy, cos(x)));
export const cos: (x: Tensor) => Tensor = unary('cos', cosNodes, Math.cos, (x, _y, dy) => neg(mul(dy, sin(x))));
export const atan = unary('atan', 'Atan', Math.atan, (x, _y, dy) => div(dy, add(mul(x, x), 1)));
export const tanh = unary('tanh', 'Tanh', Math.tanh, (_x, y, dy) => mul(dy, sub(1, mul(y, y))));
export const sigmoid = unary('sigmoid', 'Sigmoid', sigmoid64, (_x, y, dy) => mul(dy, mul(y, sub(1, y))));
export const erf = unary('erf', 'Erf', erf64, (x, _y, dy) => mul(dy, mul(exp(neg(mul(x, x))), 2 / Math.sqrt(Math.PI))));
export const sign = unary(
  'sign',
  signNodes,
  (x) => Math.sign(x),
  () => null,
);
export const floor = unary('floor', 'Floor', Math.floor, () => null);
export const round = unary(
  'round',
  roundNodes,
  (x) => (Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x)),
  () => null,
);
export const abs = unary('abs', 'Abs', Math.abs, (x, _y, dy) => mul(dy, sign(x)));
export const relu = unary(
  'relu',
  'Relu',
  (x) => Math.max(x, 0),
  (_x, y, dy) => mul(dy, sign(y)),
);
/** ln(1 + eˣ), a primitive so that its slope at 0 is exactly ½. */
export const softplus = unary(
  'softplus',
  'Softplus',
  (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
  (x, _y, dy) => mul(dy, sigmoid(x)),
);
const gatedOp: Op<{ readonly slope: number }> = {
  name: 'gated',
  infer: ([x]) => [{ shape: x!.shape, dtype: x!.dtype }],
  // σ(ax) (1 + a·x·σ(−ax)): the second factor is an op of this kind again.
  vjp({ inputs: [x], attrs: { slope } }, [dy]) {
    const [s, rest] = [sigmoid(scaled(x!, slope)), scaled(gated(x!, -slope), slope)];
    return [mul(mul(dy!, s), add(rest, 1))];
  },
  onnx({ attrs: { slope } }, [x], emit) {
    if (emit.target === 'cpu') return [emit.node('QuickGelu', [x!], { alpha: { float: slope } }, 'com.microsoft')];
    const inner = slope === 1 ? x! : emit.node('Mul', [x!, emit.scalar(slope)]);
    return [emit.node('Mul', [x!, emit.node('Sigmoid', [inner])])];
  },
  reference: ([x], { attrs: { slope } }) => [x!.data.map((v) => v * sigmoid64(slope * v))],
};
const scaled = (x: Tensor, by: number): Tensor => (by === 1 ? x : mul(x, by));
/** x·sigmoid(slope·x). */
const gated = (x: Tensor, slope: number): Tensor => apply(gatedOp, [x], { slope });
/** x·sigmoid(x). */
export const silu = (x: Tensor): Tensor => gated(x, 1);
/** The value without its gradient. */
export const stop = unary(
  'stop',
  (x) => x,
  (x) => x,
  () => null,
);
/** True where the value is NaN. */
// biome-ignore lint/suspicious/noShadowRestrictedNames: the name that array libraries give it
export const isNaN = ((): ((x: Tensor) => Tensor) => {
  const op: Op<null> = {
    name: 'isNaN',
    infer: ([x]) => [{ shape: x!.shape, dtype: 'bool' }],
    vjp: null,
    onnx: (_, [x], emit) => [nanNodes(x!, emit)],
    reference: ([x]) => [x!.data.map((v) => Number(Number.isNaN(v)))],
  };
  return (x) => apply(op, [x], null);
})();

const powOp: Op<{ readonly exponent: number }> = {
  name: 'pow',
  infer: ([x]) => [{ shape: x!.shape, dtype: x!.dtype }],
  vjp: ({ inputs: [x], attrs: { exponent } }, [dy]) => [mul(dy!, mul(pow(x!, exponent - 1), exponent))],
  onnx: ({ attrs }, [x], emit) => [emit.node('Pow', [x!, emit.scalar(attrs.exponent)])],
  reference: ([x], { attrs }) => [x!.data.map((v) => v ** attrs.exponent)],
};
/** x to a fixed power. */
export function pow(x: Tensor, exponent: number): Tensor {
  if (exponent === 0) return add(mul(x, 0), 1);
  if (exponent === 1) return x;
  return exponent === 2 ? mul(x, x) : apply(powOp, [x], { exponent });
}

const whereOp: Op<null> = {
  name: 'where',
  infer([c, a, b]) {
    if (c!.dtype !== 'bool' || a!.dtype !== b!.dtype)
      throw new ShapeError(`where: needs (bool, T, T), got ${show(c!)}, ${show(a!)}, ${show(b!)}`);
    const values = { shape: broadcastShapes('where', a!, b!), dtype: a!.dtype };
    return [{ shape: broadcastShapes('where', c!, values), dtype: a!.dtype }];
  },
  vjp: ({ inputs: [c] }, [dy]) => [null, where(c!, dy!, 0), where(c!, 0, dy!)],
  onnx: (_, inputs, emit) => [emit.node('Where', inputs)],
  reference: (inputs, _, [out]) => [mapBroadcast(inputs, out!, (c, a, b) => (c ? a! : b!))],
};
/** a where the condition holds, b elsewhere. */
export function where(condition: Tensor, a: Operand, b: Operand): Tensor {
  const dtype = typeof a === 'number' ? (typeof b === 'number' ? 'float32' : b.dtype) : a.dtype;
  return apply(whereOp, [condition, lift(a, dtype), lift(b, dtype)], null);
}

const clampOp: Op<{ readonly low: number; readonly high: number }> = {
  name: 'clamp',
  infer: ([x]) => [{ shape: x!.shape, dtype: x!.dtype }],
  vjp: ({ inputs: [x], attrs: { low, high } }, [dy]) => [where(and(greaterOrEqual(x!, low), lessOrEqual(x!, high)), dy!, 0)],
  onnx: ({ inputs: [x], attrs }, [name], emit) => [
    emit.node('Clip', [name!, emit.scalar(attrs.low, x!.dtype), emit.scalar(attrs.high, x!.dtype)]),
  ],
  reference: ([x], { attrs: { low, high } }) => [x!.data.map((v) => Math.min(Math.max(v, low), high))],
};
/** x limited to [low, high]. */
export const clamp = (x: Tensor, low: number, high: number): Tensor => apply(clampOp, [x], { low, high });

interface CastAttrs {
  readonly to: DType;
  readonly apart?: number;
}
const castOp: Op<CastAttrs> = {
  name: 'cast',
  infer: ([x], { to }) => [{ shape: x!.shape, dtype: to }],
  vjp: ({ inputs: [x], attrs: { to } }, [dy]) => [isFloat(x!.dtype) && isFloat(to) ? cast(dy!, x!.dtype) : null],
  onnx({ inputs, attrs: { to, apart } }, [x], emit) {
    // ONNX Runtime merges what is computed twice. A slice up to a number beyond the end is all of it, and another one for every number.
    const size = inputs[0]!.shape[0];
    const own = apart === undefined ? x! : emit.node('Slice', [x!, emit.ints([0]), emit.ints([Number(size) + apart]), emit.ints([0])]);
    return [emit.node('Cast', [own], { to: ELEMENT_TYPE[to] })];
  },
  reference: ([x], { attrs: { to } }) => [x!.data.map(to === 'int64' ? Math.trunc : to === 'bool' ? (v) => Number(v !== 0) : (v) => v)],
};
const isFloat = (d: DType): boolean => d === 'float32' || d === 'float16';
/** ONNX numbers of the element types. */
export const ELEMENT_TYPE: Readonly<Record<DType, number>> = { float32: 1, uint8: 2, int64: 7, bool: 9, float16: 10 };
export const cast = (x: Tensor, to: DType): Tensor => (x.dtype === to ? x : apply(castOp, [x], { to }));
/** The same as a value of its own: casts of other numbers (0, 1, …) are not merged with it, so that each may live where it is used. Not of scalars. */
export const castApart = (x: Tensor, to: DType, apart: number): Tensor => apply(castOp, [x], { to, apart });

export const square = (x: Tensor): Tensor => mul(x, x);
export const reciprocal = (x: Tensor): Tensor => div(1, x);
export const rsqrt = (x: Tensor): Tensor => div(1, sqrt(x));
export const log1p = (x: Tensor): Tensor => log(add(x, 1));
/** GELU with the exact error function. */
export const gelu = (x: Tensor): Tensor => mul(mul(x, 0.5), add(erf(mul(x, Math.SQRT1_2)), 1));
/** GELU by the tanh approximation. Hendrycks and Gimpel 2016. */
export const geluTanh = (x: Tensor): Tensor =>
  mul(mul(x, 0.5), add(tanh(mul(add(x, mul(mul(square(x), x), 0.044715)), Math.sqrt(2 / Math.PI))), 1));
/** x·sigmoid(1.702 x), as CLIP uses it. */
export const quickGelu = (x: Tensor): Tensor => gated(x, 1.702);
/** ln sigmoid(x), without overflow. */
export const logSigmoid = (x: Tensor): Tensor => neg(softplus(neg(x)));
export const leakyRelu = (x: Tensor, slope: number): Tensor => where(greater(x, 0), x, mul(x, slope));
export const mish = (x: Tensor): Tensor => mul(x, tanh(softplus(x)));
