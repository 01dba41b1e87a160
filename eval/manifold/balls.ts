/** @file Which points of one set lie in which balls of another: the counts behind precision, recall, density and coverage, exact. */
import { type Cloud, COLUMNS, dots, errorOf, exactly, lossOf, ROWS } from './distances.ts';

/** Balls about the points of a cloud. */
export interface Balls {
  readonly cloud: Cloud;
  /** Squared radii. */
  readonly radii: Float64Array;
}

/** Counts of pairs of points and balls that hold them, the rim included. */
export interface Held {
  /** For each point of the generated set, real balls that hold it. */
  readonly realBallsOf: Int32Array;
  /** For each real ball, generated points in it. */
  readonly inRealBall: Int32Array;
  /** For each real point, generated balls that hold it. */
  readonly generatedBallsOf: Int32Array;
}

export async function held(real: Balls, generated: Balls): Promise<Held> {
  const [a, b] = [generated.cloud, real.cloud];
  const counts: Held = {
    realBallsOf: new Int32Array(a.n),
    inRealBall: new Int32Array(b.n),
    generatedBallsOf: new Int32Array(b.n),
  };
  for (let i0 = 0; i0 < a.n; i0 += ROWS) {
    const i1 = Math.min(a.n, i0 + ROWS);
    for (let j0 = 0; j0 < b.n; j0 += COLUMNS) {
      const j1 = Math.min(b.n, j0 + COLUMNS);
      countBlock(counts, real, generated, i0, i1, j0, j1, await dots(a, i0, i1, b, j0, j1));
    }
  }
  return counts;
}

/** Inside for certain, outside for certain, or to be looked at: an estimate and its error against a radius. */
function countBlock(
  counts: Held,
  real: Balls,
  generated: Balls,
  i0: number,
  i1: number,
  j0: number,
  j1: number,
  block: Float32Array,
): void {
  const [a, b] = [generated.cloud, real.cloud];
  const [error, loss] = [errorOf(a.d), lossOf(a)];
  for (let i = i0; i < i1; i++) {
    const row = (i - i0) * (j1 - j0) - j0;
    const radius = generated.radii[i]!;
    for (let j = j0; j < j1; j++) {
      const size = a.squares[i]! + b.squares[j]!;
      const estimate = size - a.twice * block[row + j]!;
      const off = error * size + loss;
      const [realRadius, low] = [real.radii[j]!, estimate - off];
      if (low > realRadius && low > radius) continue;
      const high = estimate + off;
      const sure = (high <= realRadius || low > realRadius) && (high <= radius || low > radius);
      const distance = sure ? estimate : exactly(a, i, b, j);
      if (distance <= realRadius) {
        counts.realBallsOf[i]!++;
        counts.inRealBall[j]!++;
      }
      if (distance <= radius) counts.generatedBallsOf[j]!++;
    }
  }
}
