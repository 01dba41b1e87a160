/** @file The FID Inception as exporters write it into an ONNX file: tensors without names of their own, normalisations folded or apart, branches in any order. */
import { create, toBinary } from '@bufbuild/protobuf';
import {
  AttributeProtoSchema,
  GraphProtoSchema,
  ModelProtoSchema,
  type NodeProto,
  NodeProtoSchema,
  OperatorSetIdProtoSchema,
  type TensorProto,
  TensorProtoSchema,
  ValueInfoProtoSchema,
} from 'onnx-buf';
import { input, leafOf } from '../../../engine/graph/ops/leaf.ts';
import { type Tensor, topological } from '../../../engine/graph/tensor.ts';
import { recordingScope, type Weights } from '../../../engine/train/weights.ts';
import { inception } from '../inception.ts';

export interface Written {
  /** Normalisations apart, with this ε; else folded into the filters. */
  readonly epsilon?: number;
  /** With the classifier, as Gemm or as MatMul and Add. */
  readonly classifier?: 'Gemm' | 'MatMul';
  /** Branches from the last to the first. */
  readonly reversed?: boolean;
  /** Says that tensors lie in another file. */
  readonly external?: boolean;
  /** What stands in place of the operator of one node, counted from the first. */
  readonly instead?: { readonly node: number; readonly opType: string };
}

export function inceptionOnnx(weights: Weights, how: Written = {}): Uint8Array {
  const nodes: NodeProto[] = [];
  const tensors: TensorProto[] = [];
  const made = new Map<Tensor, string>();
  const tensor = (shape: readonly number[], data: Float32Array): string => {
    const name = `onnx::Tensor_${tensors.length}`;
    const bytes = new Uint8Array(data.slice().buffer);
    const external = how.external
      ? { externalData: [{ $typeName: 'onnx.StringStringEntryProto' as const, key: 'location', value: 'weights.data' }], dataLocation: 1 }
      : { rawData: bytes };
    tensors.push(create(TensorProtoSchema, { name, dims: shape.map(BigInt), dataType: 1, ...external }));
    return name;
  };
  const node = (opType: string, inputs: readonly string[], epsilon?: number): string => {
    const name = `/${opType}_${nodes.length}`;
    const attribute = epsilon === undefined ? [] : [create(AttributeProtoSchema, { name: 'epsilon', type: 1, f: epsilon })];
    const used = how.instead?.node === nodes.length ? how.instead.opType : opType;
    nodes.push(create(NodeProtoSchema, { name, opType: used, input: [...inputs], output: [`${name}_output_0`], attribute }));
    return `${name}_output_0`;
  };
  const part = (name: string): Float32Array => weights.get(name)!.data;
  const convolution = (of: Tensor, x: string): string => {
    const label = topological([of.node.inputs[1]!])
      .flatMap((n) => leafOf(n.outputs[0]!)?.label ?? [])
      .find((l) => l.endsWith('conv.weight'))!;
    const name = label.slice('net/'.length, -'.conv.weight'.length);
    const filter = weights.get(`${name}.conv.weight`)!;
    const [scale, shift, mean, variance] = ['weight', 'bias', 'running_mean', 'running_var'].map((one) => part(`${name}.bn.${one}`)) as [
      Float32Array,
      Float32Array,
      Float32Array,
      Float32Array,
    ];
    const out = [scale.length];
    if (how.epsilon !== undefined) {
      const moved = variance.map((v) => v + 1e-3 - how.epsilon!);
      const values = [scale, shift, mean, how.epsilon === 1e-3 ? variance : moved].map((data) => tensor(out, data));
      return node('BatchNormalization', [node('Conv', [x, tensor(filter.shape, filter.data)]), ...values], how.epsilon);
    }
    const factor = scale.map((v, i) => v / Math.sqrt(variance[i]! + 1e-3));
    const each = filter.data.length / scale.length;
    const bias = shift.map((v, i) => v - mean[i]! * factor[i]!);
    return node('Conv', [
      x,
      tensor(
        filter.shape,
        filter.data.map((v, i) => v * factor[Math.floor(i / each)]!),
      ),
      tensor(out, bias),
    ]);
  };
  const value = (of: Tensor): string => {
    const known = made.get(of);
    if (known !== undefined) return known;
    const { op, inputs } = of.node;
    const before = op.name === 'concat' ? inputs : [inputs[0]!];
    const order = how.reversed ? before.toReversed() : before;
    if (leafOf(of)) return 'images';
    for (const one of order) value(one);
    const names = before.map(value);
    const spelled =
      {
        relu: 'Relu',
        maxPool: 'MaxPool',
        averagePool: 'AveragePool',
        concat: 'Concat',
        reduceMean: 'GlobalAveragePool',
        reshape: 'Flatten',
      }[op.name] ?? op.name;
    const name = op.name === 'conv2d' ? convolution(of, names[0]!) : node(spelled, names);
    made.set(of, name);
    return name;
  };
  let end = value(inception(recordingScope('net').scope, input('images', ['N', 3, 299, 299])).features(2048));
  if (how.classifier === 'Gemm') end = node('Gemm', [end, tensor([1008, 2048], part('fc.weight')), tensor([1008], part('fc.bias'))]);
  if (how.classifier === 'MatMul') {
    const across = part('fc.weight').map((_, i, all) => all[(i % 1008) * 2048 + Math.floor(i / 1008)]!);
    end = node('Add', [node('MatMul', [end, tensor([2048, 1008], across)]), tensor([1008], part('fc.bias'))]);
  }
  const port = (name: string) => create(ValueInfoProtoSchema, { name });
  const graph = create(GraphProtoSchema, { node: nodes, initializer: tensors, input: [port('images')], output: [port(end)] });
  return toBinary(
    ModelProtoSchema,
    create(ModelProtoSchema, { irVersion: 8n, opsetImport: [create(OperatorSetIdProtoSchema, { version: 17n })], graph }),
  );
}
