/** @file Elementwise arithmetic on TensorFlow.js. What its backends disagree on is composed: NaN stays NaN, whole numbers divide towards zero. */
import { roundTo } from '../graph/precision.ts';
import type { DType } from '../graph/tensor.ts';
import { aligned, expanded, type Kernel, type Kernels, reshaped } from './tfjs-kernel.ts';
import type { Tf, Value } from './tfjs-library.ts';

type Unary = (tf: Tf, x: Value) => Value;
type Binary = (tf: Tf, a: Value, b: Value) => Value;

const unary =
  (f: Unary): Kernel =>
  ([x], { tf }) =>
    f(tf, x!);
const binary =
  (f: Binary): Kernel =>
  (inputs, { tf, out }) => {
    const [a, b] = aligned(tf, inputs, out[0]!) as [Value, Value];
    return reshaped(tf, f(tf, a, b), out[0]!);
  };

const scalar = (tf: Tf, like: Value, value: number): Value => tf.scalar(value, like.dtype as 'float32');
/** `y`, but x where x is not a number. */
const keepNaN = (tf: Tf, x: Value, y: Value): Value => (x.dtype === 'float32' ? tf.where(tf.isNaN(x), x, y) : y);
/** The larger or smaller one. WebAssembly drops a NaN of the second operand. */
export const extreme =
  (f: Binary): Binary =>
  (tf, a, b) => {
    const y = f(tf, a, b);
    return b.dtype === 'float32' ? keepNaN(tf, expanded(tf, b, y.shape), y) : y;
  };

/** Whole numbers are divided here, towards zero: kernels round down, and take them for floats. */
function divided(tf: Tf, a: Value, b: Value): Value {
  if (a.dtype !== 'int32') return tf.div(a, b);
  const shape = tf.add(a, b).shape;
  const [p, q] = [a, b].map((x) => expanded(tf, x, shape).dataSync()) as [Int32Array, Int32Array];
  return tf.tensor(
    p.map((v, i) => Math.trunc(v / q[i]!)),
    shape,
    'int32',
  );
}
/** Kernels of one operand take whole numbers for floats too, and lose digits beyond 2²⁴. */
const negative: Unary = (tf, x) => (x.dtype === 'int32' ? tf.sub(scalar(tf, x, 0), x) : tf.neg(x));
const size: Unary = (tf, x) => (x.dtype === 'int32' ? tf.maximum(x, negative(tf, x)) : tf.abs(x));
function sign(tf: Tf, x: Value): Value {
  if (x.dtype !== 'int32') return keepNaN(tf, x, tf.sign(x));
  const zero = scalar(tf, x, 0);
  return tf.sub(tf.cast(tf.greater(x, zero), 'int32'), tf.cast(tf.less(x, zero), 'int32'));
}

/** ln(1 + eˣ) with all its digits for large and small x. */
const softplus: Unary = (tf, x) => tf.add(tf.relu(x), tf.log1p(tf.exp(tf.neg(tf.abs(x)))));

const cast: Kernel<{ readonly to: DType }> = ([x], { tf, attrs: { to } }) => {
  if (to === 'bool') return tf.notEqual(x!, scalar(tf, x!, 0));
  if (to === 'int64' || to === 'uint8') return tf.cast(x!, 'int32');
  const wide = tf.cast(x!, 'float32');
  // No backend has 16-bit floats: their values are kept in 32 bits.
  return to === 'float16' ? tf.tensor(Float32Array.from(wide.dataSync(), roundTo.float16), wide.shape, 'float32') : wide;
};

const select: Kernel = ([condition, a, b], { tf, out: [shape] }) => {
  const [c, t, e] = [condition!, a!, b!].map((x) => expanded(tf, x, shape!)) as [Value, Value, Value];
  return tf.where(c, t, e);
};

const clamp: Kernel<{ readonly low: number; readonly high: number }> = ([x], { tf, attrs: { low, high } }) =>
  x!.dtype === 'float32'
    ? keepNaN(tf, x!, tf.clipByValue(x!, low, high))
    : tf.minimum(tf.maximum(x!, scalar(tf, x!, low)), scalar(tf, x!, high));

const gated: Kernel<{ readonly slope: number }> = ([x], { tf, attrs: { slope } }) =>
  tf.mul(x!, tf.sigmoid(slope === 1 ? x! : tf.mul(x!, slope)));

export const elementwiseKernels = {
  add: binary((tf, a, b) => tf.add(a, b)),
  sub: binary((tf, a, b) => tf.sub(a, b)),
  mul: binary((tf, a, b) => tf.mul(a, b)),
  div: binary(divided),
  less: binary((tf, a, b) => tf.less(a, b)),
  lessOrEqual: binary((tf, a, b) => tf.lessEqual(a, b)),
  greater: binary((tf, a, b) => tf.greater(a, b)),
  greaterOrEqual: binary((tf, a, b) => tf.greaterEqual(a, b)),
  equal: binary((tf, a, b) => tf.equal(a, b)),
  and: binary((tf, a, b) => tf.logicalAnd(a, b)),
  or: binary((tf, a, b) => tf.logicalOr(a, b)),
  not: unary((tf, x) => tf.logicalNot(x)),
  maximum: binary(extreme((tf, a, b) => tf.maximum(a, b))),
  minimum: binary(extreme((tf, a, b) => tf.minimum(a, b))),
  atan2: binary((tf, a, b) => tf.atan2(a, b)),
  neg: unary(negative),
  exp: unary((tf, x) => tf.exp(x)),
  log: unary((tf, x) => tf.log(x)),
  sqrt: unary((tf, x) => tf.sqrt(x)),
  sin: unary((tf, x) => tf.sin(x)),
  cos: unary((tf, x) => tf.cos(x)),
  atan: unary((tf, x) => tf.atan(x)),
  tanh: unary((tf, x) => tf.tanh(x)),
  sigmoid: unary((tf, x) => tf.sigmoid(x)),
  erf: unary((tf, x) => tf.erf(x)),
  sign: unary(sign),
  floor: unary((tf, x) => tf.floor(x)),
  round: unary((tf, x) => tf.round(x)),
  abs: unary(size),
  relu: unary((tf, x) => tf.relu(x)),
  softplus: unary(softplus),
  gated,
  stop: unary((tf, x) => tf.clone(x)),
  exact: unary((tf, x) => tf.clone(x)),
  barrier: unary((tf, x) => tf.clone(x)),
  after: (_, { tf }) => tf.scalar(0, 'int32'),
  isNaN: unary((tf, x) => tf.isNaN(x)),
  pow: (([x], { tf, attrs }) => tf.pow(x!, scalar(tf, x!, attrs.exponent))) satisfies Kernel<{ readonly exponent: number }>,
  where: select,
  clamp,
  cast,
} satisfies Kernels;
