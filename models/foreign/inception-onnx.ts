/**
 * @file The weights of the FID Inception out of an ONNX file, whatever its tensors are called: both graphs are walked from the last block up side by side,
 * so that every filter is found by its place. Normalisations may stand beside the filters or be folded into them.
 */
import type { NodeProto, TensorProto } from 'onnx-buf';
import { input, leafOf } from '../../engine/graph/ops/leaf.ts';
import { type Tensor, topological } from '../../engine/graph/tensor.ts';
import { InputError } from '../../engine/io/errors.ts';
import { openRanges } from '../../engine/io/range-file.ts';
import { recordingScope, type Weight, type Weights } from '../../engine/train/weights.ts';
import { INCEPTION_CLASSES, INCEPTION_SIZE, inception } from './inception.ts';
import { type OnnxModel, parseModel } from './onnx/model.ts';
import { readTensor } from './onnx/tensors.ts';

/** Of our normalisation. */
const EPSILON = 1e-3;
const FEATURES = 2048;
/** What stands between filters, poolings and concatenations, and changes no shape; the first input is the way up. */
const BETWEEN = ['Relu', 'Identity', 'Dropout', 'Cast', 'Pad'];

interface File {
  readonly path: string;
  readonly model: OnnxModel;
  /** The node that makes a value. */
  readonly makers: ReadonlyMap<string, NodeProto>;
  /** A constant by its name; null for a value that is none. */
  constant(name: string | undefined): Weight | null;
}

function fail(path: string, what: string): never {
  throw new InputError(`${path}: is no FID Inception: ${what}; give other networks with --features`);
}

function opened(path: string, model: OnnxModel): File {
  const { node: nodes, initializer } = model.graph;
  const makers = new Map(nodes.flatMap((node) => node.output.map((name) => [name, node] as const)));
  const tensors = new Map<string, TensorProto>(initializer.map((tensor) => [tensor.name, tensor]));
  for (const node of nodes) {
    const value = node.opType === 'Constant' ? node.attribute.find(({ name }) => name === 'value')?.t : undefined;
    if (value) tensors.set(node.output[0]!, value);
  }
  for (const { name, externalData } of tensors.values())
    if (externalData.length > 0)
      throw new InputError(
        `${path}: its weights (${name}) lie in another file, so that its checksum says nothing of them; export it again as one file (external_data=False)`,
      );
  const constant = (name: string | undefined, hops = 0): Weight | null => {
    const tensor = tensors.get(name ?? '');
    if (tensor) {
      const { shape, dtype, data } = readTensor(`${path}: tensor ${JSON.stringify(name)}`, tensor);
      return dtype === 'float32' ? { shape, data: Float32Array.from(data as ArrayLike<number>) } : null;
    }
    // Exporters write equal tensors once.
    const maker = makers.get(name ?? '');
    return maker?.opType === 'Identity' && hops < nodes.length ? constant(maker.input[0], hops + 1) : null;
  };
  return { path, model, makers, constant };
}

/** Up to the next filter, pooling or concatenation. */
function upwards(file: File, from: string, place: string): { readonly node: NodeProto; readonly norm: NodeProto | null } {
  let [name, norm]: [string, NodeProto | null] = [from, null];
  for (let hops = 0; hops <= file.model.graph.node.length; hops++) {
    const node = file.makers.get(name);
    if (!node) return fail(file.path, `at ${place} its graph begins already`);
    if (node.opType === 'BatchNormalization') norm = node;
    else if (!BETWEEN.includes(node.opType)) return { node, norm };
    name = node.input[0] ?? '';
  }
  return fail(file.path, 'its graph has a circle');
}

/** The inputs of a concatenation, with those of concatenations in it. */
const flat = (file: File, node: NodeProto, depth = 0): readonly string[] =>
  node.input.flatMap((name) => {
    const maker = file.makers.get(name);
    return maker?.opType === 'Concat' && depth < 4 ? flat(file, maker, depth + 1) : [name];
  });

/** What our normalisation makes of a folded one: a factor of 1 and the bias. */
function folded(out: number, bias: Weight | null): Readonly<Record<string, Float32Array>> {
  const all = (value: number): Float32Array => new Float32Array(out).fill(value);
  return { weight: all(1), bias: bias?.data ?? all(0), running_mean: all(0), running_var: all(1 - EPSILON) };
}
/** A normalisation of its own, whose ε may differ; a bias of the filter before it moves its mean. */
function apart(file: File, node: NodeProto, bias: Weight | null, place: string): Readonly<Record<string, Float32Array>> {
  const [weight, shift, mean, variance] = node.input.slice(1).map((name) => file.constant(name)?.data);
  if (!weight || !shift || !mean || !variance) return fail(file.path, `the normalisation of ${place} is not constant`);
  const epsilon = node.attribute.find(({ name }) => name === 'epsilon')?.f ?? 1e-5;
  const same = Math.fround(epsilon) === Math.fround(EPSILON);
  return {
    weight,
    bias: shift,
    running_mean: bias ? mean.map((v, i) => v - bias.data[i]!) : mean,
    running_var: same ? variance : variance.map((v) => v + epsilon - EPSILON),
  };
}

