/** @file Cholesky factors of large semidefinite matrices: rows in blocks, what they explain taken away by one matrix product a block. */
import { InputError } from '../engine/io/errors.ts';
import { product } from '../engine/run/ort-products.ts';
import { type Factor, noiseOf, notSemidefinite } from './cholesky.ts';

const BLOCK = 128;

/** What is left of A: its rows and columns that were no pivots yet. */
interface Remains {
  /** [m, m] */
  readonly left: Float64Array;
  /** The m diagonal entries, kept up to date within a block too. */
  readonly diagonal: Float64Array;
  /** Their places in A. */
  readonly places: Int32Array;
}

/** Rows of R over the columns of what is left, and which columns were their pivots. */
interface Block {
  /** [count, m] */
  readonly rows: Float64Array;
  readonly count: number;
  readonly done: Uint8Array;
}

/**
 * `pivotedCholesky` for large matrices, to rounding (the blocked form is LAPACK's dpstrf: Lucas, LAPACK-style codes for pivoted Cholesky, 2004).
 * Rows stand in the order of the pivots, the largest first. Errors as there.
 */
export async function pivotedCholeskyBlocked(a: Float64Array, n: number, unit: number = Number.EPSILON): Promise<Factor> {
  if (a.length !== n * n) throw new InputError(`pivotedCholesky: length is ${a.length}; [${n},${n}] takes ${n * n}`);
  const diagonal = Float64Array.from({ length: n }, (_, i) => a[i * n + i]!);
  const noise = noiseOf(diagonal, unit);
  let remains: Remains = { left: a, diagonal, places: Int32Array.from({ length: n }, (_, i) => i) };
  const rows = new Float64Array(n * n);
  let rank = 0;
  for (;;) {
    const block = takeRows(remains, noise);
    const { places } = remains;
    const m = places.length;
    for (let k = 0; k < block.count; k++) {
      const row = rows.subarray((rank + k) * n, (rank + k + 1) * n);
      for (let j = 0; j < m; j++) row[places[j]!] = block.rows[k * m + j]!;
    }
    rank += block.count;
    remains = await withoutBlock(remains, block);
    if (block.count < BLOCK || rank === n) break;
  }
  assertNothingLeft(remains, n, rank, noise);
  return { rows: rows.slice(0, rank * n), rank };
}

/** The rows of the next pivots, until a block is full or only noise is left. */
function takeRows({ left, diagonal }: Remains, noise: number): Block {
  const m = diagonal.length;
  const most = Math.min(BLOCK, m);
  const [rows, done] = [new Float64Array(most * m), new Uint8Array(m)];
  let count = 0;
  for (; count < most; count++) {
    const pivot = largest(diagonal, done);
    if (!(diagonal[pivot]! > noise)) break;
    const row = rows.subarray(count * m, (count + 1) * m);
    row.set(left.subarray(pivot * m, (pivot + 1) * m));
    for (let i = 0; i < count; i++) {
      const factor = rows[i * m + pivot]!;
      for (let j = 0; j < m; j++) row[j]! -= factor * rows[i * m + j]!;
    }
    const root = Math.sqrt(diagonal[pivot]!);
    done[pivot] = 1;
    for (let j = 0; j < m; j++) {
      const value = done[j] ? 0 : row[j]! / root;
      row[j] = value;
      diagonal[j]! -= value * value;
    }
    row[pivot] = root;
  }
  return { rows: rows.subarray(0, count * m), count, done };
}

/** There is one that is not done. */
function largest(diagonal: Float64Array, done: Uint8Array): number {
  let best = done.indexOf(0);
  for (let j = best + 1; j < diagonal.length; j++) if (!done[j] && diagonal[j]! > diagonal[best]!) best = j;
  return best;
}

/** Takes away what the rows of a block explain, and their pivots. */
async function withoutBlock({ left, diagonal, places }: Remains, { rows, count, done }: Block): Promise<Remains> {
  const m = places.length;
  const kept = Int32Array.from(places.keys()).filter((j) => !done[j]);
  const size = kept.length;
  const some = new Float64Array(count * size);
  for (let k = 0; k < count; k++) for (let j = 0; j < size; j++) some[k * size + j] = rows[k * m + kept[j]!]!;
  const explained = await product(some, some, { m: size, n: size, k: count }, { transposeA: true });
  for (let i = 0; i < size; i++) {
    const from = kept[i]! * m;
    for (let j = 0; j < size; j++) explained[i * size + j] = left[from + kept[j]!]! - explained[i * size + j]!;
  }
  return { left: explained, diagonal: Float64Array.from(kept, (j) => diagonal[j]!), places: Int32Array.from(kept, (j) => places[j]!) };
}

/** A semidefinite matrix without a diagonal is zero. */
function assertNothingLeft({ left, diagonal, places }: Remains, n: number, rank: number, noise: number): void {
  const m = places.length;
  for (let i = 0; i < m; i++) {
    let worst = Math.max(0, -diagonal[i]!);
    for (let j = 0; j < m; j++) if (j !== i) worst = Math.max(worst, Math.abs(left[i * m + j]!));
    if (!(worst <= 100 * noise)) throw notSemidefinite(n, rank, places[i]!, worst, noise);
  }
}
