/** @file The symbolic graph. A tensor is a value that some node will produce; it owns no memory. */

export type DType = 'float32' | 'float16' | 'int64' | 'uint8' | 'bool';

/** A size: a fixed number, or a whole multiple of the batch symbol N ('N', '2N', …). At most one size of a shape is symbolic. */
export type Dim = number | 'N' | `${number}N`;
export type Shape = readonly Dim[];

/** What is known of a value before anything runs. */
export interface TensorType {
  readonly shape: Shape;
  readonly dtype: DType;
}

export class Tensor implements TensorType {
  readonly node: Node;
  /** Which of the node's outputs. */
  readonly index: number;
  readonly shape: Shape;
  readonly dtype: DType;
  constructor(node: Node, index: number, shape: Shape, dtype: DType) {
    this.node = node;
    this.index = index;
    this.shape = shape;
    this.dtype = dtype;
  }
}

export interface Node<A = unknown> {
  readonly op: Op<A>;
  readonly inputs: readonly Tensor[];
  readonly attrs: A;
  readonly outputs: readonly Tensor[];
}

/** A concrete value of the float64 interpreter. Integers and booleans are numbers too. */
export interface Value {
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

/** Where a graph will run; spellings may differ. 'any' keeps to operators of the ONNX standard. */
export type Target = 'cpu' | 'webgpu' | 'cuda' | 'any';

/** ONNX attributes: whole numbers unless marked as float. */
export type Attributes = Readonly<Record<string, number | string | readonly number[] | { readonly float: number }>>;

/** Writes ONNX nodes; values go by name. A node that was emitted before is not repeated. */
export interface Emitter {
  readonly target: Target;
  /** Channels in a block of ONNX Runtime's blocked layout on this machine; 0 where it has none or the target is another. */
  readonly block: number;
  /** Emits one node and returns the name of its output. */
  node(type: string, inputs: readonly string[], attrs?: Attributes, domain?: string): string;
  /** Emits one node with several outputs. */
  nodes(type: string, inputs: readonly string[], outputs: number, attrs?: Attributes, domain?: string): string[];
  /** An int64 vector. */
  ints(values: readonly number[]): string;
  /** A scalar. */
  scalar(value: number, dtype?: DType): string;
  /** A constant float32 tensor. */
  floats(values: Float32Array, shape: readonly number[]): string;
}

/** Everything the engine knows about one operation, in one place. */
export interface Op<A = unknown> {
  readonly name: string;
  /** Output types, or a thrown ShapeError. */
  infer(inputs: readonly TensorType[], attrs: A): readonly TensorType[];
  /** Cotangents of the inputs from those of the outputs (null where none arrived); null where no gradient flows. */
  readonly vjp: ((node: Node<A>, dy: readonly (Tensor | null)[]) => readonly (Tensor | null)[]) | null;
  /** How it is spelled in ONNX for the emitter's target: names of the outputs. */
  onnx(node: Node<A>, inputs: readonly string[], emit: Emitter): readonly string[];
  /** The same in plain float64, for tests and constant folding. `out` holds the concrete shapes of the outputs. */
  reference(inputs: readonly Value[], node: Node<A>, out: readonly (readonly number[])[]): readonly Float64Array[];
}

export class ShapeError extends Error {
  override readonly name = 'ShapeError';
}

/** Makes a node and returns its outputs. */
export function applyAll<A>(op: Op<A>, inputs: readonly Tensor[], attrs: A): readonly Tensor[] {
  const outputs: Tensor[] = [];
  const node: Node<A> = { op, inputs, attrs, outputs };
  op.infer(inputs, attrs).forEach((type, index) => {
    outputs.push(new Tensor(node as Node, index, type.shape, type.dtype));
  });
  return outputs;
}

/** Makes a node and returns its first output. */
export const apply = <A>(op: Op<A>, inputs: readonly Tensor[], attrs: A): Tensor => applyAll(op, inputs, attrs)[0]!;

export const isSymbolic = (dim: Dim): dim is Exclude<Dim, number> => typeof dim !== 'number';
/** The k of kN. */
export const multipleOf = (dim: Exclude<Dim, number>): number => (dim === 'N' ? 1 : Number(dim.slice(0, -1)));
export const symbolic = (multiple: number): Dim => (multiple === 1 ? 'N' : `${multiple}N`);
/** A size times a whole number. */
export const scaleDim = (dim: Dim, by: number): Dim => (isSymbolic(dim) ? symbolic(multipleOf(dim) * by) : dim * by);

/** How many values, as k or kN. */
export function elements(shape: Shape): Dim {
  const fixed = shape.reduce<number>((n, d) => n * (isSymbolic(d) ? multipleOf(d) : d), 1);
  return shape.some(isSymbolic) ? symbolic(fixed) : fixed;
}

/** How many values a shape without N holds. */
export function sizeOf(shape: Shape): number {
  const n = elements(shape);
  if (isSymbolic(n)) throw new ShapeError(`size of [${shape.join(',')}]: the batch size N is not fixed here; give the input a number`);
  return n;
}

/** A size that must be a number. */
export function fixed(where: string, dim: Dim | undefined): number {
  if (typeof dim !== 'number') throw new ShapeError(`${where}: needs a fixed size, got ${dim}`);
  return dim;
}

export const sameShape = (a: Shape, b: Shape): boolean => a.length === b.length && a.every((d, i) => d === b[i]);
export const show = (t: TensorType): string => `${t.dtype}[${t.shape.join(',')}]`;
/** Replaces N by a number. */
export const bind = (shape: Shape, n: number): number[] => shape.map((d) => (isSymbolic(d) ? multipleOf(d) * n : d));

/** An axis counted from the front; negative ones count from the back. */
export function axisOf(where: string, axis: number, rank: number): number {
  if (!Number.isInteger(axis) || axis < -rank || axis >= rank) {
    throw new ShapeError(`${where}: axis ${axis} is not in [${-rank}, ${rank - 1}]`);
  }
  return axis < 0 ? axis + rank : axis;
}

/** Nodes that `roots` depend on, producers first. */
export function topological(roots: readonly Tensor[]): Node[] {
  const order: Node[] = [];
  const seen = new Set<Node>();
  const stack: { readonly node: Node; next: number }[] = [];
  const push = (node: Node): void => {
    if (seen.has(node)) return;
    seen.add(node);
    stack.push({ node, next: 0 });
  };
  for (const root of roots) {
    push(root.node);
    while (stack.length > 0) {
      const top = stack[stack.length - 1]!;
      const input = top.node.inputs[top.next++];
      if (input) push(input.node);
      else order.push(stack.pop()!.node);
    }
  }
  return order;
}
