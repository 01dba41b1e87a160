/** @file Reads an ONNX file: its graph, the bytes that it keeps in other files, and what it says of itself. */
import { fromBinary } from '@bufbuild/protobuf';
import { type FunctionProto, type GraphProto, type ModelProto, ModelProtoSchema, type NodeProto, type TensorProto } from 'onnx-buf';
import { openBeside } from '../../../engine/io/beside.ts';
import { InputError } from '../../../engine/io/errors.ts';
import { openRanges, type RangeFile } from '../../../engine/io/range-file.ts';
import { byteLength } from './tensors.ts';

/** Versions of the operator set that are read. */
export const OPSETS = { first: 11, last: 21 } as const;
/** Protocol buffers end there; what is larger keeps its weights beside it. */
const MAX_BYTES = 2 ** 31;

export interface OnnxModel {
  readonly where: string;
  readonly opset: number;
  readonly graph: GraphProto;
  /** Functions that the file defines itself, by domain and name. */
  readonly functions: ReadonlyMap<string, FunctionProto>;
  readonly metadata: Readonly<Record<string, string>>;
}
export const functionKey = ({ domain, name }: { readonly domain: string; readonly name: string }): string => `${domain} ${name}`;

/** Errors: InputError where it is no ONNX model, or one of an opset that is not read. */
export function parseModel(bytes: Uint8Array, where: string): OnnxModel {
  let model: ModelProto;
  try {
    model = fromBinary(ModelProtoSchema, bytes);
  } catch (error) {
    throw new InputError(`${where}: is no ONNX file, or a damaged one: ${(error as Error).message.replace(/\s+/g, ' ').slice(0, 200)}`);
  }
  if (!model.graph || model.graph.output.length === 0) throw new InputError(`${where}: is no ONNX model: it has no graph with outputs`);
  return {
    where,
    opset: opsetOf(where, model.opsetImport),
    graph: model.graph,
    functions: new Map(model.functions.map((f) => [functionKey(f), f])),
    metadata: Object.fromEntries(model.metadataProps.map(({ key, value }) => [key, value])),
  };
}

/** The version of the standard's operators. */
export function opsetOf(where: string, imports: ModelProto['opsetImport']): number {
  const found = imports.find(({ domain }) => domain === '' || domain === 'ai.onnx');
  const opset = Number(found?.version ?? 0);
  if (!found || opset < OPSETS.first || opset > OPSETS.last)
    throw new InputError(
      `${where}: is of ${found ? `opset ${opset}` : 'no opset'}; ${OPSETS.first} to ${OPSETS.last} are read: convert it, or export it again with opset_version=18`,
    );
  return opset;
}

/** Graphs nest; no honest file goes deeper. */
const MAX_DEPTH = 32;
function* tensorsOfNodes(nodes: readonly NodeProto[], where: string, depth: number): Generator<TensorProto> {
  for (const node of nodes)
    for (const attribute of node.attribute) {
      if (attribute.t) yield attribute.t;
      yield* attribute.tensors;
      for (const graph of attribute.g ? [attribute.g, ...attribute.graphs] : attribute.graphs) yield* tensorsOf(graph, where, depth + 1);
    }
}
function* tensorsOf(graph: GraphProto, where: string, depth = 0): Generator<TensorProto> {
  if (depth > MAX_DEPTH) throw new InputError(`${where}: graphs are nested more than ${MAX_DEPTH} deep`);
  yield* graph.initializer;
  yield* tensorsOfNodes(graph.node, where, depth);
}

const EXTERNAL = 1;
interface Place {
  readonly location: string;
  readonly offset: number;
  readonly length: number;
}
function placeOf(where: string, tensor: TensorProto): Place {
  const entries = new Map(tensor.externalData.map(({ key, value }) => [key, value]));
  const wanted = byteLength(where, tensor);
  const number = (key: string, missing: number): number => {
    const text = entries.get(key);
    const value = text === undefined ? missing : Number(text);
    if (!Number.isSafeInteger(value) || value < 0)
      throw new InputError(`${where}: its ${key} is ${JSON.stringify(text)}; it must be a number of bytes`);
    return value;
  };
  const place = { location: entries.get('location') ?? '', offset: number('offset', 0), length: number('length', wanted) };
  if (place.length !== wanted) throw new InputError(`${where}: takes ${wanted} bytes, but its file is said to hold ${place.length} of it`);
  return place;
}

/** Fetches what lies in other files, each tensor by its own range. */
async function fetchExternal(path: string, model: OnnxModel): Promise<void> {
  const files = new Map<string, RangeFile>();
  try {
    const graphs = [...tensorsOf(model.graph, path)];
    for (const f of model.functions.values()) graphs.push(...tensorsOfNodes(f.node, path, 0));
    for (const tensor of graphs.filter((t) => (t.dataLocation as number) === EXTERNAL)) {
      const where = `${path}: tensor ${JSON.stringify(tensor.name)}`;
      const { location, offset, length } = placeOf(where, tensor);
      const file = files.get(location) ?? (await openBeside(path, location));
      files.set(location, file);
      tensor.rawData = (await file.read(offset, length)) as Uint8Array<ArrayBuffer>;
      tensor.dataLocation = 0;
    }
  } finally {
    for (const file of files.values()) await file.close();
  }
}

/**
 * Reads a model with everything that belongs to it.
 * @throws InputError where it is missing or damaged, of an opset that is not read, or names a file outside its folder
 */
export async function readModel(path: string): Promise<OnnxModel> {
  const file = await openRanges(path);
  try {
    if (file.size > MAX_BYTES)
      throw new InputError(`${path}: has ${file.size} bytes; an ONNX file has at most ${MAX_BYTES}, its weights lie beside it`);
    const model = parseModel(await file.read(0, file.size), path);
    await fetchExternal(path, model);
    return model;
  } finally {
    await file.close();
  }
}
