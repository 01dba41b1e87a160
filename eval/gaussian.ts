/** @file Gaussians fitted to features, in the form that distances between them take: a mean, and rows whose Gram matrix is the covariance. */
import { InputError } from '../engine/io/errors.ts';
import { product } from '../engine/run/ort-products.ts';
import { pivotedCholeskyBlocked } from './cholesky-blocked.ts';
import { symmetricEigenvaluesBlocked } from './eigen-blocked.ts';
import { addGram, type Factor, matmulTransposed, pivotedCholesky, symmetricEigenvalues } from './linalg.ts';
import { type Features, type Moments, meanOf } from './moments.ts';
import { centredRows } from './moments-fast.ts';

export interface Gaussian {
  /** [d] */
  readonly mean: Float64Array;
  /** tr Σ */
  readonly trace: number;
  /** rows [r, d] with Σ = Rᵀ R */
  readonly factor: Factor;
}

/** From this many rows on, products by ONNX Runtime and reductions by blocks are faster than plain loops. */
const LARGE = 400;

/** The Gaussian of a mean and a covariance of any rank. @throws InputError where it is not symmetric or not positive semidefinite */
export async function gaussianOfMoments({ mean, covariance }: Moments): Promise<Gaussian> {
  const d = mean.length;
  assertSymmetric(covariance, d);
  let trace = 0;
  for (let i = 0; i < d; i++) trace += covariance[i * d + i]!;
  const factored = (unit: number) => (d < LARGE ? pivotedCholesky(covariance, d, unit) : pivotedCholeskyBlocked(covariance, d, unit));
  try {
    return { mean, trace, factor: await factored(Number.EPSILON) };
  } catch (error) {
    // A singular covariance that was stored in float32 has eigenvalues below zero by the rounding of that.
    if (!(error instanceof InputError) || !covariance.every((value) => Math.fround(value) === value)) throw error;
    return { mean, trace, factor: await factored(FLOAT32_UNIT) };
  }
}

/** Spacing of float32 numbers about 1. */
const FLOAT32_UNIT = 2 ** -23;

function assertSymmetric(a: Float64Array, n: number): void {
  const largest = a.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < i; j++) {
      const [below, above] = [a[i * n + j]!, a[j * n + i]!];
      if (Math.abs(below - above) > 1e-5 * largest)
        throw new InputError(`covariance: entry [${i},${j}] is ${below}, [${j},${i}] is ${above}; a covariance is symmetric`);
    }
  }
}

/**
 * The Gaussian of n samples without their d × d covariance: centred samples / √(n − 1) are such rows. For n at most d it is exact and cheap.
 * @throws InputError for fewer than two samples, and features that are not finite
 */
export function gaussianOfFew(features: Features, d: number): Gaussian {
  const n = features.length / d;
  if (n < 2) throw new InputError(`moments: ${n} samples; a covariance takes at least 2`);
  const mean = meanOf(features, d);
  const rows = centredRows(features, mean, 0, n);
  let trace = 0;
  for (let i = 0; i < rows.length; i++) {
    rows[i]! /= Math.sqrt(n - 1);
    trace += rows[i]! ** 2;
  }
  return { mean, trace, factor: { rows, rank: n } };
}

/** |μa − μb|² + tr Σa + tr Σb − 2 tr (Σa Σb)^½. @throws InputError for different dimensions */
export async function frechetBetween(a: Gaussian, b: Gaussian): Promise<number> {
  const d = a.mean.length;
  if (b.mean.length !== d)
    throw new InputError(`frechetDistance: features have ${d} and ${b.mean.length} dimensions; both sets need the same`);
  let means = 0;
  for (let i = 0; i < d; i++) means += (a.mean[i]! - b.mean[i]!) ** 2;
  return means + a.trace + b.trace - 2 * (await traceOfRoot(a.factor, b.factor, d));
}

/**
 * tr (Σa Σb)^½ for Σ = Rᵀ R: the sum of the singular values of M = Ra Rbᵀ, as roots of the eigenvalues of the smaller of M Mᵀ and Mᵀ M. No root of
 * a matrix is taken, and null spaces do not enter: an eigenvalue of zero that comes out as 1e-16 of the largest would add 1e-8 of its root.
 */
export async function traceOfRoot(a: Factor, b: Factor, d: number): Promise<number> {
  const [small, large] = a.rank <= b.rank ? [a, b] : [b, a];
  return sumOfRoots(small.rank < LARGE && large.rank < LARGE ? plainly(small, large, d) : await byProducts(small, large, d));
}

async function byProducts(small: Factor, large: Factor, d: number): Promise<Float64Array> {
  const m = await product(small.rows, large.rows, { m: small.rank, n: large.rank, k: d }, { transposeB: true });
  const gram = await product(m, m, { m: small.rank, n: small.rank, k: large.rank }, { transposeB: true });
  return symmetricEigenvaluesBlocked(gram, small.rank);
}

/** `traceOfRoot` at once, on the calling thread: for some hundred rows. */
export function traceOfSmallRoot(a: Factor, b: Factor, d: number): number {
  const [small, large] = a.rank <= b.rank ? [a, b] : [b, a];
  return sumOfRoots(plainly(small, large, d));
}

const sumOfRoots = (values: Float64Array): number => values.reduce((sum, value) => sum + Math.sqrt(Math.max(value, 0)), 0);

/** The QL iteration keeps small eigenvalues best where the large entries stand last: pivots in reverse. */
function plainly(small: Factor, large: Factor, d: number): Float64Array {
  const m = matmulTransposed(reversed(small, d), large.rows, small.rank, large.rank, d);
  const gram = new Float64Array(small.rank ** 2);
  addGram(gram, m, small.rank, large.rank);
  return symmetricEigenvalues(gram, small.rank);
}

function reversed({ rows, rank }: Factor, d: number): Float64Array {
  const out = new Float64Array(rank * d);
  for (let i = 0; i < rank; i++) out.set(rows.subarray(i * d, (i + 1) * d), (rank - 1 - i) * d);
  return out;
}
