/** @file Maximum mean discrepancy between two sets under a kernel, in float64, with what leaving out each sample would give. */
import { InputError } from '../engine/io/errors.ts';
import { product } from '../engine/run/ort-products.ts';
import type { Features } from './moments.ts';
import { doubles } from './rows.ts';

/** k(x, y) from x·y, |x|² and |y|². */
export type Kernel = (dot: number, xx: number, yy: number) => number;

/** ((x·y) γ + c)^degree; KID's is (x·y/d + 1)³ (Bińkowski et al. 2018, arXiv:1801.01401). */
export const polynomial = (gamma: number, degree = 3, offset = 1): Kernel => {
  if (degree === 3) {
    return (dot) => {
      const base = dot * gamma + offset;
      return base * base * base;
    };
  }
  return (dot) => (dot * gamma + offset) ** degree;
};
/** exp(−|x − y|² / 2σ²) */
export const gaussianKernel =
  (sigma: number): Kernel =>
  (dot, xx, yy) =>
    Math.exp(-Math.max(0, xx + yy - 2 * dot) / (2 * sigma * sigma));

/**
 * How the expectations over pairs are estimated. `unbiased`: pairs of one set leave out the sample itself; `biased`: they do not (the V-statistic);
 * `u-statistic`: for equally many samples, the pairs i, i of the two sets are left out too.
 */
export type Estimator = 'unbiased' | 'biased' | 'u-statistic';

/** Rows of one product. */
const BLOCK = 1024;

/** Sums of a kernel matrix. */
export interface KernelSums {
  readonly rows: Float64Array;
  readonly columns: Float64Array;
  /** Of the diagonal, as far as there is one. */
  readonly diagonal: Float64Array;
  readonly total: number;
}

/** Row sums, column sums and diagonal of k(x_i, y_j), block by block; with x and y the same array one half is enough. */
export async function kernelSums(x: Features, y: Features, d: number, kernel: Kernel): Promise<KernelSums> {
  const [n, m, same] = [x.length / d, y.length / d, x === y];
  const [xx, yy] = [squares(x, d), squares(y, d)];
  const [rows, columns, diagonal] = [new Float64Array(n), new Float64Array(m), new Float64Array(Math.min(n, m))];
  for (let i0 = 0; i0 < n; i0 += BLOCK) {
    const a = doubles(x, d, i0, Math.min(n, i0 + BLOCK));
    for (let j0 = same ? i0 : 0; j0 < m; j0 += BLOCK) {
      const b = same && j0 === i0 ? a : doubles(y, d, j0, Math.min(m, j0 + BLOCK));
      const [height, width] = [a.length / d, b.length / d];
      const dots = await product(a, b, { m: height, n: width, k: d }, { transposeB: true });
      const mirrored = same && j0 > i0;
      for (let i = 0; i < height; i++) {
        let sum = 0;
        for (let j = 0; j < width; j++) {
          const value = kernel(dots[i * width + j]!, xx[i0 + i]!, yy[j0 + j]!);
          sum += value;
          columns[j0 + j]! += value;
          if (i0 + i === j0 + j) diagonal[i0 + i] = value;
        }
        rows[i0 + i]! += sum;
        if (mirrored) columns[i0 + i]! += sum;
      }
    }
  }
  if (same) rows.set(columns);
  return { rows, columns, diagonal, total: sumOf(rows) };
}

const sumOf = (values: Float64Array): number => values.reduce((sum, value) => sum + value, 0);

function squares(x: Features, d: number): Float64Array {
  return Float64Array.from({ length: x.length / d }, (_, i) => {
    let sum = 0;
    for (let j = i * d; j < (i + 1) * d; j++) sum += x[j]! ** 2;
    return sum;
  });
}

export interface Discrepancy {
  /** MMD², which may be negative where it is unbiased. */
  readonly value: number;
  /** Standard error by leaving out each sample of either set in turn; NaN for fewer than three samples. */
  readonly error: number;
}

/** What the pairs within a set and between sets add up to. */
const within = ({ total, diagonal }: KernelSums, n: number, estimator: Estimator): number =>
  estimator === 'biased' ? total / n ** 2 : (total - sumOf(diagonal)) / (n * (n - 1));
const between = ({ total, diagonal }: KernelSums, n: number, m: number, estimator: Estimator): number =>
  estimator === 'u-statistic' ? (total - sumOf(diagonal)) / (n * (n - 1)) : total / (n * m);

/**
 * MMD² of two sets [n, d] and [m, d].
 * @throws InputError for fewer than two samples a side, and for a `u-statistic` of unequal sizes
 */
export async function discrepancy(x: Features, y: Features, d: number, kernel: Kernel, estimator: Estimator): Promise<Discrepancy> {
  const [n, m] = [x.length / d, y.length / d];
  if (n < 2 || m < 2) throw new InputError(`mmd: ${n} and ${m} samples; at least 2 of each are needed`);
  if (estimator === 'u-statistic' && n !== m)
    throw new InputError(`mmd: ${n} and ${m} samples; a u-statistic takes equally many of both, the unbiased estimate does not`);
  const [kxx, kyy, kxy] = [await kernelSums(x, x, d, kernel), await kernelSums(y, y, d, kernel), await kernelSums(x, y, d, kernel)];
  const value = within(kxx, n, estimator) + within(kyy, m, estimator) - 2 * between(kxy, n, m, estimator);
  const error = estimator === 'u-statistic' ? Number.NaN : leaveOneOut({ kxx, kyy, kxy }, n, m, estimator);
  return { value, error };
}

interface Sums {
  readonly kxx: KernelSums;
  readonly kyy: KernelSums;
  readonly kxy: KernelSums;
}

function leaveOneOut({ kxx, kyy, kxy }: Sums, n: number, m: number, estimator: Estimator): number {
  const variance = (own: KernelSums, size: number, cross: Float64Array, other: number): number => {
    if (size < 3) return Number.NaN;
    const biased = estimator === 'biased';
    const ownTotal = biased ? own.total : own.total - sumOf(own.diagonal);
    const pairs = biased ? (size - 1) ** 2 : (size - 1) * (size - 2);
    const values = own.rows.map((row, i) => {
      const gone = biased ? 2 * row - own.diagonal[i]! : 2 * (row - own.diagonal[i]!);
      return (ownTotal - gone) / pairs - (2 * (kxy.total - cross[i]!)) / ((size - 1) * other);
    });
    const mean = sumOf(values) / size;
    return ((size - 1) / size) * sumOf(values.map((value) => (value - mean) ** 2));
  };
  return Math.sqrt(variance(kxx, n, kxy.rows, m) + variance(kyy, m, kxy.columns, n));
}
