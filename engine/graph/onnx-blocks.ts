/** @file Weights of few bits in ONNX files: matrices for ONNX Runtime's MatMulNBits, everything else widened when the file is loaded. */
import { type Bits, BLOCK, exactBlocks, packed, SMALLEST, turned } from './blocks.ts';
import { ELEMENT_TYPE } from './ops/elementwise.ts';
import { type LeafAttrs, leafOf } from './ops/leaf.ts';
import { type Emitter, type Node, sizeOf, type Tensor } from './tensor.ts';

/** An emitter that can store bytes. */
export interface ByteEmitter extends Emitter {
  bytes(values: Uint8Array, shape: readonly number[]): string;
}

/** Whether a constant may be a weight that was rounded to blocks. */
const isLarge = ({ kind, dtype, shape }: LeafAttrs): boolean =>
  kind === 'constant' && dtype === 'float32' && shape.length >= 2 && sizeOf(shape) >= SMALLEST;
const float32 = (leaf: LeafAttrs): Float32Array =>
  leaf.data instanceof Float32Array ? leaf.data : Float32Array.from(leaf.data as ArrayLike<number>);

/** Constants and matrices, each written once. */
export interface BlockWriter {
  /** The name of a constant that blocks hold exactly; undefined for any other. */
  constant(leaf: LeafAttrs): string | undefined;
  /** The name of the product of x with such a matrix; undefined for any other node. */
  product(node: Node, x: (t: Tensor) => string): string | undefined;
}

export function blockWriter(emit: ByteEmitter, bits: Bits): BlockWriter {
  const matrices = new Map<LeafAttrs, readonly [string, string] | undefined>();
  const stored = (codes: Uint8Array, shape: readonly number[]): string => {
    const [rows, perRow] = shape as [number, number];
    return bits === 8 ? emit.bytes(codes, [rows, perRow, BLOCK]) : emit.bytes(packed(codes), [rows, perRow, BLOCK / 2]);
  };
  const matrixOf = (leaf: LeafAttrs): readonly [string, string] | undefined => {
    const [k, n] = leaf.shape as [number, number];
    const blocks = exactBlocks(turned(float32(leaf), k, n), n, bits);
    return blocks ? [stored(blocks.codes, [n, blocks.perRow]), emit.floats(blocks.scales, [n * blocks.perRow])] : undefined;
  };
  return {
    constant(leaf) {
      if (!isLarge(leaf)) return undefined;
      const shape = leaf.shape as readonly number[];
      const rows = shape[0]!;
      // A matrix may have been turned after it was rounded.
      const across = shape.length === 2 ? exactBlocks(turned(float32(leaf), rows, shape[1]!), shape[1]!, bits) : null;
      const blocks = across ?? exactBlocks(float32(leaf), rows, bits);
      if (!blocks) return undefined;
      const made = across ? [shape[1]!, rows] : shape;
      const values = widened(emit, bits, stored(blocks.codes, [made[0]!, blocks.perRow]), blocks.scales, made);
      return across ? emit.node('Transpose', [values], { perm: [1, 0] }) : values;
    },
    product({ op, inputs: [x, w] }, nameOf) {
      const leaf = op.name === 'matmul' ? leafOf(w!) : null;
      if (leaf?.shape.length !== 2 || !isLarge(leaf)) return undefined;
      if (!matrices.has(leaf)) matrices.set(leaf, matrixOf(leaf));
      const matrix = matrices.get(leaf);
      const [K, N] = leaf.shape as [number, number];
      return (
        matrix && emit.node('MatMulNBits', [nameOf(x!), ...matrix], { K, N, bits, block_size: BLOCK, accuracy_level: 1 }, 'com.microsoft')
      );
    },
  };
}

/** (code − 2^(bits−1)) · scale, by operators that ONNX Runtime computes once when it loads the file. */
function widened(emit: ByteEmitter, bits: Bits, codes: string, scales: Float32Array, shape: readonly number[]): string {
  const rows = shape[0]!;
  const length = shape.slice(1).reduce((a, b) => a * b, 1);
  const perRow = scales.length / rows;
  const numbers = emit.node('Cast', [codes], { to: ELEMENT_TYPE.float32 });
  const whole = bits === 8 ? numbers : halves(emit, numbers, rows, perRow);
  const scaled = emit.node('Mul', [emit.node('Sub', [whole, emit.scalar(2 ** (bits - 1))]), emit.floats(scales, [rows, perRow, 1])]);
  const flat = emit.node('Reshape', [scaled, emit.ints([rows, perRow * BLOCK])]);
  const cut = perRow * BLOCK === length ? flat : emit.node('Slice', [flat, emit.ints([0]), emit.ints([length]), emit.ints([1])]);
  return emit.node('Reshape', [cut, emit.ints(shape)]);
}
/** Bytes as the two numbers that they hold. */
function halves(emit: ByteEmitter, bytes: string, rows: number, perRow: number): string {
  const high = emit.node('Floor', [emit.node('Mul', [bytes, emit.scalar(1 / 16)])]);
  const low = emit.node('Sub', [bytes, emit.node('Mul', [high, emit.scalar(16)])]);
  const single = emit.ints([rows, perRow, BLOCK / 2, 1]);
  const both = emit.node('Concat', [emit.node('Reshape', [low, single]), emit.node('Reshape', [high, single])], { axis: 3 });
  return emit.node('Reshape', [both, emit.ints([rows, perRow, BLOCK])]);
}
