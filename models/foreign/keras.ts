/** @file Convolutional networks as TensorFlow.js keeps them (a Keras "layers model": layers in JSON, weights in quantised bytes), turned into ONNX for inference. */
import { create, toBinary } from '@bufbuild/protobuf';
import {
  AttributeProto_AttributeType,
  AttributeProtoSchema,
  ModelProtoSchema,
  type NodeProto,
  NodeProtoSchema,
  TensorProto_DataType,
  TensorProtoSchema,
  ValueInfoProtoSchema,
} from 'onnx-buf';
import * as z from 'zod';
import { InputError } from '../../engine/io/errors.ts';

const pair = z.tuple([z.int().min(1), z.int().min(1)]);
const layerSchema = z.object({
  name: z.string(),
  class_name: z.string(),
  config: z.record(z.string(), z.unknown()),
  inbound_nodes: z.array(z.array(z.tuple([z.string()]).rest(z.unknown()))),
});
const modelSchema = z.object({
  modelTopology: z.object({ model_config: z.object({ config: z.object({ layers: z.array(layerSchema) }) }) }),
  weightsManifest: z.array(
    z.object({
      paths: z.array(z.string()),
      weights: z.array(
        z.object({
          name: z.string(),
          shape: z.array(z.int().min(0)),
          dtype: z.literal('float32'),
          quantization: z.object({ min: z.number(), scale: z.number(), dtype: z.literal('uint8') }).optional(),
        }),
      ),
    }),
  ),
});
type Layer = z.output<typeof layerSchema>;
export type KerasModel = z.output<typeof modelSchema>;

export interface KerasWeight {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** @throws InputError where the value is no such model */
export function readKeras(where: string, value: unknown): KerasModel {
  const result = modelSchema.safeParse(value);
  if (result.success) return result.data;
  const { path, message } = result.error.issues[0]!;
  throw new InputError(`${where}: is no layers model of TensorFlow.js (${path.join('.')}: ${message})`);
}

/**
 * The weights out of the joined bytes of all shards, in their order.
 * @throws InputError where the bytes are not as many as the weights take
 */
export function kerasWeights(where: string, { weightsManifest }: KerasModel, bytes: Uint8Array): ReadonlyMap<string, KerasWeight> {
  const found = new Map<string, KerasWeight>();
  let at = 0;
  for (const { name, shape, quantization } of weightsManifest.flatMap(({ weights }) => weights)) {
    const count = shape.reduce((a, b) => a * b, 1);
    const own = bytes.subarray(at, at + count * (quantization ? 1 : 4));
    at += own.length;
    if (own.length !== count * (quantization ? 1 : 4))
      throw new InputError(`${where}: the bytes end within ${name}; a complete file expected`);
    const data = quantization
      ? Float32Array.from(own, (q) => q * quantization.scale + quantization.min)
      : new Float32Array(own.slice().buffer);
    found.set(name, { shape, data });
  }
  if (at !== bytes.length) throw new InputError(`${where}: ${bytes.length - at} bytes are left over after the last weight`);
  return found;
}

type Value = number | readonly number[];
interface Built {
  readonly nodes: NodeProto[];
  readonly held: ReturnType<typeof tensor>[];
}

const tensor = (name: string, shape: readonly number[], data: Float32Array) =>
  create(TensorProtoSchema, {
    name,
    dims: shape.map(BigInt),
    dataType: TensorProto_DataType.FLOAT,
    rawData: new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength),
  });
const attribute = (name: string, value: Value) =>
  typeof value === 'number'
    ? create(AttributeProtoSchema, { name, type: AttributeProto_AttributeType.INT, i: BigInt(value) })
    : create(AttributeProtoSchema, { name, type: AttributeProto_AttributeType.INTS, ints: value.map(BigInt) });
