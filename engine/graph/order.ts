/** @file The order in which nodes are written, and so computed: memory is given back as soon as it can be. */
import { leafOf } from './ops/leaf.ts';
import { elements, isSymbolic, multipleOf, type Node, type Tensor, topological } from './tensor.ts';

const BYTES = { float32: 4, float16: 2, int64: 8, uint8: 1, bool: 1 } as const;
/** Bytes of a value where the symbolic axis has length n. */
export function sizeInBytes({ shape, dtype }: Tensor, n = 1): number {
  const size = elements(shape);
  return BYTES[dtype] * (isSymbolic(size) ? multipleOf(size) * n : size);
}

/**
 * A topological order. Of the nodes that could come next, the first that needs no more memory than it gives back; where there is none, the next
 * one depth first. So a filter's gradient is computed as soon as its map's is: depth first alone would keep the gradients of all maps to the end.
 */
export function frugalOrder(roots: readonly Tensor[]): Node[] {
  const deep = topological(roots);
  const waiting = new Map<Node, number>(); // inputs that are not there yet
  const users = new Map<Node, Node[]>();
  const uses = new Map<Tensor, number>(); // nodes that still need a value
  for (const node of deep) {
    const own = new Set(node.inputs);
    const makers = new Set(node.inputs.map((t) => t.node));
    waiting.set(node, makers.size);
    for (const maker of makers) {
      const known = users.get(maker);
      if (known) known.push(node);
      else users.set(maker, [node]);
    }
    for (const t of own) uses.set(t, (uses.get(t) ?? 0) + 1);
  }
  for (const t of roots) uses.set(t, Number.POSITIVE_INFINITY);
  const order: Node[] = [];
  const done = new Set<Node>();
  let frugal: Node[] = []; // ready, and no more memory afterwards
  const growth = (node: Node): number => {
    const made = node.outputs.reduce((sum, t) => sum + (uses.has(t) ? sizeInBytes(t) : 0), 0);
    const freed = [...new Set(node.inputs)].filter((t) => uses.get(t) === 1 && !leafOf(t));
    return made - freed.reduce((sum, t) => sum + sizeInBytes(t), 0);
  };
  const finish = (node: Node): void => {
    done.add(node);
    order.push(node);
    const touched = new Set<Node>();
    for (const t of new Set(node.inputs)) {
      uses.set(t, uses.get(t)! - 1);
      if (uses.get(t) === 1) for (const user of users.get(t.node) ?? []) touched.add(user);
    }
    for (const user of users.get(node) ?? []) {
      waiting.set(user, waiting.get(user)! - 1);
      touched.add(user);
    }
    for (const other of touched) if (!done.has(other) && waiting.get(other) === 0 && growth(other) <= 0) frugal.push(other);
  };
  for (const node of deep) {
    if (!done.has(node)) finish(node);
    while (frugal.length > 0) {
      const now = frugal;
      frugal = [];
      for (const next of now) if (!done.has(next) && growth(next) <= 0) finish(next);
    }
  }
  return order;
}
