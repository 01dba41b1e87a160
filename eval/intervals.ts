/** @file Intervals of about 95 %: leaving groups of samples out in turn, shares of yes and no, means. */
import { permutation, streamKey } from '../engine/random/philox.ts';

export interface Interval {
  readonly low: number | null;
  readonly high: number | null;
}
export const NO_INTERVAL: Interval = { low: null, high: null };

const Z = 1.959963984540054;

/** Two-sided 95 % quantile of Student's t. Exact for one and two degrees of freedom, else Fisher's expansion about the normal one, within 0.2 %. */
export function student95(freedom: number): number {
  if (freedom <= 1) return 12.706204736432095;
  if (freedom <= 2) return 4.302652729911275;
  const terms = [
    (Z ** 3 + Z) / 4,
    (5 * Z ** 5 + 16 * Z ** 3 + 3 * Z) / 96,
    (3 * Z ** 7 + 19 * Z ** 5 + 17 * Z ** 3 - 15 * Z) / 384,
    (79 * Z ** 9 + 776 * Z ** 7 + 1482 * Z ** 5 - 1920 * Z ** 3 - 945 * Z) / 92160,
  ];
  return terms.reduce((sum, term, i) => sum + term / freedom ** (i + 1), Z);
}

/** About a value with a standard error; none where the error is not finite. */
export function around(value: number, error: number, freedom = Infinity): Interval {
  if (!Number.isFinite(error)) return NO_INTERVAL;
  const reach = error * (freedom === Infinity ? Z : student95(freedom));
  return { low: value - reach, high: value + reach };
}

/** 0 … n − 1 in a seeded order, cut into groups whose sizes differ by one at most. */
export function groupsOf(n: number, groups: number, seed: number, name: string): readonly Uint32Array[] {
  const order = permutation(n, streamKey(seed, 0, name));
  return Array.from({ length: groups }, (_, g) => order.subarray(Math.floor((g * n) / groups), Math.floor(((g + 1) * n) / groups)));
}

/** Standard error of a statistic from its values without each of the groups in turn (the jackknife of Quenouille and Tukey). */
export function jackknifeError(without: readonly number[]): number {
  const count = without.length;
  if (count < 2) return Number.NaN;
  const mean = without.reduce((sum, value) => sum + value, 0) / count;
  return Math.sqrt(((count - 1) / count) * without.reduce((sum, value) => sum + (value - mean) ** 2, 0));
}

/** All indices of the groups but those of group `out`. */
export function without(groups: readonly Uint32Array[], out: number): Uint32Array {
  const kept = groups.filter((_, g) => g !== out);
  const all = new Uint32Array(kept.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const group of kept) {
    all.set(group, at);
    at += group.length;
  }
  return all;
}

/** Of a share of n independent yes and no. Wilson, Probable inference, the law of succession, and statistical inference, 1927. */
export function ofShare(share: number, n: number): Interval {
  const middle = (share + Z ** 2 / (2 * n)) / (1 + Z ** 2 / n);
  const reach = (Z / (1 + Z ** 2 / n)) * Math.sqrt((share * (1 - share)) / n + Z ** 2 / (4 * n * n));
  return { low: Math.min(share, Math.max(0, middle - reach)), high: Math.max(share, Math.min(1, middle + reach)) };
}

/** Of the mean of n independent values. */
export function ofMean(values: ArrayLike<number>): Interval {
  const n = values.length;
  const mean = Array.from(values).reduce((sum, value) => sum + value, 0) / n;
  const square = Array.from(values).reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return around(mean, Math.sqrt(square / (n - 1) / n), n - 1);
}
