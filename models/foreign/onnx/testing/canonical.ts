/** @file ONNX graphs without their names: two files are the same graph where each output is computed by the same operators of the same values. */
import { createHash } from 'node:crypto';
import { fromBinary } from '@bufbuild/protobuf';
import { type AttributeProto, type GraphProto, ModelProtoSchema, type NodeProto, type TensorProto } from 'onnx-buf';

const digest = (...parts: readonly (string | Uint8Array)[]): string => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part).update('\n');
  return hash.digest('hex').slice(0, 24);
};
const attributeText = (a: AttributeProto): string =>
  `${a.name}=${a.type}:${a.i}:${a.f}:${Buffer.from(a.s).toString('hex')}:${a.ints.join()}:${a.floats.join()}`;
const tensorText = (t: TensorProto, dims: readonly bigint[] = t.dims): string =>
  digest(`constant ${t.dataType} [${dims.join()}]`, t.rawData);
/** The sizes that a constant is reshaped to, where none is left open. */
const reshapedTo = ({ tensor }: Value): readonly bigint[] | undefined => {
  const sizes = tensor ? [...new BigInt64Array(new Uint8Array(tensor.rawData).buffer)] : [-1n];
  return sizes.every((d) => d > 0n) ? sizes : undefined;
};

interface Value {
  readonly text: string;
  readonly hash: string;
  /** The node that a reshaping reshapes. */
  readonly source?: Value;
  readonly tensor?: TensorProto;
  /** The shape that it was reshaped to last, where nothing changed it since. */
  readonly shape?: string | undefined;
}
/** Operators that leave the shape of their first input as it is, where the second is a constant of fewer axes. */
const KEEPING = ['Add', 'Mul', 'Sub', 'Div'];

/** What each output is, and one line for every operator that it depends on. */
export function canonical(bytes: Uint8Array): { readonly outputs: Readonly<Record<string, string>>; readonly lines: Lines } {
  const graph = fromBinary(ModelProtoSchema, bytes).graph as GraphProto;
  const values = new Map<string, Value>([['', { text: 'none', hash: 'none' }]]);
  const lines: Lines = new Map();
  for (const t of graph.initializer) values.set(t.name, { text: `constant [${t.dims.join()}]`, hash: tensorText(t), tensor: t });
  for (const { name } of graph.input) values.set(name, { text: name, hash: digest('input', name) });
  for (const node of graph.node) {
    const inputs = node.input.map((name) => values.get(name)!);
    if (node.opType === 'Identity') values.set(node.output[0]!, inputs[0]!);
    else for (const [i, name] of node.output.entries()) values.set(name, nodeValue(node, inputs, i, lines));
  }
  const outputs = Object.fromEntries(graph.output.map(({ name }) => [name, values.get(name)!.hash]));
  const needed: Lines = new Map();
  const visit = (hash: string): void => {
    const line = lines.get(hash);
    if (!line || needed.has(hash)) return;
    needed.set(hash, line);
    line.from.forEach(visit);
  };
  Object.values(outputs).forEach(visit);
  return { outputs, lines: needed };
}
type Lines = Map<string, { readonly text: string; readonly from: readonly string[] }>;

function nodeValue(node: NodeProto, inputs: readonly Value[], index: number, lines: Lines): Value {
  // Shapes on the way to a shape do not matter.
  const [first, ...rest] = inputs;
  const from = node.opType === 'Reshape' && first?.source ? [first.source, ...rest] : inputs;
  if (node.opType === 'Reshape' && from[0]?.shape === inputs[1]!.hash) return from[0]!;
  const sizes = node.opType === 'Reshape' && first?.tensor ? reshapedTo(inputs[1]!) : undefined;
  if (sizes)
    return { text: `constant [${sizes.join()}]`, hash: tensorText(first!.tensor!, sizes), tensor: { ...first!.tensor!, dims: [...sizes] } };
  const attributes = node.attribute.map(attributeText).sort().join(' ');
  const hash = digest(`${node.domain} ${node.opType} ${index} ${attributes}`, ...from.map((v) => v.hash));
  lines.set(hash, { text: `${node.opType}(${from.map((v) => v.text).join(', ')}) ${attributes}`, from: from.map((v) => v.hash) });
  if (node.opType === 'Reshape') return { text: 'Reshape', hash, source: from[0]!, shape: inputs[1]!.hash };
  const kept = KEEPING.includes(node.opType) && (inputs[1]?.tensor?.dims.length ?? 9) < 3;
  return { text: node.opType, hash, shape: kept ? first?.shape : undefined };
}

/** Operators of one graph that the other does not have although it has what they are given. */
export function missing(a: Uint8Array, b: Uint8Array): readonly string[] {
  const [left, right] = [canonical(a).lines, canonical(b).lines];
  return [...left]
    .filter(([hash, { from }]) => !right.has(hash) && from.every((f) => right.has(f) || !left.has(f)))
    .map(([, { text }]) => text);
}
