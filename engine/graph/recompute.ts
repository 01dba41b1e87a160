/**
 * @file Gradient checkpointing: the forward pass keeps values at the borders of segments alone, and the backward pass computes the others again when it
 * comes to their segment. Chen et al. 2016, arXiv:1604.06174. Any cut of the order of computation is right; good ones are found by trying.
 */
import { heldBytes } from './memory.ts';
import { after, barrier } from './ops/barrier.ts';
import { leafOf, leafOp } from './ops/leaf.ts';
import { frugalOrder, sizeInBytes } from './order.ts';
import { applyAll, type Node, type Tensor, topological } from './tensor.ts';

/** Segments that are tried: about so many. */
const TRIED = [2, 3, 4, 6, 8, 12, 16, 24, 32];

/** What gradients were taken of, and in what. */
export interface Differentiated {
  readonly loss: Tensor;
  /** The states that they were taken in. */
  readonly trained: readonly Tensor[];
  /** What else the forward pass gives. */
  readonly beside?: readonly Tensor[];
}

/**
 * The same gradients, for less memory and up to one more forward pass: of several cuts that one whose estimated peak is least; as they were where none
 * is lower. Values are the same to the last bit where a runtime computes a repeated operation as it did the first;
 * ONNX Runtime may fuse it with other neighbours.
 */
export function recomputed(of: Differentiated, gradients: readonly Tensor[]): Tensor[] {
  const plan = planOf(of, gradients);
  const peakOf = (tensors: readonly Tensor[]): number => heldBytes([of.loss, ...(of.beside ?? []), ...tensors]);
  let best = { peak: peakOf(gradients), gradients: [...gradients] };
  for (const segments of TRIED) {
    const cut = rewritten(plan, gradients, segmentsOf(plan, segments));
    const peak = peakOf(cut);
    if (peak < best.peak) best = { peak, gradients: cut };
  }
  return best.gradients;
}

interface Plan {
  /** The forward pass in the order in which it is computed. */
  readonly forward: readonly Node[];
  /** Those on the way from what is trained to the loss, and what weights alone make: their values may be computed again. */
  readonly moving: ReadonlySet<Node>;
  readonly backward: readonly Node[];
}

function planOf({ loss, trained, beside = [] }: Differentiated, gradients: readonly Tensor[]): Plan {
  const forward = frugalOrder([loss, ...beside]);
  const known = new Set(forward);
  return { forward, moving: movingNodes(loss, trained, forward), backward: topological(gradients).filter((node) => !known.has(node)) };
}

function movingNodes(loss: Tensor, trained: readonly Tensor[], forward: readonly Node[]): Set<Node> {
  const reached = new Set<Node>([loss.node]);
  for (const node of forward.toReversed()) {
    if (!reached.has(node) || !node.op.vjp || node.op.name === 'stop') continue;
    for (const t of node.inputs) if (t.dtype === 'float32' || t.dtype === 'float16') reached.add(t.node);
  }
  const labels = new Set(trained.map((t) => leafOf(t)?.label));
  const dependent = new Set<Node>(); // on what is trained
  const fed = new Set<Node>(); // on inputs
  for (const node of forward) {
    const leaf = leafOf(node.outputs[0]!);
    const from = (set: ReadonlySet<Node>): boolean => node.inputs.some((t) => set.has(t.node));
    if ((leaf?.kind === 'state' && labels.has(leaf.label)) || from(dependent)) dependent.add(node);
    if (leaf?.kind === 'input' || from(fed)) fed.add(node);
  }
  return new Set(forward.filter((node) => reached.has(node) && !isFree(node) && (dependent.has(node) || !fed.has(node))));
}

/** Leaves, and what only cuts the vector of all weights into them. */
const isFree = (node: Node): boolean => (node.op as unknown) === leafOp || node.op.name === 'unpack';

const madeBytes = (node: Node): number => node.outputs.reduce((sum, t) => sum + sizeInBytes(t), 0);

/**
 * The segment of every moving node. Borders lie where the fewest bytes are alive, one in about every `count`-th part of what the forward pass makes:
 * between blocks of a network, that is, where all that is alive is a map (and those that skip ahead).
 */
function segmentsOf({ forward, moving }: Plan, count: number): Map<Node, number> {
  const alive = aliveBytes(forward, moving);
  const order = forward.filter((node) => moving.has(node));
  const share = order.reduce((sum, node) => sum + madeBytes(node), 0) / count;
  const segments = new Map<Node, number>();
  for (let [first, segment] = [0, 0]; first < order.length; segment++) {
    const end = borderAfter(order, first, share, alive);
    for (const node of order.slice(first, end)) segments.set(node, segment);
    first = end;
  }
  return segments;
}
/** The cheapest place to end a segment of a half to one and a half shares. */
function borderAfter(order: readonly Node[], first: number, share: number, alive: ReadonlyMap<Node, number>): number {
  let made = 0;
  let least = { bytes: Number.POSITIVE_INFINITY, end: order.length };
  for (let i = first; i < order.length; i++) {
    made += madeBytes(order[i]!);
    const bytes = alive.get(order[i]!)!;
    if (made >= share / 2 && bytes <= least.bytes) least = { bytes, end: i + 1 };
    if (made >= 1.5 * share) return least.end;
  }
  return order.length;
}

