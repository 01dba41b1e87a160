/** @file Networks out of ONNX files as a family: the file without its trainable weights is an option, so that a weights file says all that they are. */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import {
  ModelProtoSchema,
  TensorShapeProto_DimensionSchema,
  TensorShapeProtoSchema,
  TypeProto_TensorSchema,
  TypeProtoSchema,
  ValueInfoProtoSchema,
} from 'onnx-buf';
import type { Condition, NetworkFamily, Scope } from '../../../engine/train/network.ts';
import { options, text } from '../../../engine/train/options.ts';
import type { Weights } from '../../../engine/train/weights.ts';
import { denoiserOf, type OnnxDenoiserOptions } from './denoiser.ts';
import { type ImportedOnnx, importOnnxBytes } from './import.ts';

export const onnxOptions = options({
  graph: text('', 'the file in base 64, whose trainable weights are inputs'),
  weights: text('{}', 'names and shapes of those weights, as JSON'),
  denoiser: text('{}', 'what the network predicts and on which schedule, as JSON'),
});
type Shapes = Readonly<Record<string, readonly number[]>>;

const FLOAT = 1;
/** The file with the given initializers turned into inputs, in base 64. */
export function withoutWeights(bytes: Uint8Array, weights: Weights): string {
  const model = fromBinary(ModelProtoSchema, bytes);
  const graph = model.graph!;
  graph.initializer = graph.initializer.filter(({ name }) => !weights.has(name));
  graph.input = graph.input.filter(({ name }) => !weights.has(name));
  for (const [name, { shape }] of weights) {
    const dim = shape.map((d) => create(TensorShapeProto_DimensionSchema, { value: { case: 'dimValue', value: BigInt(d) } }));
    const tensorType = create(TypeProto_TensorSchema, { elemType: FLOAT, shape: create(TensorShapeProtoSchema, { dim }) });
    graph.input.push(
      create(ValueInfoProtoSchema, { name, type: create(TypeProtoSchema, { value: { case: 'tensorType', value: tensorType } }) }),
    );
  }
  return Buffer.from(toBinary(ModelProtoSchema, model)).toString('base64');
}

/** The reverse: the weights come from the scope again. */
function withWeights(file: ImportedOnnx, shapes: Shapes): ImportedOnnx {
  const whole = (scope: Scope, given: Condition): Condition => ({
    ...given,
    ...Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, scope(name, shape)])),
  });
  return {
    ...file,
    inputs: file.inputs.filter(({ name }) => !Object.hasOwn(shapes, name)),
    network: (scope, given) => file.network(scope, whole(scope, given)),
    trace: (scope, given) => file.trace(scope, whole(scope, given)),
  };
}

export const onnxFamily: NetworkFamily<typeof onnxOptions> = {
  name: 'onnx',
  options: onnxOptions,
  build(scope, { graph, weights, denoiser }) {
    const settings = JSON.parse(denoiser) as OnnxDenoiserOptions;
    const file = importOnnxBytes(Buffer.from(graph, 'base64'), settings.sizes ? { sizes: settings.sizes } : {}, 'network');
    return denoiserOf('network', withWeights(file, JSON.parse(weights) as Shapes), settings).build(scope);
  },
};
