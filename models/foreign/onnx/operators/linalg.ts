/** @file ONNX matrix products. */
import { add, mul } from '../../../../engine/graph/ops/elementwise.ts';
import { matmul } from '../../../../engine/graph/ops/linalg.ts';
import { reshape, transpose, unsqueeze } from '../../../../engine/graph/ops/movement.ts';
import type { Tensor } from '../../../../engine/graph/tensor.ts';
import type { NodeView, Operators } from '../node.ts';
import { einsum } from './einsum.ts';

/** As NumPy: vectors become a row on the left and a column on the right, which are dropped again. */
export function product(a: Tensor, b: Tensor): Tensor {
  const [left, right] = [a.shape.length === 1, b.shape.length === 1];
  const y = matmul(left ? unsqueeze(a, 0) : a, right ? unsqueeze(b, 1) : b);
  const keep = y.shape.filter((_, i) => !(left && i === y.shape.length - 2) && !(right && i === y.shape.length - 1));
  return left || right ? reshape(y, keep) : y;
}

function gemm(n: NodeView): Tensor {
  const turned = (x: Tensor, on: number): Tensor => (on === 1 ? transpose(x, [1, 0]) : x);
  const scaled = (x: Tensor, by: number): Tensor => (by === 1 ? x : mul(x, by));
  const ab = matmul(turned(n.x(0), n.attr.int('transA', 0)), turned(n.x(1), n.attr.int('transB', 0)));
  const c = n.maybe(2);
  const y = scaled(ab, n.attr.float('alpha', 1));
  return c ? add(y, scaled(c, n.attr.float('beta', 1))) : y;
}

export const linalg: Operators = {
  MatMul: { build: (n) => product(n.x(0), n.x(1)), gradient: 'yes' },
  Gemm: { build: gemm, gradient: 'yes' },
  Einsum: { build: (n) => einsum(n.attr.string('equation'), n.all(), n.fail), gradient: 'yes' },
};
