/** @file How much memory a graph's values take while it runs, by when each is last used. */
import { leafOf } from './ops/leaf.ts';
import { frugalOrder, sizeInBytes } from './order.ts';
import type { Tensor } from './tensor.ts';

/** Ops whose result is their input's memory under another shape. */
const VIEWS = new Set(['reshape', 'stop', 'barrier']);

/**
 * The largest number of bytes of intermediate values alive at once, if nodes run in the order in which they are written and values are freed after their last use.
 * Leaves (inputs, states, weights) are not counted. An estimate: a runtime adds scratch space, and may compute in place.
 */
export function peakBytes(outputs: readonly Tensor[], n = 1): number {
  const { order, held, lastUse, ending } = lifetimes(outputs);
  let [alive, peak] = [0, 0];
  order.forEach((node, i) => {
    if (leafOf(node.outputs[0]!)) return;
    for (const t of node.outputs) if (held(t) === t && lastUse.has(t)) alive += sizeInBytes(t, n);
    peak = Math.max(peak, alive);
    for (const t of ending.get(i) ?? []) if (!leafOf(t)) alive -= sizeInBytes(t, n);
  });
  return peak;
}

function groupEnds(lastUse: ReadonlyMap<Tensor, number>): Map<number, Tensor[]> {
  const ends = new Map<number, Tensor[]>();
  for (const [t, i] of lastUse) {
    const own = ends.get(i);
    if (own) own.push(t);
    else ends.set(i, [t]);
  }
  return ends;
}

/**
 * The same where a value takes over the memory of a dead one of the very same shape and type, as ONNX Runtime plans it: memory of shapes that come
 * again is not given back in between, so that the maxima of different shapes add up.
 */
export function heldBytes(outputs: readonly Tensor[], n = 1): number {
  const { order, held, lastUse, ending } = lifetimes(outputs);
  const spans: { readonly bytes: number; readonly from: number; until: number }[] = [];
  const free = new Map<string, number[]>(); // dead memory by shape
  const owner = new Map<Tensor, number>();
  order.forEach((node, i) => {
    if (leafOf(node.outputs[0]!)) return;
    for (const t of node.outputs) {
      if (held(t) !== t || !lastUse.has(t)) continue;
      const span = free.get(keyOf(t))?.pop() ?? spans.push({ bytes: sizeInBytes(t, n), from: i, until: i }) - 1;
      spans[span]!.until = lastUse.get(t)!;
      owner.set(t, span);
    }
    for (const t of ending.get(i) ?? []) {
      const span = owner.get(t);
      if (span === undefined) continue;
      const list = free.get(keyOf(t));
      if (list) list.push(span);
      else free.set(keyOf(t), [span]);
    }
  });
  const change = new Float64Array(order.length + 2);
  for (const { bytes, from, until } of spans) {
    change[from]! += bytes;
    change[until + 1]! -= bytes;
  }
  let [alive, peak] = [0, 0];
  for (const by of change) {
    alive += by;
    peak = Math.max(peak, alive);
  }
  return peak;
}
const keyOf = ({ shape, dtype }: Tensor): string => `${dtype} ${shape.join()}`;

/** The order of computation, whose memory each tensor is, and where values are used last: outputs after the last node. */
function lifetimes(outputs: readonly Tensor[]) {
  const order = frugalOrder(outputs);
  const holder = new Map<Tensor, Tensor>(); // whose memory a tensor is
  const held = (t: Tensor): Tensor => holder.get(t) ?? t;
  const lastUse = new Map<Tensor, number>();
  order.forEach((node, i) => {
    const [first] = node.inputs;
    if (VIEWS.has(node.op.name) && first) holder.set(node.outputs[0]!, held(first));
    for (const t of node.inputs) lastUse.set(held(t), i);
  });
  for (const t of outputs) lastUse.set(held(t), order.length);
  return { order, held, lastUse, ending: groupEnds(lastUse) };
}
