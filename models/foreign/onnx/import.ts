/** @file Imports ONNX files: a differentiable function of our graph, and the weights that may be trained. The inverse of engine/graph/onnx.ts. */
import '../../../engine/graph/fluent.ts';
import type { TensorProto, ValueInfoProto } from 'onnx-buf';
import { constant, input } from '../../../engine/graph/ops/leaf.ts';
import { type Dim, type DType, isSymbolic, type Shape, show, type Tensor } from '../../../engine/graph/tensor.ts';
import { InputError } from '../../../engine/io/errors.ts';
import { nearest } from '../../../engine/io/nearest.ts';
import type { Scope } from '../../../engine/train/network.ts';
import { recordingScope, type Weight, type Weights } from '../../../engine/train/weights.ts';
import { buildGraph, type Trace } from './build.ts';
import { type OnnxModel, parseModel, readModel } from './model.ts';
import type { Session } from './node.ts';
import { rowNumbers } from './rows.ts';
import { elementType, readTensor } from './tensors.ts';

/** An input or output of the file. */
export interface Port {
  readonly name: string;
  readonly dtype: DType;
  /** A leading size that the file leaves free is N. */
  readonly shape: Shape;
}
export interface ImportOptions {
  /**
   * Names of float initializers that become parameters of the scope; `*` stands for any characters, a leading `!` takes out what was chosen before.
   * Default: none, all weights are constants.
   */
  readonly trainable?: readonly string[];
  /** Values of free sizes other than the leading one, by their names in the file (`height`) or as INPUT.AXIS (`sample.2`). */
  readonly sizes?: Readonly<Record<string, number>>;
}
export interface ImportedOnnx {
  readonly inputs: readonly Port[];
  readonly outputs: readonly Port[];
  /**
   * Adds the file's network to a graph: its outputs by name. Inputs are shaped as their ports; the leading size may be any where the port says N.
   * @throws InputError where one is missing or of another shape
   */
  readonly network: (scope: Scope, inputs: Readonly<Record<string, Tensor>>) => Readonly<Record<string, Tensor>>;
  /** The same with all values in between, by their names in the file. Errors as in `network`. */
  readonly trace: (scope: Scope, inputs: Readonly<Record<string, Tensor>>) => Trace;
  /** Initial values of the parameters, by their names in the file. */
  readonly weights: Weights;
  readonly opset: number;
  readonly metadata: Readonly<Record<string, string>>;
}

/**
 * Reads an ONNX file with its external data.
 * @throws InputError: damaged or missing files, opsets and operators that are not supported (named with their node), free sizes that are not given
 */
export const importOnnx = async (path: string, options: ImportOptions = {}): Promise<ImportedOnnx> =>
  imported(await readModel(path), options);
/** The same from bytes, without external data. @param where the name for messages */
export const importOnnxBytes = (bytes: Uint8Array, options: ImportOptions = {}, where = 'onnx'): ImportedOnnx =>
  imported(parseModel(bytes, where), options);

function imported(model: OnnxModel, { trainable = [], sizes = {} }: ImportOptions): ImportedOnnx {
  const { where, graph } = model;
  const initializers = new Map(graph.initializer.map((t) => [t.name, t]));
  if (graph.sparseInitializer.length > 0) throw new InputError(`${where}: holds sparse initializers, which are not supported`);
  const inputs = graph.input.filter(({ name }) => !initializers.has(name)).map((value) => portOf(where, value, sizes));
  checkSizes(where, graph.input, sizes);
  const weights = chosen(where, [...initializers.values()], trainable);
  const asNumbers = new Set<string>();
  const constants = constantsOf(where, initializers, weights);
  const trace: ImportedOnnx['trace'] = (scope, given) => {
    const fed = new Map(inputs.map((port) => [port.name, fitting(where, port, given[port.name])]));
    const session: Session = {
      where,
      batchSized: new Set(),
      rows: rowNumbers(),
      initial: new Map(),
      asNumbers,
      batched: [...fed.values()].find((t) => isSymbolic(t.shape[0] ?? 1)),
    };
    return buildGraph(model, session, fed, (name) => {
      const weight = weights.get(name);
      if (!weight) return constants(name);
      const parameter = scope(name, weight.shape, { kind: 'values', values: weight.data });
      session.initial.set(parameter, { name, data: weight.data });
      return parameter;
    });
  };
  const network: ImportedOnnx['network'] = (scope, given) => trace(scope, given).outputs;
  const trial = network(recordingScope('onnx').scope, Object.fromEntries(inputs.map((p) => [p.name, input(p.name, p.shape, p.dtype)])));
  // What an operator needs as numbers is no weight.
  for (const name of asNumbers) weights.delete(name);
  const outputs = Object.entries(trial).map(([name, { shape, dtype }]) => ({ name, shape, dtype }));
  return { inputs, outputs, network, trace, weights, opset: model.opset, metadata: model.metadata };
}

const quoted = (name: string): string => JSON.stringify(name.length > 80 ? `${name.slice(0, 80)}…` : name);

