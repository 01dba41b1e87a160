/** @file ONNX operators on single values: arithmetic, comparison, logic, rounding, casts. */
import * as E from '../../../../engine/graph/ops/elementwise.ts';
import { constant } from '../../../../engine/graph/ops/leaf.ts';
import type { Tensor } from '../../../../engine/graph/tensor.ts';
import { constantValues, isConstant, type NodeView, type Operator, type Operators } from '../node.ts';
import { elementType } from '../tensors.ts';

type Build = Operator['build'];
const unary =
  (f: (x: Tensor) => Tensor): Build =>
  (n) =>
    f(n.x(0));
const binary =
  (f: (a: Tensor, b: Tensor) => Tensor): Build =>
  (n) =>
    f(n.x(0), n.x(1));
/** Any number of operands. */
const chain =
  (f: (a: Tensor, b: Tensor) => Tensor): Build =>
  (n) =>
    n.inputs === 0 ? n.fail('has no inputs') : n.all().reduce((a, b) => f(a, b));

const isWhole = (t: Tensor): boolean => t.dtype === 'int64';
/** A float function of whole numbers too. */
export const asFloat = (t: Tensor): Tensor => E.cast(t, 'float32');
export const onFloats =
  (f: (x: Tensor) => Tensor): ((x: Tensor) => Tensor) =>
  (x) =>
    isWhole(x) ? E.cast(f(asFloat(x)), 'int64') : f(x);

const smooth = (f: (x: Tensor) => Tensor): Operator => ({ build: unary(f), gradient: 'yes' });
const arithmetic = (build: Build): Operator => ({ build, gradient: 'yes', sizes: true });
const comparison = (f: (a: Tensor, b: Tensor) => Tensor): Operator => ({ build: binary(f), gradient: 'none', sizes: true });
const stepwise = (f: (x: Tensor) => Tensor): Operator => ({ build: unary((x) => (isWhole(x) ? x : f(x))), gradient: 'zero', sizes: true });

const ceil = (x: Tensor): Tensor => E.neg(E.floor(E.neg(x)));
const exclusiveOr = (a: Tensor, b: Tensor): Tensor => E.or(E.and(a, E.not(b)), E.and(E.not(a), b));
/** Truth values as whole numbers, which comparisons of them need. */
const comparable = (t: Tensor): Tensor => (t.dtype === 'bool' ? E.cast(t, 'int64') : t);

const logOfRoot = (x: Tensor): Tensor => E.log(E.add(x, E.sqrt(E.add(E.mul(x, x), 1))));
const acosh = (x: Tensor): Tensor => E.log(E.add(x, E.sqrt(E.sub(E.mul(x, x), 1))));
const atanh = (x: Tensor): Tensor => E.mul(E.log(E.div(E.add(x, 1), E.sub(1, x))), 0.5);
const asinh = (x: Tensor): Tensor => E.mul(E.sign(x), logOfRoot(E.abs(x)));
const legOf = (x: Tensor): Tensor => E.sqrt(E.sub(1, E.mul(x, x)));

/** The remainder with the sign of the divisor, or with that of the dividend. */
function remainder(n: NodeView): Tensor {
  const [a, b] = [n.x(0), n.x(1)];
  const [x, y] = [asFloat(a), asFloat(b)];
  const truncated = (q: Tensor): Tensor => E.mul(E.sign(q), E.floor(E.abs(q)));
  const quotient = E.div(x, y);
  const rest = E.sub(x, E.mul((n.attr.int('fmod', 0) === 1 ? truncated : E.floor)(quotient), y));
  return isWhole(a) ? E.cast(E.round(rest), 'int64') : rest;
}

/** x to a power that may differ from value to value; of a negative x only whole powers are numbers. */
function varyingPower(x: Tensor, y: Tensor): Tensor {
  const size = E.exp(E.mul(y, E.log(E.abs(x))));
  const half = E.mul(y, 0.5);
  const odd = E.not(E.equal(E.floor(half), half));
  const whole = E.equal(E.floor(y), y);
  const negative = E.where(whole, E.where(odd, E.neg(size), size), Number.NaN);
  return E.where(E.equal(y, 0), 1, E.where(E.less(x, 0), negative, size));
}
function power(n: NodeView): Tensor {
  const [x, y] = [n.x(0), n.x(1)];
  const [exponent, ...more] = constantValues(y) ?? [];
  const scalar = isConstant(y) && more.length === 0 && y.shape.every((d) => d === 1) && y.shape.length <= x.shape.length;
  const base = asFloat(x);
  const raised = scalar ? E.pow(base, exponent!) : varyingPower(base, asFloat(y));
  // What is cut off to a whole number must not lie just below it.
  return isWhole(x) ? E.cast(E.mul(raised, 1 + 1e-6), 'int64') : raised;
}

