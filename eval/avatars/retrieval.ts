/** @file How often a picture finds its own caption among others, and back. */
import { InputError } from '../../engine/io/errors.ts';

/** Rows of length 1. */
function unit(rows: Float32Array, dimensions: number): Float32Array {
  const out = rows.slice();
  for (let from = 0; from < rows.length; from += dimensions) {
    const row = out.subarray(from, from + dimensions);
    const length = Math.hypot(...row);
    row.forEach((v, i) => {
      row[i] = v / length;
    });
  }
  return out;
}

/**
 * Share of the rows of `a` whose most similar row of `b` (by cosine) is the one of the same number, within groups of `among` rows that follow one
 * another; a last group that is not full is left out. a, b [n, dimensions].
 * @throws InputError where there is no full group
 */
export function retrievalAccuracy(a: Float32Array, b: Float32Array, dimensions: number, among: number): number {
  const n = a.length / dimensions;
  const groups = Math.floor(n / among);
  if (groups < 1 || a.length !== b.length)
    throw new InputError(`retrieval: ${n} and ${b.length / dimensions} rows; at least ${among} pairs are needed`);
  const [ua, ub] = [unit(a, dimensions), unit(b, dimensions)];
  const dot = (i: number, j: number): number => {
    let sum = 0;
    for (let k = 0; k < dimensions; k++) sum += ua[i * dimensions + k]! * ub[j * dimensions + k]!;
    return sum;
  };
  let right = 0;
  for (let i = 0; i < groups * among; i++) {
    const from = Math.floor(i / among) * among;
    const own = dot(i, i);
    const beaten = Array.from({ length: among }, (_, j) => from + j).some((j) => j !== i && dot(i, j) >= own);
    if (!beaten) right++;
  }
  return right / (groups * among);
}
