/** @file Distances to the k-th nearest neighbour of many points, exact, with the search by float32 products. */
import { type Cloud, COLUMNS, dots, errorOf, exactly, lossOf, ROWS } from './distances.ts';

/** Candidates of one point: every one that may be among its k nearest. */
interface Search {
  readonly k: number;
  /** The k smallest upper ends of estimates so far, ascending: the k-th is a bound of what is searched. */
  readonly best: Float64Array;
  candidates: number[];
  /** Lower ends of their estimates. */
  lows: number[];
}

/**
 * Squared distances of the points of `a` to their k-th nearest in `b`; where the two are the same cloud, a point is no neighbour of itself. Decisions
 * between close candidates are taken in float64.
 */
export async function kthSquaredDistances(a: Cloud, b: Cloud, k: number): Promise<Float64Array> {
  const same = a === b;
  const searches = Array.from({ length: a.n }, (): Search => ({ k, best: new Float64Array(k).fill(Infinity), candidates: [], lows: [] }));
  for (let i0 = 0; i0 < a.n; i0 += ROWS) {
    const i1 = Math.min(a.n, i0 + ROWS);
    for (let j0 = same ? i0 - (i0 % COLUMNS) : 0; j0 < b.n; j0 += COLUMNS) {
      const begin = same ? Math.max(j0, i0) : j0; // the lower half of a symmetric matrix is known
      const end = Math.min(b.n, j0 + COLUMNS);
      if (begin < end) offerBlock(searches, a, i0, i1, b, begin, end, await dots(a, i0, i1, b, begin, end), same);
    }
  }
  return Float64Array.from(searches, (search, i) => kth(search, a, i, b));
}

function offerBlock(
  searches: readonly Search[],
  a: Cloud,
  i0: number,
  i1: number,
  b: Cloud,
  j0: number,
  j1: number,
  block: Float32Array,
  same: boolean,
): void {
  const [error, loss] = [errorOf(a.d), lossOf(a)];
  const width = j1 - j0;
  for (let i = i0; i < i1; i++) {
    const own = searches[i]!;
    const row = (i - i0) * width - j0;
    for (let j = same ? Math.max(j0, i + 1) : j0; j < j1; j++) {
      const size = a.squares[i]! + b.squares[j]!;
      const estimate = size - a.twice * block[row + j]!;
      const low = estimate - error * size - loss;
      if (!(low > own.best[own.k - 1]!)) offer(own, j, low, estimate + error * size + loss);
      if (same && !(low > searches[j]!.best[own.k - 1]!)) offer(searches[j]!, i, low, estimate + error * size + loss);
    }
  }
}

function offer(search: Search, candidate: number, low: number, high: number): void {
  const { best, k } = search;
  if (high < best[k - 1]!) {
    let at = k - 1;
    for (; at > 0 && high < best[at - 1]!; at--) best[at] = best[at - 1]!;
    best[at] = high;
  }
  search.candidates.push(candidate);
  search.lows.push(low);
  if (search.candidates.length >= 8 * k + 64 && (search.candidates.length & (search.candidates.length - 1)) === 0) prune(search);
}

function prune(search: Search): void {
  const limit = search.best[search.k - 1]!;
  const keep = search.lows.map((low) => !(low > limit));
  search.candidates = search.candidates.filter((_, i) => keep[i]);
  search.lows = search.lows.filter((_, i) => keep[i]);
}

function kth(search: Search, a: Cloud, i: number, b: Cloud): number {
  prune(search);
  const exact = Float64Array.from(search.candidates, (j) => exactly(a, i, b, j)).sort();
  return exact[search.k - 1]!;
}
