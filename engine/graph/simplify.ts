/**
 * @file Rewrites a graph into a smaller one with the same values: common subexpressions, constants, identities such as x·1.
 * What is not reachable from the outputs disappears by itself.
 */
import { constant, type LeafAttrs, type LeafData, leafOf, leafOp, scalarValue } from './ops/leaf.ts';
import { concat } from './ops/movement.ts';
import { apply, applyAll, type Node, sameShape, sizeOf, type Tensor, topological } from './tensor.ts';

/** The outputs of the simplified graph, in order. */
export function simplify(outputs: readonly Tensor[]): Tensor[] {
  const now = new Map<Tensor, Tensor>();
  const known = new Map<string, Node>();
  const ids = new Map<Node, number>();
  for (const node of topological(outputs)) {
    const inputs = node.inputs.map((t) => now.get(t)!);
    const replaced = node.outputs.length === 1 ? identity(node, inputs) : null;
    if (replaced) {
      now.set(node.outputs[0]!, replaced);
      continue;
    }
    const key = keyOf(node, inputs, ids);
    let result = known.get(key);
    if (!result) {
      const folded = shared(fold(node, inputs), known, ids);
      result = folded ?? (inputs.every((t, i) => t === node.inputs[i]) ? node : applyAll(node.op, inputs, node.attrs)[0]!.node);
      known.set(key, result);
      if (!ids.has(result)) ids.set(result, ids.size);
    }
    node.outputs.forEach((t, i) => {
      now.set(t, result.outputs[i]!);
    });
  }
  return outputs.map((t) => now.get(t)!);
}

/** A computed constant may equal one that is there already. */
function shared(leaf: Node | null, known: Map<string, Node>, ids: Map<Node, number>): Node | null {
  if (!leaf) return null;
  const key = keyOf(leaf, [], ids);
  const result = known.get(key) ?? leaf;
  known.set(key, result);
  return result;
}

/** Nodes with the same key have the same values. */
function keyOf(node: Node, inputs: readonly Tensor[], ids: Map<Node, number>): string {
  const leaf = node.op === (leafOp as unknown) ? (node.attrs as LeafAttrs) : null;
  if (leaf) {
    const shape = leaf.shape.join();
    if (leaf.kind !== 'constant') return `${leaf.kind} ${leaf.label} ${shape} ${leaf.dtype}`;
    // Small constants by value; large ones are themselves.
    return leaf.data!.length <= 16 ? `constant ${leaf.dtype} ${shape} ${leaf.data!.join()}` : `constant #${numberOf(node, ids)}`;
  }
  return `${node.op.name} ${JSON.stringify(node.attrs)} ${inputs.map((t) => `${numberOf(t.node, ids)}.${t.index}`).join()}`;
}
function numberOf(node: Node, ids: Map<Node, number>): number {
  if (!ids.has(node)) ids.set(node, ids.size);
  return ids.get(node)!;
}

/** Constants computed ahead, unless the result would be much larger than what it is made of. */
function fold(node: Node, inputs: readonly Tensor[]): Node | null {
  if (inputs.length === 0 || node.outputs.length !== 1) return null;
  const leaves = inputs.map(leafOf);
  if (!leaves.every((l) => l?.kind === 'constant')) return null;
  const out = node.outputs[0]!;
  const size = sizeOf(out.shape);
  if (size > 64 && size > inputs.reduce((n, t) => n + sizeOf(t.shape), 0)) return null;
  const values = leaves.map((l) => ({
    shape: l!.shape as readonly number[],
    data: Float64Array.from(l!.data as ArrayLike<number | bigint>, Number),
  }));
  const [data] = node.op.reference(values, node, [out.shape as readonly number[]]);
  return constant(toLeafData(data!, out.dtype), out.shape, out.dtype).node;
}
function toLeafData(data: Float64Array, dtype: string): LeafData {
  if (dtype === 'int64') return BigInt64Array.from(data, (v) => BigInt(Math.trunc(v)));
  return dtype === 'bool' ? Uint8Array.from(data) : data.length <= 64 ? data : Float32Array.from(data);
}

/** The tensor that a node merely repeats, if any. */
function identity(node: Node, inputs: readonly Tensor[]): Tensor | null {
  const [a, b] = inputs;
  const y = node.outputs[0]!;
  const whole = (t: Tensor | undefined): Tensor | null => (t && sameShape(t.shape, y.shape) && t.dtype === y.dtype ? t : null);
  switch (node.op.name) {
    case 'add':
      return scalarValue(b!) === 0 ? whole(a) : scalarValue(a!) === 0 ? whole(b) : joined(a!, b!);
    case 'sub':
      return scalarValue(b!) === 0 ? whole(a) : null;
    case 'mul':
      return scalarValue(b!) === 1 ? whole(a) : scalarValue(a!) === 1 ? whole(b) : null;
    case 'div':
      return scalarValue(b!) === 1 ? whole(a) : null;
    case 'stop':
    case 'exact':
    case 'cast':
    case 'expand':
      return whole(a);
    case 'neg':
      return a!.node.op.name === 'neg' ? a!.node.inputs[0]! : null;
    case 'transpose':
      return transposed(node, a!);
    case 'reshape': {
      const source = a!.node.op.name === 'reshape' ? a!.node.inputs[0]! : a!;
      return whole(source);
    }
    default:
      return null;
  }
}

interface Placed {
  readonly axis: number;
  readonly start: number;
  readonly end: number;
  readonly step: number;
  readonly size: number;
}
const placed = (t: Tensor): Placed | null => (t.node.op.name === 'place' ? (t.node.attrs as Placed) : null);

/** The sum of two tensors that are zero but for neighbouring ranges is their concatenation: the gradient of a tensor that was cut into slices. */
function joined(a: Tensor, b: Tensor): Tensor | null {
  const [p, q] = [placed(a), placed(b)];
  if (!p || !q || p.axis !== q.axis || p.step !== 1 || q.step !== 1 || !sameShape(a.shape, b.shape)) return null;
  if (q.end === p.start) return joined(b, a);
  if (p.end !== q.start) return null;
  const both = concat([...partsOf(a.node.inputs[0]!, p.axis), ...partsOf(b.node.inputs[0]!, p.axis)], p.axis);
  return p.start === 0 && q.end === p.size ? both : apply(a.node.op, [both], { ...p, end: q.end });
}

const partsOf = (t: Tensor, axis: number): readonly Tensor[] =>
  t.node.op.name === 'concat' && (t.node.attrs as { readonly axis: number }).axis === axis ? t.node.inputs : [t];

/** Two transpositions that undo each other. */
function transposed(node: Node, x: Tensor): Tensor | null {
  const { perm } = node.attrs as { readonly perm: readonly number[] };
  if (perm.every((axis, i) => axis === i)) return x;
  if (x.node.op.name !== 'transpose') return null;
  const first = (x.node.attrs as { readonly perm: readonly number[] }).perm;
  return perm.every((axis, i) => first[axis] === i) ? x.node.inputs[0]! : null;
}