/** Bytes of moving values that later nodes of the forward pass still need, after each node. */
function aliveBytes(forward: readonly Node[], moving: ReadonlySet<Node>): Map<Node, number> {
  const last = new Map<Tensor, Node>();
  for (const node of forward) for (const t of node.inputs) if (moving.has(t.node)) last.set(t, node);
  const alive = new Map<Node, number>();
  let bytes = 0;
  for (const node of forward) {
    if (moving.has(node)) for (const t of node.outputs) if (last.has(t)) bytes += sizeInBytes(t);
    for (const t of new Set(node.inputs)) if (last.get(t) === node) bytes -= sizeInBytes(t);
    alive.set(node, bytes);
  }
  return alive;
}

/** The gradients with every value inside a segment computed again. */
function rewritten({ forward, moving, backward }: Plan, gradients: readonly Tensor[], segments: ReadonlyMap<Node, number>): Tensor[] {
  const final = Math.max(...segments.values());
  const kept = keptValues(forward, segments);
  /** The segment whose values are computed again for a tensor; none where they are all there. */
  const segmentOf = (t: Tensor): number => (moving.has(t.node) && !kept.has(t) ? segments.get(t.node)! : final);
  const stages = stagesOf(backward, (t) => (segments.has(t.node) ? segmentOf(t) : final), final);
  const frontier = frontierOf(backward, stages, gradients);
  const now = new Map<Tensor, Tensor>();
  const renewed = (t: Tensor): Tensor => now.get(t) ?? t;
  const copies = copier(renewed, segmentOf, frontier, final);
  const order = backward.map((node, i) => [stages.get(node)!, i] as const).sort(([a, i], [b, j]) => b - a || i - j);
  for (const [, i] of order) {
    const node = backward[i]!;
    const inputs = node.inputs.map((t) => (segments.has(t.node) ? copies(t) : renewed(t)));
    if (inputs.every((t, k) => t === node.inputs[k])) continue;
    const made = applyAll(node.op, inputs, node.attrs);
    node.outputs.forEach((t, k) => {
      now.set(t, made[k]!);
    });
  }
  return gradients.map((t) => renewed(t));
}

/** Values that another segment goes on from. */
function keptValues(forward: readonly Node[], segments: ReadonlyMap<Node, number>): Set<Tensor> {
  const kept = new Set<Tensor>();
  for (const node of forward)
    for (const t of segments.has(node) ? node.inputs : [])
      if (segments.has(t.node) && segments.get(t.node) !== segments.get(node)) kept.add(t);
  return kept;
}

/** The first segment whose values the backward pass has seen when a node is computed: it goes through them from the last to the first. */
function stagesOf(backward: readonly Node[], segmentOf: (t: Tensor) => number, final: number): Map<Node, number> {
  const stages = new Map<Node, number>();
  for (const node of backward)
    stages.set(
      node,
      node.inputs.reduce((least, t) => Math.min(least, stages.get(t.node) ?? segmentOf(t)), final),
    );
  return stages;
}

/** What each stage of the backward pass leaves for earlier segments. */
function frontierOf(backward: readonly Node[], stages: ReadonlyMap<Node, number>, gradients: readonly Tensor[]): Map<number, Tensor[]> {
  const leaving = new Set<Tensor>(gradients.filter((t) => stages.has(t.node)));
  for (const node of backward)
    for (const t of node.inputs) {
      const stage = stages.get(t.node);
      if (stage !== undefined && stage > stages.get(node)!) leaving.add(t);
    }
  const frontier = new Map<number, Tensor[]>();
  for (const t of leaving) {
    if (t.dtype !== 'float32' || leafOf(t)) continue;
    const stage = stages.get(t.node)!;
    frontier.set(stage, [...(frontier.get(stage) ?? []), t]);
  }
  return frontier;
}

/** Computes values of the forward pass again, each once, and none before all that the next segment's backward pass leaves is there. */
function copier(
  renewed: (t: Tensor) => Tensor,
  segmentOf: (t: Tensor) => number,
  frontier: ReadonlyMap<number, readonly Tensor[]>,
  final: number,
): (t: Tensor) => Tensor {
  const copies = new Map<Tensor, Tensor>();
  const waits = new Map<number, Tensor>();
  const behind = new Map<number, Map<Tensor, Tensor>>();
  const wait = (segment: number): Tensor | null => {
    const next = Math.min(...[...frontier.keys()].filter((stage) => stage > segment));
    const leaving = frontier.get(next);
    if (leaving && !waits.has(segment)) waits.set(segment, after(leaving.map(renewed)));
    return waits.get(segment) ?? null;
  };
  const held = (t: Tensor, segment: number): Tensor => {
    const own = behind.get(segment) ?? new Map<Tensor, Tensor>();
    behind.set(segment, own);
    const zero = wait(segment);
    if (!own.has(t)) own.set(t, zero ? barrier(t, zero) : t);
    return own.get(t)!;
  };
  const copy = (t: Tensor): Tensor => {
    const segment = segmentOf(t);
    if (segment === final) return t;
    const known = copies.get(t);
    if (known) return known;
    const inputs = t.node.inputs.map(copy);
    // One input that waits is enough: the map, not the weights beside it, unless there is nothing else.
    if (inputs.every((x, i) => x === t.node.inputs[i])) {
      const at = Math.max(
        0,
        inputs.findIndex((x) => !isFree(x.node)),
      );
      inputs[at] = held(inputs[at]!, segment);
    }
    applyAll(t.node.op, inputs, t.node.attrs).forEach((made, k) => {
      copies.set(t.node.outputs[k]!, made);
    });
    return copies.get(t)!;
  };
  return copy;
}
