/** @file Cholesky factors in float64, row-major: of positive definite matrices, and of semidefinite ones of any rank. */
import { InputError } from '../engine/io/errors.ts';

/**
 * Lower triangle L with A = L Lᵀ of a symmetric positive definite n × n matrix; reads the lower triangle of A only.
 * Throws an InputError that names the first leading minor that is not positive. For singular matrices use `pivotedCholesky`.
 */
export function cholesky(a: Float64Array, n: number): Float64Array {
  const l = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = a[i * n + j]!;
      for (let k = 0; k < j; k++) sum -= l[i * n + k]! * l[j * n + k]!;
      if (i !== j) l[i * n + j] = sum / l[j * n + j]!;
      else if (sum > 0 && sum < Infinity) l[i * n + i] = Math.sqrt(sum);
      else throw new InputError(`cholesky: pivot ${i} of ${n} is ${sum}; a positive definite matrix has positive finite pivots`);
    }
  }
  return l;
}

/** Rows r × n of R with A = Rᵀ R up to rounding. */
export interface Factor {
  readonly rows: Float64Array;
  readonly rank: number;
}

/**
 * Cholesky with diagonal pivoting of a symmetric positive semidefinite n × n matrix of any rank (Higham, Analysis of the Cholesky
 * decomposition of a semi-definite matrix, 1990). It stops where all that is left of the diagonal is rounding, so a singular matrix
 * gives fewer rows instead of rows of noise. `unit` is the relative precision of the entries. Throws an InputError where the matrix is not positive semidefinite.
 */
export function pivotedCholesky(a: Float64Array, n: number, unit: number = Number.EPSILON): Factor {
  if (a.length !== n * n) throw new InputError(`pivotedCholesky: length is ${a.length}; [${n},${n}] takes ${n * n}`);
  const rest = Float64Array.from({ length: n }, (_, i) => a[i * n + i]!);
  const noise = noiseOf(rest, unit);
  const order = Int32Array.from({ length: n }, (_, i) => i);
  const r = new Float64Array(n * n); // columns in pivoted order, so that R is upper trapezoidal
  let rank = 0;
  for (; rank < n; rank++) {
    const pivot = indexOfLargest(rest, order, rank);
    if (!(rest[order[pivot]!]! > noise)) break;
    swapColumns(r, order, n, rank, rank, pivot);
    eliminateRow(a, r, rest, order, n, rank);
  }
  assertNothingLeft(a, r, rest, order, n, rank, noise);
  return { rows: inOriginalOrder(r, order, n, rank), rank };
}

/** What rounding leaves of a diagonal at most. @throws InputError where it is not finite */
export function noiseOf(diagonal: Float64Array, unit: number): number {
  const largest = diagonal.reduce((most, value) => Math.max(most, value), 0);
  if (!Number.isFinite(largest)) throw new InputError('pivotedCholesky: the diagonal is not finite; a covariance has finite variances');
  return 4 * Math.max(diagonal.length, 16) * unit * largest;
}

function indexOfLargest(rest: Float64Array, order: Int32Array, from: number): number {
  let best = from;
  for (let j = from + 1; j < order.length; j++) if (rest[order[j]!]! > rest[order[best]!]!) best = j;
  return best;
}

function swapColumns(r: Float64Array, order: Int32Array, n: number, rows: number, p: number, q: number): void {
  if (p === q) return;
  [order[p], order[q]] = [order[q]!, order[p]!];
  for (let i = 0; i < rows; i++) [r[i * n + p], r[i * n + q]] = [r[i * n + q]!, r[i * n + p]!];
}

/** Row k of what is left of A after k pivots, from column `from`, written to row k of R. */
function remainder(a: Float64Array, r: Float64Array, order: Int32Array, n: number, row: number, steps: number, from: number): void {
  for (let j = from; j < n; j++) r[row * n + j] = a[order[row]! * n + order[j]!]!;
  for (let i = 0; i < steps; i++) {
    const factor = r[i * n + row]!;
    for (let j = from; j < n; j++) r[row * n + j]! -= factor * r[i * n + j]!;
  }
}

function eliminateRow(a: Float64Array, r: Float64Array, rest: Float64Array, order: Int32Array, n: number, k: number): void {
  remainder(a, r, order, n, k, k, k + 1);
  const root = Math.sqrt(rest[order[k]!]!);
  r[k * n + k] = root;
  for (let j = k + 1; j < n; j++) {
    const value = r[k * n + j]! / root;
    r[k * n + j] = value;
    rest[order[j]!]! -= value * value;
  }
}

/** A semidefinite matrix without a diagonal is zero: negative variances or leftover covariances mean that A is not one. */
function assertNothingLeft(
  a: Float64Array,
  r: Float64Array,
  rest: Float64Array,
  order: Int32Array,
  n: number,
  rank: number,
  noise: number,
): void {
  for (let i = rank; i < n; i++) {
    remainder(a, r, order, n, i, rank, i + 1);
    let worst = Math.max(0, -rest[order[i]!]!);
    for (let j = i + 1; j < n; j++) worst = Math.max(worst, Math.abs(r[i * n + j]!));
    if (worst <= 100 * noise) continue; // NaN falls through
    throw notSemidefinite(n, rank, order[i]!, worst, noise);
  }
}

export const notSemidefinite = (n: number, rank: number, row: number, left: number, noise: number): InputError =>
  new InputError(
    `pivotedCholesky: after ${rank} pivots ${left} is left over in row ${row}; a positive semidefinite [${n},${n}] matrix leaves at most ${100 * noise}`,
  );

function inOriginalOrder(r: Float64Array, order: Int32Array, n: number, rank: number): Float64Array {
  const rows = new Float64Array(rank * n);
  for (let i = 0; i < rank; i++) for (let j = i; j < n; j++) rows[i * n + order[j]!] = r[i * n + j]!;
  return rows;
}