const node = (opType: string, input: readonly string[], output: string, attributes: Readonly<Record<string, Value>> = {}): NodeProto =>
  create(NodeProtoSchema, {
    opType,
    input: [...input],
    output: [output],
    attribute: Object.entries(attributes).map(([name, value]) => attribute(name, value)),
  });

/** `same` with a step of 1 and an odd window is even padding; other cases depend on the size of the image. */
function padding(
  where: string,
  { config }: Layer,
  window: readonly [number, number],
  strides: readonly [number, number],
): readonly number[] {
  if (config['padding'] === 'valid') return [0, 0, 0, 0];
  if (config['padding'] !== 'same' || strides.some((s) => s !== 1) || window.some((k) => k % 2 === 0))
    throw new InputError(`${where}: padding ${String(config['padding'])} of windows [${window}] in steps [${strides}] is not supported`);
  const [y, x] = [(window[0] - 1) / 2, (window[1] - 1) / 2];
  return [y, x, y, x];
}

const pairOf = (where: string, { config, name }: Layer, key: string): readonly [number, number] => {
  const result = pair.safeParse(config[key]);
  if (!result.success) throw new InputError(`${where}: ${name}.${key} is ${JSON.stringify(config[key])}; two whole numbers expected`);
  return result.data;
};

/** [kh,kw,in,out] → [out,in,kh,kw], each output times its factor. */
function filters({ shape, data }: KerasWeight): KerasWeight {
  const [kh = 1, kw = 1, inside = 1, out = 1] = shape;
  const turned = new Float32Array(data.length);
  for (let k = 0; k < kh * kw; k++)
    for (let i = 0; i < inside; i++)
      for (let o = 0; o < out; o++) turned[(o * inside + i) * kh * kw + k] = data[(k * inside + i) * out + o]!;
  return { shape: [out, inside, kh, kw], data: turned };
}

/** What each kind of layer becomes. */
type Spell = (layer: Layer, inputs: readonly string[], weight: (name: string) => KerasWeight | undefined, built: Built) => void;

const spells = (where: string): Readonly<Record<string, Spell>> => ({
  Conv2D(layer, [x], weight, { nodes, held }) {
    const kernel = weight('kernel');
    if (kernel?.shape.length !== 4) throw new InputError(`${where}: ${layer.name} has no kernel of four sizes`);
    const [window, strides] = [pairOf(where, layer, 'kernel_size'), pairOf(where, layer, 'strides')];
    const { shape, data } = filters(kernel);
    held.push(tensor(`${layer.name}.kernel`, shape, data));
    const bias = weight('bias');
    if (bias) held.push(tensor(`${layer.name}.bias`, bias.shape, bias.data));
    const inputs = [x!, `${layer.name}.kernel`, ...(bias ? [`${layer.name}.bias`] : [])];
    nodes.push(node('Conv', inputs, layer.name, { kernel_shape: window, strides, pads: padding(where, layer, window, strides) }));
  },
  BatchNormalization(layer, [x], weight, { nodes, held }) {
    const [mean, variance] = [weight('moving_mean'), weight('moving_variance')];
    if (!mean || !variance) throw new InputError(`${where}: ${layer.name} has no moving mean and variance`);
    const eps = Number(layer.config['epsilon'] ?? 0.001);
    const [gamma, beta] = [weight('gamma'), weight('beta')];
    const scale = mean.data.map((_, c) => (gamma?.data[c] ?? 1) / Math.sqrt(variance.data[c]! + eps));
    const shift = mean.data.map((m, c) => (beta?.data[c] ?? 0) - m * scale[c]!);
    const shape = [1, mean.data.length, 1, 1];
    held.push(tensor(`${layer.name}.scale`, shape, scale), tensor(`${layer.name}.shift`, shape, shift));
    nodes.push(node('Mul', [x!, `${layer.name}.scale`], `${layer.name}.scaled`));
    nodes.push(node('Add', [`${layer.name}.scaled`, `${layer.name}.shift`], layer.name));
  },
  Activation(layer, [x], _, { nodes }) {
    if (layer.config['activation'] !== 'relu')
      throw new InputError(`${where}: ${layer.name} is ${String(layer.config['activation'])}; relu is supported`);
    nodes.push(node('Relu', [x!], layer.name));
  },
  MaxPooling2D(layer, [x], _, { nodes }) {
    nodes.push(node('MaxPool', [x!], layer.name, pooling(where, layer)));
  },
  AveragePooling2D(layer, [x], _, { nodes }) {
    nodes.push(node('AveragePool', [x!], layer.name, { ...pooling(where, layer), count_include_pad: 0 }));
  },
  Concatenate(layer, inputs, _, { nodes }) {
    if (layer.config['axis'] !== 3 && layer.config['axis'] !== -1)
      throw new InputError(`${where}: ${layer.name} joins along ${String(layer.config['axis'])}; channels, the last axis, are supported`);
    nodes.push(node('Concat', inputs, layer.name, { axis: 1 }));
  },
});