function portOf(where: string, { name, type }: ValueInfoProto, sizes: Readonly<Record<string, number>>): Port {
  const at = `${where}: input ${quoted(name)}`;
  const tensor = type?.value.case === 'tensorType' ? type.value.value : undefined;
  if (!tensor?.shape)
    throw new InputError(`${at}: ${tensor ? 'says nothing of its shape' : 'is no tensor'}; only tensors of a known rank are supported`);
  const shape = tensor.shape.dim.map(({ value }, axis): Dim => {
    if (value.case === 'dimValue')
      return Number(value.value) >= 0 && Number(value.value) < 2 ** 31 ? Number(value.value) : badSize(at, axis, value.value);
    const label = value.case === 'dimParam' ? value.value : '';
    const size = sizes[`${name}.${axis}`] ?? (label !== '' && Object.hasOwn(sizes, label) ? sizes[label] : undefined);
    if (size !== undefined) return Number.isInteger(size) && size > 0 ? size : badSize(at, axis, size);
    if (axis === 0) return 'N';
    throw new InputError(
      `${at}: the size of axis ${axis}${label ? ` (${label})` : ''} is free; give it a number: sizes { ${quoted(label || `${name}.${axis}`)}: … }`,
    );
  });
  return { name, shape, dtype: elementType(at, tensor.elemType).dtype };
}
const badSize = (at: string, axis: number, size: unknown): never => {
  throw new InputError(`${at}: the size of axis ${axis} is ${size}; sizes are whole numbers`);
};
/** Errors: a size that no input asks for. */
function checkSizes(where: string, values: readonly ValueInfoProto[], sizes: Readonly<Record<string, number>>): void {
  const known = values.flatMap(({ name, type }) =>
    type?.value.case !== 'tensorType'
      ? []
      : (type.value.value.shape?.dim ?? []).flatMap(({ value }, axis) =>
          value.case === 'dimValue' ? [] : [`${name}.${axis}`, value.case === 'dimParam' ? value.value : ''],
        ),
  );
  const wrong = Object.keys(sizes).find((name) => !known.includes(name));
  if (wrong === undefined) return;
  const near = nearest(wrong, known);
  throw new InputError(
    `${where}: no free size is called ${quoted(wrong)}${near ? `; did you mean ${near}?` : `; there are ${known.filter((k) => k !== '').join(', ') || 'none'}`}`,
  );
}

/** Errors: an input that is missing, or not of its port's type. */
function fitting(where: string, port: Port, t: Tensor | undefined): Tensor {
  const wanted = show(port);
  if (!t) throw new InputError(`${where}: the input ${quoted(port.name)} ${wanted} is missing`);
  const fits =
    t.dtype === port.dtype &&
    t.shape.length === port.shape.length &&
    port.shape.every((d, i) => d === t.shape[i] || (i === 0 && isSymbolic(d)));
  if (!fits) throw new InputError(`${where}: the input ${quoted(port.name)} is ${show(t)}; it must be ${wanted}`);
  return t;
}

const globOf = (pattern: string): RegExp =>
  new RegExp(
    `^${pattern
      .split('*')
      .map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'))
      .join('.*')}$`,
    's',
  );
/** The float initializers that the patterns choose. Errors: a pattern that chooses none. */
function chosen(where: string, initializers: readonly TensorProto[], patterns: readonly string[]): Map<string, Weight> {
  const floats =
    patterns.length === 0
      ? []
      : initializers.filter((t) => elementType(`${where}: tensor ${quoted(t.name)}`, t.dataType).dtype === 'float32');
  const names = new Set<string>();
  for (const pattern of patterns) {
    const out = pattern.startsWith('!');
    const glob = globOf(out ? pattern.slice(1) : pattern);
    // A single number is no weight, unless it is asked for by its name.
    const found = floats.filter(({ name, dims }) => glob.test(name) && (dims.length > 0 || !pattern.includes('*')));
    if (found.length === 0)
      throw new InputError(
        `${where}: the pattern ${quoted(pattern)} matches none of its ${floats.length} float weights${
          floats.length > 0
            ? `: ${floats
                .slice(0, 5)
                .map((t) => t.name)
                .join(', ')}, …`
            : ''
        }`,
      );
    for (const { name } of found) out ? names.delete(name) : names.add(name);
  }
  return new Map(
    floats
      .filter(({ name }) => names.has(name))
      .map((t): [string, Weight] => {
        const { shape, data } = readTensor(`${where}: tensor ${quoted(t.name)}`, t);
        return [t.name, { shape, data: data instanceof Float32Array ? data.slice() : Float32Array.from(data as Float64Array) }];
      }),
  );
}

/** All other initializers as constants, each read once. */
function constantsOf(
  where: string,
  initializers: ReadonlyMap<string, TensorProto>,
  weights: Weights,
): (name: string) => Tensor | undefined {
  const made = new Map<string, Tensor>();
  return (name) => {
    const tensor = weights.has(name) ? undefined : initializers.get(name);
    if (tensor && !made.has(name)) {
      const { data, shape, dtype } = readTensor(`${where}: tensor ${quoted(name)}`, tensor);
      made.set(name, constant(data, shape, dtype));
    }
    return made.get(name);
  };
}
