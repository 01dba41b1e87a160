/** @file Looks into ONNX files of others: what they take and give, and how a value inside becomes an output. */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { type ModelProto, ModelProtoSchema, TensorProto_DataType, type ValueInfoProto, ValueInfoProtoSchema } from 'onnx-buf';
import { InputError } from '../../engine/io/errors.ts';
import { nearest } from '../../engine/io/nearest.ts';

export interface OnnxInput {
  readonly name: string;
  /** Whether it is of float32. */
  readonly float: boolean;
  /** Null for a size that is not fixed. */
  readonly shape: readonly (number | null)[];
}
export interface OnnxFacts {
  /** Without initializers. */
  readonly inputs: readonly OnnxInput[];
  readonly outputs: readonly string[];
}

/** @throws InputError where the bytes are no ONNX file */
export function parseOnnx(bytes: Uint8Array, where: string): ModelProto {
  try {
    const model = fromBinary(ModelProtoSchema, bytes);
    if ((model.graph?.node.length ?? 0) > 0) return model;
  } catch {
    // told below
  }
  throw new InputError(`${where}: is no complete ONNX file`);
}

function inputOf(value: ValueInfoProto): OnnxInput {
  const type = value.type?.value;
  const tensor = type?.case === 'tensorType' ? type.value : undefined;
  const shape = (tensor?.shape?.dim ?? []).map((d) => (d.value.case === 'dimValue' && d.value.value > 0n ? Number(d.value.value) : null));
  return { name: value.name ?? '', float: tensor?.elemType === TensorProto_DataType.FLOAT, shape };
}

export function onnxFacts({ graph }: ModelProto): OnnxFacts {
  const held = new Set((graph?.initializer ?? []).map(({ name }) => name));
  return {
    inputs: (graph?.input ?? []).filter(({ name }) => !held.has(name)).map(inputOf),
    outputs: (graph?.output ?? []).map(({ name }) => name ?? ''),
  };
}

/**
 * The same file with one more output: a value inside the graph.
 * @throws InputError where no node gives a value of that name
 */
export function withOutput(model: ModelProto, name: string, where: string): Uint8Array {
  const given = (model.graph?.node ?? []).flatMap((node) => node.output);
  if (!given.includes(name)) {
    const near = nearest(name, given);
    throw new InputError(
      `${where}: nothing in it is called ${JSON.stringify(name)}${near ? `; did you mean ${JSON.stringify(near)}?` : ''}; it gives ${onnxFacts(model).outputs.join(', ')}, and any value inside can be tapped`,
    );
  }
  model.graph!.output.push(create(ValueInfoProtoSchema, { name }));
  return toBinary(ModelProtoSchema, model);
}
