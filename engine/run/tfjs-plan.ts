/** @file A program as a list of kernel calls, each with the values that are used for the last time by it: memory is given back there. */
import { type LeafAttrs, leafOf } from '../graph/ops/leaf.ts';
import { frugalOrder } from '../graph/order.ts';
import { simplify } from '../graph/simplify.ts';
import { bind, type Node, type Tensor } from '../graph/tensor.ts';
import type { Kernel } from './tfjs-kernel.ts';
import { kernelOf } from './tfjs-kernels.ts';
import type { Tf, Value } from './tfjs-library.ts';

interface Step {
  readonly node: Node;
  readonly kernel: Kernel<never>;
  /** Values that nobody needs afterwards, unused outputs of the node among them. */
  readonly last: readonly Tensor[];
}

export interface Plan {
  readonly leaves: readonly (LeafAttrs & { readonly tensor: Tensor })[];
  readonly steps: readonly Step[];
  /** The simplified outputs, in order. */
  readonly roots: readonly Tensor[];
}

/**
 * When what is computed, and how long it is needed.
 * @throws InputError for operations without a kernel
 */
export function planned(outputs: readonly Tensor[]): Plan {
  const roots = simplify(outputs);
  const order = frugalOrder(roots);
  const uses = new Map<Tensor, number>();
  for (const { inputs } of order) for (const t of inputs) uses.set(t, (uses.get(t) ?? 0) + 1);
  for (const t of roots) uses.set(t, Number.POSITIVE_INFINITY);
  const leaves: Plan['leaves'][number][] = [];
  const steps: Step[] = [];
  for (const node of order) {
    const [first] = node.outputs;
    const leaf = leafOf(first!);
    if (leaf) {
      leaves.push({ ...leaf, tensor: first! });
      continue;
    }
    for (const t of node.inputs) uses.set(t, uses.get(t)! - 1);
    const last = [...new Set([...node.inputs, ...node.outputs])].filter((t) => !uses.get(t));
    steps.push({ node, kernel: kernelOf(node.op.name), last });
  }
  return { leaves, steps, roots };
}

/** Values of a run: `lent` ones belong to somebody else. */
export class Values {
  private readonly own = new Map<Tensor, Value>();
  private readonly lent = new Map<Tensor, Value>();

  lend(tensor: Tensor, value: Value): void {
    this.lent.set(tensor, value);
  }
  keep(tensor: Tensor, value: Value): void {
    this.own.set(tensor, value);
  }
  get(tensor: Tensor): Value {
    return (this.own.get(tensor) ?? this.lent.get(tensor))!;
  }
  /** The value, which is the caller's from now on; a second name of it, in the same memory, where others have it too. */
  take(tf: Tf, tensor: Tensor): Value {
    return tf.clone(this.get(tensor));
  }
  free(tensor: Tensor): void {
    this.own.get(tensor)?.dispose();
    this.own.delete(tensor);
  }
  freeAll(): void {
    for (const value of this.own.values()) value.dispose();
    this.own.clear();
  }
}

/** Computes everything, with N = `n`. Leaves are there already. */
export function execute(tf: Tf, { steps }: Plan, values: Values, n: number): void {
  for (const { node, kernel, last } of steps) {
    const inputs = node.inputs.map((t) => values.get(t));
    const out = node.outputs.map(({ shape }) => bind(shape, n));
    const made = tf.tidy(() => {
      const results = kernel(inputs, { tf, attrs: node.attrs as never, node, out });
      const list = (Array.isArray(results) ? results : [results]) as Value[];
      // A tensor that was there before would be freed twice.
      return list.map((value) => (inputs.includes(value) ? tf.clone(value) : value));
    });
    node.outputs.forEach((t, i) => {
      values.keep(t, made[i]!);
    });
    for (const t of last) values.free(t);
  }
}