function pooling(where: string, layer: Layer): Readonly<Record<string, Value>> {
  const [window, strides] = [pairOf(where, layer, 'pool_size'), pairOf(where, layer, 'strides')];
  return { kernel_shape: window, strides, pads: padding(where, layer, window, strides) };
}

/**
 * The network from its input to a layer of maps, as an ONNX file: images [N,3,side,side] in, the layer's maps out, under its name.
 * @param until name of the layer that is asked for
 * @throws InputError for an unknown layer, and for kinds of layers and settings that are not supported
 */
export function kerasToOnnx(where: string, model: KerasModel, weights: ReadonlyMap<string, KerasWeight>, until: string): Uint8Array {
  const { layers } = model.modelTopology.model_config.config;
  const last = layers.findIndex(({ name }) => name === until);
  if (last < 0) throw new InputError(`${where}: has no layer ${until}`);
  const first = layers[0]!;
  const shape = first.config['batch_input_shape'];
  if (first.class_name !== 'InputLayer' || !Array.isArray(shape) || shape.length !== 4)
    throw new InputError(`${where}: does not begin with images; an InputLayer of [N, side, side, channels] expected`);
  const built: Built = { nodes: [], held: [] };
  const kinds = spells(where);
  for (const layer of layers.slice(1, last + 1)) {
    const spell = Object.hasOwn(kinds, layer.class_name) ? kinds[layer.class_name] : undefined;
    if (!spell) throw new InputError(`${where}: ${layer.name} is a ${layer.class_name}; ${Object.keys(kinds).join(', ')} are supported`);
    const inputs = (layer.inbound_nodes[0] ?? []).map(([name]) => name);
    spell(layer, inputs, (name) => weights.get(`${layer.name}/${name}`), built);
  }
  const [, height, width, channels] = shape as readonly number[];
  return toBinary(ModelProtoSchema, modelOf(built, first.name, [channels!, height!, width!], until));
}

/** Opset 13, which every runtime of the last years reads. */
const modelOf = ({ nodes, held }: Built, input: string, sizes: readonly number[], output: string) =>
  create(ModelProtoSchema, {
    irVersion: 8n,
    producerName: 'onestep',
    opsetImport: [{ domain: '', version: 13n }],
    graph: {
      name: 'keras',
      node: nodes,
      initializer: held,
      input: [floats(input, sizes)],
      output: [create(ValueInfoProtoSchema, { name: output })],
    },
  });

const floats = (name: string, sizes: readonly number[]) =>
  create(ValueInfoProtoSchema, {
    name,
    type: {
      value: {
        case: 'tensorType',
        value: {
          elemType: TensorProto_DataType.FLOAT,
          shape: {
            dim: [
              { value: { case: 'dimParam', value: 'N' } },
              ...sizes.map((d) => ({ value: { case: 'dimValue' as const, value: BigInt(d) } })),
            ],
          },
        },
      },
    },
  });
