/**
 * @file Mixed precision as a pass over a finished graph: matrix products and convolutions, forward and backward, take and give float16 or bfloat16;
 * everything between them (normalisations, softmax, embeddings, losses, sums of gradients) stays in float32. Micikevicius et al. 2017, arXiv:1710.03740.
 */
import { toHalf } from './ops/special.ts';
import { apply, applyAll, type Emitter, type Node, type Op, type Tensor, topological, type Value } from './tensor.ts';

export const precisions = ['float32', 'float16', 'bfloat16'] as const;
export type Precision = (typeof precisions)[number];
type Low = Exclude<Precision, 'float32'>;

/** Operations that are products of large tensors. */
const PRODUCTS: readonly string[] = ['matmul', 'conv2d', 'convInputGradient', 'convFilterGradient'];
/** ONNX element types. */
const ELEMENT = { float32: 1, float16: 10, bfloat16: 16 } as const;

interface LowAttrs {
  readonly op: Op;
  readonly attrs: unknown;
  readonly precision: Low;
}

/** Whether a provider computes a product in the type itself; elsewhere values are rounded to it and the product is taken in float32. */
const computes = (target: Emitter['target'], precision: Low, op: string): boolean =>
  precision === 'float16' ? target === 'webgpu' || target === 'cuda' : target === 'cuda' && op === 'matmul';

/** An emitter whose constants have the type of the product that they are a part of. */
const withConstants = (emit: Emitter, low: (name: string) => string): Emitter => ({
  target: emit.target,
  block: emit.block,
  node: (...given) => emit.node(...given),
  nodes: (...given) => emit.nodes(...given),
  ints: (values) => emit.ints(values),
  floats: (values, shape) => low(emit.floats(values, shape)),
  scalar: (value, dtype = 'float32') => (dtype === 'float32' ? low(emit.scalar(value)) : emit.scalar(value, dtype)),
});

const lowOp: Op<LowAttrs> = {
  name: 'low',
  infer: (inputs, { op, attrs }) => op.infer(inputs, attrs),
  vjp() {
    throw new Error('internal: precision is lowered after gradients are taken');
  },
  onnx({ inputs, outputs, attrs: { op, attrs, precision } }, names, emit) {
    const to = (name: string, type: keyof typeof ELEMENT): string => emit.node('Cast', [name], { to: ELEMENT[type] });
    const rounded = (name: string): string => to(to(name, precision), 'float32');
    const inside: Node = { op, inputs, outputs, attrs };
    if (!computes(emit.target, precision, op.name)) return op.onnx(inside, names.map(rounded), emit).map(rounded);
    const low = names.map((name) => to(name, precision));
    return op
      .onnx(
        inside,
        low,
        withConstants(emit, (name) => to(name, precision)),
      )
      .map((name) => to(name, 'float32'));
  },
  reference(inputs, { inputs: given, outputs, attrs: { op, attrs, precision } }, out) {
    const round = roundTo[precision];
    const low = inputs.map(({ shape, data }): Value => ({ shape, data: data.map(round) }));
    return op.reference(low, { op, inputs: given, outputs, attrs }, out).map((data) => data.map(round));
  },
};

const scratch = new Float32Array(1);
const bits = new Uint32Array(scratch.buffer);
/** To the nearest value of the type, ties to even. */
export const roundTo: Readonly<Record<Low, (v: number) => number>> = {
  float16(v) {
    scratch[0] = v;
    return fromHalf(toHalf(scratch)[0]!);
  },
  bfloat16(v) {
    scratch[0] = v;
    if (!Number.isFinite(scratch[0])) return scratch[0]!;
    bits[0] = (bits[0]! + 0x7fff + ((bits[0]! >>> 16) & 1)) & 0xffff0000;
    return scratch[0]!;
  },
};
function fromHalf(half: number): number {
  const [sign, exponent, mantissa] = [half & 0x8000 ? -1 : 1, (half >>> 10) & 31, half & 1023];
  if (exponent === 31) return mantissa ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (exponent === 0 ? mantissa * 2 ** -24 : (1024 + mantissa) * 2 ** (exponent - 25));
}

/** Marks what a value needs beyond `given`, such as the tangents of a derivative beyond the function itself: its products stay in float32. */
const exactOp: Op<null> = {
  name: 'exact',
  infer: ([x]) => [x!],
  vjp: (_, [dy]) => [dy!, null],
  onnx: (_, [x]) => [x!],
  reference: ([x]) => [x!.data],
};
export const exact = (x: Tensor, given: Tensor): Tensor => apply(exactOp, [x, given], null);

/** Nodes that some value needs beyond what was given with it. */
function exactNodes(nodes: readonly Node[]): ReadonlySet<Node> {
  const marked = new Set<Node>();
  for (const { op, inputs } of nodes) {
    if (op !== (exactOp as unknown)) continue;
    const given = new Set(topological([inputs[1]!]));
    for (const node of topological([inputs[0]!])) if (!given.has(node)) marked.add(node);
  }
  return marked;
}

/** The same values with products in a lower precision; the tensors themselves for float32. */
export function lowered(outputs: readonly Tensor[], precision: Precision): readonly Tensor[] {
  if (precision === 'float32') return outputs;
  const nodes = topological(outputs);
  const kept = exactNodes(nodes);
  const now = new Map<Tensor, Tensor>();
  for (const node of nodes) {
    const inputs = node.inputs.map((t) => now.get(t)!);
    const low = PRODUCTS.includes(node.op.name) && !kept.has(node) && inputs.every(({ dtype }) => dtype === 'float32');
    const results = low
      ? applyAll(lowOp, inputs, { op: node.op, attrs: node.attrs, precision })
      : inputs.every((t, i) => t === node.inputs[i])
        ? node.outputs
        : applyAll(node.op, inputs, node.attrs);
    node.outputs.forEach((t, i) => {
      now.set(t, results[i]!);
    });
  }
  return outputs.map((t) => now.get(t)!);
}
