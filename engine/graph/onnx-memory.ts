/** @file How much memory ONNX Runtime plans for the values of a model whose shapes it has inferred. */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { ModelProtoSchema, type NodeProto, ValueInfoProtoSchema } from 'onnx-buf';
import type { DType } from './tensor.ts';

/** Operators whose result is their input's memory under another shape. */
const VIEWS = new Set(['Reshape', 'Identity', 'Squeeze', 'Unsqueeze', 'Flatten']);
/** Operators that may write over their first input where nobody else reads it. */
const IN_PLACE = new Set(['Add', 'Sub', 'Mul', 'Div', 'Relu', 'Sigmoid', 'Tanh', 'Exp', 'Sqrt', 'Abs', 'Neg', 'Erf', 'Log', 'Clip']);
const BYTES: Readonly<Record<DType, number>> = { float32: 4, float16: 2, int64: 8, uint8: 1, bool: 1 };

/** A value whose shape a runtime has inferred. */
export interface Inferred {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly (number | string)[];
}

/** The model with every value among its outputs, so that a runtime that loads it tells their shapes. */
export function withAllOutputs(bytes: Uint8Array): Uint8Array {
  const model = fromBinary(ModelProtoSchema, bytes);
  const { node = [], output = [] } = model.graph ?? {};
  const known = new Set(output.map(({ name }) => name));
  for (const name of node.flatMap((n) => n.output)) if (name && !known.has(name)) output.push(create(ValueInfoProtoSchema, { name }));
  return toBinary(ModelProtoSchema, model);
}

/**
 * The largest number of bytes that are held at once. A value takes over the memory of a dead one of the very same shape and type, which is
 * therefore held from its first user to its last: memory of shapes that come again and again is never given back in between.
 * Values whose shape is not known count nothing; inputs, outputs and weights are not counted.
 */
export function plannedBytes(model: Uint8Array, values: readonly Inferred[]): number {
  const { graph } = fromBinary(ModelProtoSchema, model);
  const types = new Map(values.flatMap((value) => typeOf(value)));
  const outside = new Set([...(graph?.initializer ?? []), ...(graph?.input ?? [])].map(({ name }) => name));
  const results = new Set((graph?.output ?? []).map(({ name }) => name));
  return peakOf(buffersOf(graph?.node ?? [], types, outside, results));
}

interface Type {
  readonly key: string;
  readonly bytes: number;
}
function typeOf({ name, dtype, shape }: Inferred): (readonly [string, Type])[] {
  const size = shape.reduce<number>((n, d) => n * (typeof d === 'number' ? d : Number.NaN), BYTES[dtype as DType] ?? 4);
  return Number.isNaN(size) || size < 0 ? [] : [[name, { key: `${dtype} ${shape.join()}`, bytes: size }]];
}

interface Buffer {
  readonly type: Type;
  readonly from: number;
  /** The last node that uses it. */
  until: number;
}

function buffersOf(
  nodes: readonly NodeProto[],
  types: ReadonlyMap<string, Type>,
  outside: ReadonlySet<string>,
  results: ReadonlySet<string>,
) {
  const viewed = new Map<string, string>(); // whose memory a value is
  const held = (name: string): string => viewed.get(name) ?? name;
  const last = new Map<string, number>();
  nodes.forEach(({ opType, input, output }, i) => {
    if (VIEWS.has(opType)) viewed.set(output[0]!, held(input[0]!));
    for (const name of input) last.set(held(name), i);
  });
  const buffers: Buffer[] = [];
  const owner = new Map<string, Buffer>();
  const free = new Map<string, Buffer[]>();
  nodes.forEach(({ opType, input, output }, i) => {
    const dead = [...new Set(input.map(held))].filter((name) => last.get(name) === i && !results.has(name));
    const [first] = input.map(held);
    for (const name of output) {
      const type = types.get(name);
      if (!type || held(name) !== name || outside.has(name) || results.has(name)) continue;
      const over = IN_PLACE.has(opType) && first !== undefined && dead.includes(first) ? owner.get(first) : undefined;
      const reused = over?.type.key === type.key ? over : free.get(type.key)?.pop();
      if (over && reused === over) owner.delete(first!);
      const buffer = reused ?? { type, from: i, until: i };
      if (!reused) buffers.push(buffer);
      buffer.until = Math.max(buffer.until, last.get(name) ?? i);
      owner.set(name, buffer);
    }
    for (const name of dead) {
      const buffer = owner.get(name);
      if (!buffer) continue;
      const list = free.get(buffer.type.key);
      if (list) list.push(buffer);
      else free.set(buffer.type.key, [buffer]);
    }
  });
  return buffers;
}

function peakOf(buffers: readonly Buffer[]): number {
  const changes = new Map<number, number>();
  const change = (at: number, by: number): unknown => changes.set(at, (changes.get(at) ?? 0) + by);
  for (const { type, from, until } of buffers) {
    change(from, type.bytes);
    change(until + 1, -type.bytes);
  }
  let [alive, peak] = [0, 0];
  for (const at of [...changes.keys()].sort((a, b) => a - b)) {
    alive += changes.get(at)!;
    peak = Math.max(peak, alive);
  }
  return peak;
}
