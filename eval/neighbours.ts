/** @file Exact nearest neighbours, in pixels or features: is a sample new, or a copy from the training set? */
import { InputError } from '../engine/io/errors.ts';
import type { Features } from './moments.ts';

export interface Neighbours {
  /** Row of the nearest reference of each query; of equally near ones the first. */
  readonly index: Int32Array;
  /** Euclidean distance to it, in units of the features. */
  readonly distance: Float64Array;
}

// References that pass by all queries while they stay in the cache: about 256 KiB of float32.
const blockValues = 65_536;
/** Values between two looks at whether a reference is already too far away: a quarter of a short one, 64 of a long one. */
const strideOf = (d: number): number => Math.max(4, Math.min(64, 4 * Math.floor(d / 16)));

/**
 * The nearest of m references [m, d] for each of n queries [n, d]. Sums squared differences in float64: the shortcut
 * |x|² − 2xy + |y|² loses near copies to rounding. References are given up as soon as they are farther than the best so far, which
 * changes no result. Throws an InputError for no references, a wrong length, or a query with NaN.
 */
export function nearest(queries: Features, references: Features, d: number): Neighbours {
  const [n, m] = [queries.length / d, references.length / d];
  if (!Number.isInteger(n) || !Number.isInteger(m) || m === 0) {
    throw new InputError(
      `nearest: ${queries.length} and ${references.length} values; samples of ${d} values take multiples of ${d}, and at least one reference`,
    );
  }
  const index = new Int32Array(n).fill(-1);
  const square = new Float64Array(n).fill(Infinity);
  const block = Math.max(1, Math.floor(blockValues / d));
  for (let from = 0; from < m; from += block) {
    const to = Math.min(m, from + block);
    for (let i = 0; i < n; i++) searchBlock(queries, references, d, i, from, to, index, square);
  }
  const lost = index.indexOf(-1);
  if (lost >= 0) throw new InputError(`nearest: query ${lost} has no finite distance to any of ${m} references; all values must be finite`);
  return { index, distance: square.map(Math.sqrt) };
}

function searchBlock(
  queries: Features,
  references: Features,
  d: number,
  query: number,
  from: number,
  to: number,
  index: Int32Array,
  square: Float64Array,
): void {
  for (let reference = from; reference < to; reference++) {
    const found = squaredDistance(queries, query * d, references, reference * d, d, square[query]!);
    if (found < square[query]!) {
      square[query] = found;
      index[query] = reference;
    }
  }
}

/** Σ (a − b)², or some partial sum that is at least `limit` already. Four sums at a time: one alone waits for every addition. */
export function squaredDistance(a: Features, fromA: number, b: Features, fromB: number, d: number, limit: number): number {
  const stride = strideOf(d);
  let sum = 0;
  let k = 0;
  for (const whole = d - (d % 4); k < whole; ) {
    let [s0, s1, s2, s3] = [0, 0, 0, 0];
    for (const end = Math.min(whole, k + stride); k < end; k += 4) {
      const d0 = a[fromA + k]! - b[fromB + k]!;
      const d1 = a[fromA + k + 1]! - b[fromB + k + 1]!;
      const d2 = a[fromA + k + 2]! - b[fromB + k + 2]!;
      const d3 = a[fromA + k + 3]! - b[fromB + k + 3]!;
      s0 += d0 * d0;
      s1 += d1 * d1;
      s2 += d2 * d2;
      s3 += d3 * d3;
    }
    sum += s0 + s1 + (s2 + s3);
    if (sum >= limit) return sum;
  }
  for (; k < d; k++) sum += (a[fromA + k]! - b[fromB + k]!) ** 2;
  return sum;
}
