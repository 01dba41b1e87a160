/**
 * @file Weights in blocks of few bits: 32 neighbouring values of a row share a scale, each is a whole number times it. The value of largest magnitude
 * becomes −2^(bits−1), so that the scale can be read off the rounded values again and is never stored before the file is written.
 */

export type Bits = 4 | 8;
/** Values that share a scale. */
export const BLOCK = 32;
/** Smaller tensors stay as they are. */
export const SMALLEST = 1024;

/** Runs `visit` on every block: a range of the data, which a row's end may cut short. */
function eachBlock(size: number, rows: number, visit: (begin: number, end: number, index: number) => void): void {
  const length = size / rows;
  let index = 0;
  for (let row = 0; row < rows; row++)
    for (let at = 0; at < length; at += BLOCK) visit(row * length + at, row * length + Math.min(at + BLOCK, length), index++);
}
/** The value of largest magnitude over −2^(bits−1), in float32. */
function scaleOf(data: Float32Array, begin: number, end: number, bits: Bits): number {
  let extreme = 0;
  for (let i = begin; i < end; i++) if (Math.abs(data[i]!) > Math.abs(extreme)) extreme = data[i]!;
  return extreme === 0 ? 0 : Math.fround(extreme / -(2 ** (bits - 1)));
}
const codeOf = (value: number, scale: number, bits: Bits): number =>
  scale === 0 ? 0 : Math.min(Math.max(Math.round(value / scale), -(2 ** (bits - 1))), 2 ** (bits - 1) - 1);

/** The values rounded to what blocks hold. Each is off by at most half a scale, or by a whole one at the end opposite to the largest. */
export function roundToBlocks(data: Float32Array, rows: number, bits: Bits): Float32Array {
  const out = new Float32Array(data.length);
  eachBlock(data.length, rows, (begin, end) => {
    const scale = scaleOf(data, begin, end, bits);
    for (let i = begin; i < end; i++) out[i] = codeOf(data[i]!, scale, bits) * scale;
  });
  return out;
}

export interface Blocks {
  /** [rows, blocks of a row, 32], from 0; 2^(bits−1) stands for 0 and fills up the last block of a row. */
  readonly codes: Uint8Array;
  /** [rows, blocks of a row] */
  readonly scales: Float32Array;
  readonly perRow: number;
}
/** The blocks that hold exactly these values, or null where none do. */
export function exactBlocks(data: Float32Array, rows: number, bits: Bits): Blocks | null {
  const perRow = Math.ceil(data.length / rows / BLOCK);
  const zero = 2 ** (bits - 1);
  const codes = new Uint8Array(rows * perRow * BLOCK).fill(zero);
  const scales = new Float32Array(rows * perRow);
  let exact = true;
  eachBlock(data.length, rows, (begin, end, index) => {
    const scale = scaleOf(data, begin, end, bits);
    scales[index] = scale;
    for (let i = begin; i < end && exact; i++) {
      const code = codeOf(data[i]!, scale, bits);
      exact = Math.fround(code * scale) === data[i] || (code === 0 && data[i] === 0);
      codes[index * BLOCK + i - begin] = code + zero;
    }
  });
  return exact ? { codes, scales, perRow } : null;
}

/** Two codes of four bits in a byte, the first in the lower half. */
export const packed = (codes: Uint8Array): Uint8Array =>
  Uint8Array.from({ length: codes.length / 2 }, (_, i) => codes[2 * i]! | (codes[2 * i + 1]! << 4));

/** A matrix [rows, columns] turned. */
export function turned(data: Float32Array, rows: number, columns: number): Float32Array {
  const out = new Float32Array(data.length);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) out[j * rows + i] = data[i * columns + j]!;
  return out;
}
