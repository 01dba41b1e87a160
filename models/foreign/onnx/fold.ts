/** @file Constants computed while a graph is imported, in float64. */
import { constant, type LeafData, leafOf } from '../../../engine/graph/ops/leaf.ts';
import { evaluate } from '../../../engine/graph/reference.ts';
import { type DType, elements, type Node, type Tensor } from '../../../engine/graph/tensor.ts';

/** Values that are computed at once: what shapes, masks and tables are made of. */
const FOLDED = 2 ** 16;
/** Larger values on the way are not. */
const LARGEST = 16 * FOLDED;
/** Nodes that are looked at before a tensor is taken to be no constant. */
const FAR = 10_000;
/** Whether a tensor is made of small constants alone. Most are not, which is seen at the first input that is met. */
function isFoldable(t: Tensor): boolean {
  const seen = new Set<Node>([t.node]);
  const stack = [t.node];
  for (let node = stack.pop(); node; node = stack.pop()) {
    const leaf = leafOf(node.outputs[0]!);
    if (leaf ? leaf.kind !== 'constant' : node.outputs.some((o) => !(Number(elements(o.shape)) <= LARGEST))) return false;
    for (const { node: next, shape } of node.inputs) {
      if (!(Number(elements(shape)) <= LARGEST)) return false;
      if (!seen.has(next)) stack.push(next);
      seen.add(next);
    }
    if (seen.size > FAR) return false;
  }
  return true;
}

/** The constant that a tensor is, where it is made of small constants; else the tensor itself. */
export function computed(t: Tensor): Tensor {
  const size = elements(t.shape);
  if (typeof size !== 'number' || size > FOLDED || !isFoldable(t)) return t;
  return constant(toLeafData(evaluate([t])[0]!.data, t.dtype), t.shape, t.dtype);
}

const [LOWEST, HIGHEST] = [-(2n ** 63n), 2n ** 63n - 1n];
const toInt64 = (v: number): bigint => {
  if (Number.isNaN(v)) return 0n;
  if (Math.abs(v) >= 2 ** 63) return v < 0 ? LOWEST : HIGHEST;
  return BigInt(Math.trunc(v));
};
function toLeafData(data: Float64Array, dtype: DType): LeafData {
  if (dtype === 'int64') return BigInt64Array.from(data, toInt64);
  return dtype === 'bool' ? Uint8Array.from(data) : data;
}
