/** @file What an operator sees of a node: its inputs as tensors, numbers or sizes, its attributes, and the batch size. */
import type { GraphProto } from 'onnx-buf';
import { cast, less, where } from '../../../engine/graph/ops/elementwise.ts';
import { constant, leafOf } from '../../../engine/graph/ops/leaf.ts';
import { concat, reshape, slice } from '../../../engine/graph/ops/movement.ts';
import { type Dim, type DType, isSymbolic, multipleOf, type Shape, show, type Tensor } from '../../../engine/graph/tensor.ts';
import type { Attributes } from './attributes.ts';
import { computed } from './fold.ts';
import { countRows, type RowNumbers } from './rows.ts';
import { decodeSize, encodeSize } from './sizes.ts';

/** What belongs to a whole import. */
export interface Session {
  readonly where: string;
  /** Constants whose values depend on the batch size; see sizes.ts. */
  readonly batchSized: Set<Tensor>;
  /** Numbers of the samples; see rows.ts. */
  readonly rows: RowNumbers;
  /** Initial values of parameters, for operators that need them as numbers, and the names of those that did. */
  readonly initial: Map<Tensor, { readonly name: string; readonly data: Float32Array }>;
  readonly asNumbers: Set<string>;
  /** An input with a symbolic leading size, if there is one. */
  readonly batched: Tensor | undefined;
}

/** How one ONNX operator becomes a part of our graph. */
export interface Operator {
  /** The outputs, as many as are supported. */
  readonly build: (node: NodeView) => Tensor | readonly Tensor[];
  /** Whether sizes may be computed by it. */
  readonly sizes?: true;
  /** Whether gradients flow: to all float inputs, nowhere because the result is no smooth number, or zero as everywhere but at the jumps. */
  readonly gradient: 'yes' | 'none' | 'zero';
  /** What is not supported of it, for the documentation. */
  readonly limits?: string;
}
export type Operators = Readonly<Record<string, Operator>>;

export interface NodeView {
  readonly opset: number;
  readonly attr: Attributes;
  readonly inputs: number;
  readonly outputs: number;
  /** Input i. Errors: it is missing, has fewer than `rank` axes, or depends on the batch size where that cannot be. */
  x(i: number, rank?: number): Tensor;
  maybe(i: number): Tensor | undefined;
  /** All inputs. */
  all(): readonly Tensor[];
  /** Values of an input that must be constant. */
  numbers(i: number, what: string): readonly number[];
  /** The same as sizes, among which −1 may stand. */
  sizes(i: number, what: string): readonly (Dim | -1)[];
  /** Bounds of ranges: as `numbers`, but the batch size may stand there for "to the end". */
  bounds(i: number, what: string): readonly number[];
  /** A vector of sizes as a tensor. */
  shapeTensor(shape: Shape): Tensor;
  /** 0…dim − 1 for a symbolic size. */
  rows(dim: Exclude<Dim, number>): Tensor;
  /** Zeros [dim] for a symbolic size. */
  zeros(dim: Exclude<Dim, number>, dtype: DType): Tensor;
  /** Runs a subgraph in the scope of this node. */
  subgraph(graph: GraphProto): readonly Tensor[];
  fail(message: string): never;
}

export interface Place {
  readonly opset: number;
  readonly attr: Attributes;
  readonly given: readonly (Tensor | undefined)[];
  readonly outputs: number;
  readonly subgraph: (graph: GraphProto) => readonly Tensor[];
  readonly fail: (message: string) => never;
}

/** The numbers of a constant tensor. */
export const constantValues = (t: Tensor): readonly number[] | undefined => {
  const leaf = leafOf(t);
  return leaf?.kind === 'constant' ? Array.from(leaf.data as ArrayLike<number | bigint>, Number) : undefined;
};
export const isConstant = (t: Tensor): boolean => leafOf(t)?.kind === 'constant';
/** A parameter that directs an operator is none: it is remembered, and becomes a constant. */
function initialValues({ initial, asNumbers }: Session, t: Tensor): readonly number[] | undefined {
  const found = initial.get(t);
  if (found) asNumbers.add(found.name);
  return found && Array.from(found.data);
}
/** Lists of numbers that direct an operator are short. */
const LONGEST_LIST = 2 ** 20;

export function nodeView(session: Session, operator: Operator, { opset, attr, given, outputs, subgraph, fail }: Place): NodeView {
  const foldable = given.every((t) => !t || isConstant(t));
  const checked = (t: Tensor | undefined, i: number): Tensor => {
    if (!t) return fail(`input ${i} is missing`);
    if (session.batchSized.has(t) && !(operator.sizes && foldable))
      fail(`input ${i} depends on the batch size N, which is not a value of the graph`);
    return t;
  };
  const values = (i: number, what: string): readonly number[] => {
    const t = given[i] ?? fail(`${what} (input ${i}) is missing`);
    const found =
      constantValues(t) ??
      initialValues(session, t) ??
      constantValues(computed(t)) ??
      fail(`${what} (input ${i}, ${show(t)}) is not known when the file is imported; only constant ones are supported`);
    return found.length <= LONGEST_LIST ? found : fail(`${what} (input ${i}) holds ${found.length} values`);
  };
  return {
    opset,
    attr,
    inputs: given.length,
    outputs,
    subgraph,
    fail,
    x(i, rank = 0) {
      const t = checked(given[i], i);
      return t.shape.length >= rank ? t : fail(`input ${i} is ${show(t)}; it must have at least ${rank} axes`);
    },
    maybe: (i) => (given[i] ? checked(given[i], i) : undefined),
    all: () => given.map(checked),
    numbers(i, what) {
      if (given[i] && session.batchSized.has(given[i])) fail(`${what} (input ${i}) depends on the batch size N`);
      return values(i, what);
    },
    bounds: values,
    sizes: (i, what) =>
      values(i, what).map((v) => decodeSize(v) ?? fail(`${what} (input ${i}) holds a size that is no whole multiple of the batch size N`)),
    shapeTensor(shape) {
      const t = constant(
        BigInt64Array.from(shape, (d) => BigInt(encodeSize(d))),
        [shape.length],
      );
      if (shape.some(isSymbolic)) session.batchSized.add(t);
      return t;
    },
    rows: (dim) => countRows(session, dim),
    zeros: (dim, dtype) => batchZeros(session, dim, dtype, fail),
  };
}

/** Zeros [dim]: one value of each sample, compared with itself. */
function batchZeros({ batched }: Session, dim: Exclude<Dim, number>, dtype: DType, fail: (message: string) => never): Tensor {
  const own = batched?.shape[0];
  if (!batched || own === undefined || !isSymbolic(own)) return fail('a shape depends on the batch size N, which no input has');
  const copies = multipleOf(dim) / multipleOf(own);
  if (!Number.isInteger(copies)) fail(`a size is ${dim}, but the inputs have the batch size ${own}`);
  const one = batched.shape.slice(1).reduce((t: Tensor, _, axis) => slice(t, axis + 1, 0, 1), batched);
  const flat = reshape(one, [own]);
  const never = flat.dtype === 'bool' ? fail('the batch size is that of a truth value') : less(flat, flat);
  const zeros = dtype === 'bool' ? never : dtype === 'float32' ? where(never, 1, 0) : cast(never, dtype);
  return concat(
    Array.from({ length: copies }, () => zeros),
    0,
  );
}
