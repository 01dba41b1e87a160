/**
 * @file Squared distances between many points: fast estimates with a bound of their error from float32 products, and the exact value where a decision
 * needs it. The shortcut |x|² − 2xy + |y|² alone flips decisions at the rim of a ball.
 */
import { product } from '../../engine/run/ort-products.ts';
import type { Features } from '../moments.ts';
import { squaredDistance } from '../neighbours.ts';

/** Points made ready for estimates. */
export interface Cloud {
  /** As they were given: [n, d]. */
  readonly features: Features;
  readonly d: number;
  readonly n: number;
  /** In units of the frame, from its origin. */
  readonly centred: Float32Array;
  /** |x|² of the centred points, in units of the features. */
  readonly squares: Float64Array;
  /** Twice the square of the unit, by which a product is to be taken: |x − y|² ≈ |x|² + |y|² − twice · dot. */
  readonly twice: number;
}

/** Half the spacing of float32 numbers about 1. */
const UNIT = 2 ** -24;
/** Points of one block: rows of the first set, rows of the second. */
export const ROWS = 512;
export const COLUMNS = 4096;

/** Where estimates have their origin and their unit: near the points, so that float32 is sharp and does not overflow. Any other would be right too. */
export interface Frame {
  /** [d] */
  readonly origin: Float64Array;
  /** A power of two. */
  readonly unit: number;
}

/** The frame of sets of points [n, d] that are compared: the mean of the first, and their farthest coordinate. */
export function frameOf(sets: readonly Features[], d: number): Frame {
  const [first] = sets;
  const origin = new Float64Array(d);
  const n = first!.length / d;
  for (let i = 0; i < n; i++) for (let j = 0; j < d; j++) origin[j]! += first![i * d + j]! / n;
  let farthest = 0;
  for (const set of sets) for (let i = 0; i < set.length; i++) farthest = Math.max(farthest, Math.abs(set[i]! - origin[i % d]!));
  return { origin, unit: farthest > 0 && farthest < Infinity ? 2 ** Math.floor(Math.log2(farthest)) : 1 };
}

export function cloudOf(features: Features, d: number, { origin, unit }: Frame): Cloud {
  const n = features.length / d;
  const centred = new Float32Array(features.length);
  const squares = new Float64Array(n);
  for (let i = 0; i < n; i++) {
    let sum = 0;
    for (let j = 0; j < d; j++) {
      const value = Math.fround((features[i * d + j]! - origin[j]!) / unit);
      centred[i * d + j] = value;
      sum += value * value;
    }
    squares[i] = sum * unit * unit;
  }
  return { features, d, n, centred, squares, twice: 2 * unit * unit };
}

/**
 * What an estimate may be off, relative to |x|² + |y|² about the origin: d roundings of the products' sum (Higham, Accuracy and Stability of Numerical
 * Algorithms, 3.1), and the rounding of the coordinates.
 */
export const errorOf = (d: number): number => 1.01 * (d + 8) * UNIT;
/** What underflow of float32 may take away, in squared units of the frame. */
const UNDERFLOW = 1e-30;
export const lossOf = ({ twice }: Cloud): number => UNDERFLOW * twice;

/** x·y of centred points: rows i0 … i1 of one cloud by rows j0 … j1 of another, [i1 − i0, j1 − j0]. */
export const dots = (a: Cloud, i0: number, i1: number, b: Cloud, j0: number, j1: number): Promise<Float32Array> =>
  product(
    a.centred.subarray(i0 * a.d, i1 * a.d),
    b.centred.subarray(j0 * b.d, j1 * b.d),
    { m: i1 - i0, n: j1 - j0, k: a.d },
    { transposeB: true },
  );

/** The exact squared distance, summed in float64. */
export const exactly = (a: Cloud, i: number, b: Cloud, j: number): number =>
  squaredDistance(a.features, i * a.d, b.features, j * b.d, a.d, Infinity);
