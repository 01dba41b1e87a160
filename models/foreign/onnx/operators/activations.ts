/** @file ONNX activations. */
import * as E from '../../../../engine/graph/ops/elementwise.ts';
import { fill, reshape } from '../../../../engine/graph/ops/movement.ts';
import { reduceMax, reduceSum, softmax } from '../../../../engine/graph/ops/reduce.ts';
import { axisOf, type Dim, elements, isSymbolic, multipleOf, scaleDim, type Tensor } from '../../../../engine/graph/tensor.ts';
import type { NodeView, Operator, Operators } from '../node.ts';

const of = (f: (x: Tensor, n: NodeView) => Tensor): Operator => ({ build: (n) => f(n.x(0), n), gradient: 'yes' });

/** α(eˣ − 1) for x ≤ 0, where e is not taken of large numbers. */
const exponential = (x: Tensor, alpha: number, scale = 1): Tensor => E.mul(E.sub(E.exp(E.mul(E.minimum(x, 0), scale)), 1), alpha);
const elu = (x: Tensor, alpha: number): Tensor => E.where(E.greater(x, 0), x, exponential(x, alpha));

function hardSigmoid(x: Tensor, alpha: number, beta: number): Tensor {
  return E.clamp(E.add(E.mul(x, alpha), beta), 0, 1);
}
function prelu(x: Tensor, n: NodeView): Tensor {
  return E.where(E.greater(x, 0), x, E.mul(x, n.x(1)));
}
function shrink(x: Tensor, n: NodeView): Tensor {
  const [lambd, bias] = [n.attr.float('lambd', 0.5), n.attr.float('bias', 0)];
  return E.where(E.less(x, -lambd), E.add(x, bias), E.where(E.greater(x, lambd), E.sub(x, bias), E.mul(x, 0)));
}

/** The largest value is taken off first: numbers far from 0 keep their digits. It carries no gradient, it cancels. */
function logSoftmax(x: Tensor, axis: number): Tensor {
  const shifted = E.sub(x, E.stop(reduceMax(x, [axis])));
  return E.sub(shifted, E.log(reduceSum(E.exp(shifted), [axis])));
}

const product = (shape: readonly Dim[]): Dim => {
  const n = elements(shape);
  return isSymbolic(n) ? scaleDim('N', multipleOf(n)) : n;
};
/** Along one axis; before opset 13 over all axes from it on. */
const along =
  (f: (x: Tensor, axis: number) => Tensor) =>
  (x: Tensor, n: NodeView): Tensor => {
    const axis = axisOf('axis', n.attr.int('axis', n.opset < 13 ? 1 : -1), Math.max(x.shape.length, 1));
    if (n.opset >= 13 || axis === x.shape.length - 1) return f(x, axis);
    return reshape(f(reshape(x, [product(x.shape.slice(0, axis)), product(x.shape.slice(axis))]), 1), x.shape);
  };

const [SELU_ALPHA, SELU_GAMMA] = [1.6732631921768188, 1.0507010221481323]; // defaults of the operator

export const activations: Operators = {
  Relu: of(E.relu),
  LeakyRelu: of((x, n) => E.leakyRelu(x, n.attr.float('alpha', 0.01))),
  PRelu: of(prelu),
  ThresholdedRelu: of((x, n) => E.where(E.greater(x, n.attr.float('alpha', 1)), x, fill(0, []))),
  Elu: of((x, n) => elu(x, n.attr.float('alpha', 1))),
  Celu: of((x, n) => {
    const alpha = n.attr.float('alpha', 1);
    return E.where(E.greater(x, 0), x, exponential(x, alpha, 1 / alpha));
  }),
  Selu: of((x, n) => E.mul(elu(x, n.attr.float('alpha', SELU_ALPHA)), n.attr.float('gamma', SELU_GAMMA))),
  Sigmoid: of(E.sigmoid),
  HardSigmoid: of((x, n) => hardSigmoid(x, n.attr.float('alpha', 0.2), n.attr.float('beta', 0.5))),
  HardSwish: of((x) => E.mul(x, hardSigmoid(x, 1 / 6, 0.5))),
  Softplus: of(E.softplus),
  Softsign: of((x) => E.div(x, E.add(E.abs(x), 1))),
  Mish: of(E.mish),
  Gelu: of((x, n) => (n.attr.string('approximate', 'none') === 'tanh' ? E.geluTanh(x) : E.gelu(x))),
  Shrink: of(shrink),
  Softmax: of(along(softmax)),
  LogSoftmax: of(along(logSoftmax)),
  'com.microsoft.QuickGelu': of((x, n) => {
    const alpha = n.attr.float('alpha', 1.702);
    return alpha === 1 ? E.silu(x) : E.mul(x, E.sigmoid(E.mul(x, alpha)));
  }),
};