function clip(n: NodeView): Tensor {
  const x = n.x(0);
  const bounds = [n.maybe(1), n.maybe(2)] as const;
  const known = bounds.map((b, i) => (b ? constantValues(b)?.[0] : [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY][i]));
  if (!isWhole(x) && known.every((v) => v !== undefined)) {
    const [low, high] = known as [number, number];
    if (low === Number.NEGATIVE_INFINITY && high === Number.POSITIVE_INFINITY) return x;
    return low <= high ? E.clamp(x, low, high) : E.add(E.mul(x, 0), high);
  }
  const raised = bounds[0] ? E.maximum(x, bounds[0]) : x;
  return bounds[1] ? E.minimum(raised, bounds[1]) : raised;
}

function casted(n: NodeView): Tensor {
  const { dtype } = elementType('it casts to what it', n.attr.int('to'));
  return E.cast(n.x(0), dtype);
}
function where(n: NodeView): Tensor {
  const [c, a, b] = [n.x(0), n.x(1), n.x(2)];
  if (a.dtype !== 'bool') return E.where(c, a, b);
  return E.or(E.and(c, a), E.and(E.not(c), b));
}
function isInfinite(n: NodeView): Tensor {
  const x = n.x(0);
  const [below, above] = [n.attr.int('detect_negative', 1), n.attr.int('detect_positive', 1)];
  const is = (on: number, v: number): Tensor => E.and(E.equal(x, v), constant(Uint8Array.of(on ? 1 : 0)));
  return E.or(is(below, Number.NEGATIVE_INFINITY), is(above, Number.POSITIVE_INFINITY));
}
const mean: Build = (n) => E.mul(chain(E.add)(n) as Tensor, 1 / n.inputs);

export const elementwise: Operators = {
  Add: arithmetic(binary(E.add)),
  Sub: arithmetic(binary(E.sub)),
  Mul: arithmetic(binary(E.mul)),
  Div: arithmetic(binary(E.div)),
  Mod: { build: remainder, gradient: 'yes', sizes: true, limits: 'whole numbers below 2²⁴' },
  Pow: { build: power, gradient: 'yes', limits: 'an exponent that is no constant has no gradient at x = 0' },
  Neg: arithmetic(unary(E.neg)),
  Abs: smooth(E.abs),
  Exp: smooth(E.exp),
  Log: smooth(E.log),
  Sqrt: smooth(E.sqrt),
  Reciprocal: smooth(E.reciprocal),
  Erf: smooth(E.erf),
  Sin: smooth(E.sin),
  Cos: smooth(E.cos),
  Tan: smooth((x) => E.div(E.sin(x), E.cos(x))),
  Asin: smooth((x) => E.atan2(x, legOf(x))),
  Acos: smooth((x) => E.atan2(legOf(x), x)),
  Atan: smooth(E.atan),
  Sinh: smooth((x) => E.mul(E.sub(E.exp(x), E.exp(E.neg(x))), 0.5)),
  Cosh: smooth((x) => E.mul(E.add(E.exp(x), E.exp(E.neg(x))), 0.5)),
  Tanh: smooth(E.tanh),
  Asinh: smooth(asinh),
  Acosh: smooth(acosh),
  Atanh: smooth(atanh),
  Sign: { build: unary(E.sign), gradient: 'zero' },
  Floor: stepwise(E.floor),
  Ceil: stepwise(ceil),
  Round: stepwise(E.round),
  Max: arithmetic(chain(E.maximum)),
  Min: arithmetic(chain(E.minimum)),
  Sum: arithmetic(chain(E.add)),
  Mean: { build: mean, gradient: 'yes' },
  Clip: { build: clip, gradient: 'yes' },
  Where: { build: where, gradient: 'yes', sizes: true },
  Equal: comparison((a, b) => E.equal(comparable(a), comparable(b))),
  Less: comparison(E.less),
  LessOrEqual: comparison(E.lessOrEqual),
  Greater: comparison(E.greater),
  GreaterOrEqual: comparison(E.greaterOrEqual),
  And: comparison(E.and),
  Or: comparison(E.or),
  Xor: comparison(exclusiveOr),
  Not: { build: unary(E.not), gradient: 'none', sizes: true },
  IsNaN: { build: unary(E.isNaN), gradient: 'none' },
  IsInf: { build: isInfinite, gradient: 'none' },
  Cast: {
    build: casted,
    gradient: 'yes',
    sizes: true,
    limits: 'to float16, bfloat16 and double: stays float32; to whole numbers: int64, none wraps around',
  },
  CastLike: { build: (n) => E.cast(n.x(0), n.x(1).dtype), gradient: 'yes', sizes: true, limits: 'as Cast' },
  Identity: { build: (n) => n.x(0), gradient: 'yes', sizes: true },
  Dropout: {
    build: (n) => (n.maybe(2) && n.numbers(2, 'training_mode')[0] ? n.fail('training_mode is on; export the model for inference') : n.x(0)),
    gradient: 'yes',
    limits: 'inference only, without mask',
  },
};