/** The name of the filter of one of our convolutions. */
function nameOf(convolution: Tensor): string {
  const labels = topological([convolution.node.inputs[1]!]).flatMap((node) => leafOf(node.outputs[0]!)?.label ?? []);
  return labels
    .find((label) => label.endsWith('.conv.weight'))!
    .replace(/^inception\//, '')
    .replace(/\.conv\.weight$/, '');
}

function takeConvolution(file: File, ours: Tensor, node: NodeProto, norm: NodeProto | null, weights: Map<string, Weight>): void {
  const name = nameOf(ours);
  const shape = ours.node.inputs[1]!.shape as readonly number[];
  const weight = file.constant(node.input[1]);
  if (weight?.shape.join() !== shape.join())
    fail(file.path, `the filter of ${name} is ${weight ? `[${weight.shape}]` : 'not constant'}, should be [${shape}]`);
  const bias = file.constant(node.input[2]);
  const parts = norm ? apart(file, norm, bias, name) : folded(shape[0]!, bias);
  weights.set(`${name}.conv.weight`, weight);
  for (const [part, data] of Object.entries(parts)) {
    if (data.length !== shape[0]) fail(file.path, `${name} has ${data.length} values of bn.${part}, should have ${shape[0]}`);
    weights.set(`${name}.bn.${part}`, { shape: [shape[0]], data });
  }
}

/** Operators by ours. */
const THEIRS: Readonly<Record<string, readonly string[]>> = {
  conv2d: ['Conv'],
  concat: ['Concat'],
  maxPool: ['MaxPool'],
  averagePool: ['AveragePool'],
};

/** Both graphs from a value of ours and the one of the file that should be the same. */
function walk(file: File, from: Tensor, name: string, weights: Map<string, Weight>): void {
  const seen = new Set<Tensor>();
  const step = (ours: Tensor, theirs: string, place: string): void => {
    if (leafOf(ours) || seen.has(ours)) return;
    seen.add(ours);
    const kind = THEIRS[ours.node.op.name];
    if (!kind) {
      step(ours.node.inputs[0]!, theirs, place); // ReLU
      return;
    }
    const { node, norm } = upwards(file, theirs, place);
    if (!kind.includes(node.opType))
      fail(file.path, `at ${place} it has ${node.opType} ${JSON.stringify(node.name)}, should have ${kind[0]}`);
    if (ours.node.op.name !== 'concat') {
      if (ours.node.op.name === 'conv2d') takeConvolution(file, ours, node, norm, weights);
      step(ours.node.inputs[0]!, node.input[0] ?? '', ours.node.op.name === 'conv2d' ? nameOf(ours) : place);
      return;
    }
    const inputs = flat(file, node);
    if (inputs.length !== ours.node.inputs.length)
      fail(file.path, `at ${place} ${inputs.length} branches come together, should be ${ours.node.inputs.length}`);
    for (const [i, branch] of ours.node.inputs.entries()) step(branch, inputs[i]!, place);
  };
  step(from, name, 'the last block');
}

/** The classifier [1008, 2048] and its bias, where the file has both. */
function classifier(file: File): Weights {
  const of = (node: NodeProto): Weight | null => {
    const weight = ['Gemm', 'MatMul'].includes(node.opType) ? file.constant(node.input[1]) : null;
    if (weight?.shape.join() === `${INCEPTION_CLASSES},${FEATURES}`) return weight;
    if (weight?.shape.join() !== `${FEATURES},${INCEPTION_CLASSES}`) return null;
    const data = Float32Array.from(weight.data, (_, i) => weight.data[(i % FEATURES) * INCEPTION_CLASSES + Math.floor(i / FEATURES)]!);
    return { shape: [INCEPTION_CLASSES, FEATURES], data };
  };
  const biasOf = (node: NodeProto): Weight | null => {
    const add = file.model.graph.node.find(({ opType, input: names }) => opType === 'Add' && names.includes(node.output[0]!));
    const found = [node.input[2], ...(add?.input ?? [])].map((name) => file.constant(name));
    return found.find((one) => one?.shape.join() === String(INCEPTION_CLASSES)) ?? null;
  };
  for (const node of file.model.graph.node) {
    const weight = of(node);
    const bias = weight && biasOf(node);
    if (weight && bias)
      return new Map([
        ['fc.weight', weight],
        ['fc.bias', bias],
      ]);
  }
  return new Map();
}

/** Several times what the network takes in doubles. */
const MOST_BYTES = 1e9;
/** The model without what it keeps in other files. */
async function alone(path: string): Promise<OnnxModel> {
  const bytes = await openRanges(path);
  try {
    if (bytes.size > MOST_BYTES) fail(path, `it has ${bytes.size} bytes`);
    return parseModel(await bytes.read(0, bytes.size), path);
  } finally {
    await bytes.close();
  }
}

/**
 * Weights under the names of pytorch-fid's checkpoint; without `fc.…` where the file ends at the features.
 * @throws InputError for a file that cannot be read, keeps its weights elsewhere, or holds another network
 */
export async function readInceptionOnnx(path: string): Promise<Weights> {
  const file = opened(path, await alone(path));
  const last = file.model.graph.node.findLast(({ opType }) => opType === 'Concat');
  if (!last) return fail(path, 'no branches come together in it');
  const net = inception(recordingScope('inception').scope, input('images', ['N', 3, INCEPTION_SIZE, INCEPTION_SIZE]));
  const ours = topological([net.features(FEATURES)]).findLast(({ op }) => op.name === 'concat')!;
  const weights = new Map<string, Weight>();
  walk(file, ours.outputs[0]!, last.output[0]!, weights);
  return new Map([...weights, ...classifier(file)]);
}
