/** @file Discrete variance-preserving schedules: β and ᾱ tables in float64, their noise levels, and how steps are spaced over them. */
import '../engine/graph/fluent.ts';
import { clamp } from '../engine/graph/ops/elementwise.ts';
import { constant } from '../engine/graph/ops/leaf.ts';
import { reduceSum } from '../engine/graph/ops/reduce.ts';
import type { NoiseSchedule } from '../engine/train/schedule.ts';

export const betaSchedules = ['linear', 'scaled_linear', 'squaredcos_cap_v2', 'sigmoid'] as const;
export type BetaSchedule = (typeof betaSchedules)[number];
export interface BetaRange {
  readonly start?: number;
  readonly end?: number;
  /** Length of the table. */
  readonly n?: number;
}

const linspace = (from: number, to: number, n: number): number[] =>
  Array.from({ length: n }, (_, i) => (n === 1 ? from : from + (i / (n - 1)) * (to - from)));

const SCHEDULES: Readonly<Record<BetaSchedule, (start: number, end: number, n: number) => number[]>> = {
  linear: linspace,
  scaled_linear: (start, end, n) => linspace(Math.sqrt(start), Math.sqrt(end), n).map((b) => b * b), // Stable Diffusion
  squaredcos_cap_v2: (_start, _end, n) => {
    const alphaBar = (t: number): number => Math.cos(((t + 0.008) / 1.008) * (Math.PI / 2)) ** 2; // Nichol & Dhariwal 2021, eq. 17
    return Array.from({ length: n }, (_, i) => Math.min(1 - alphaBar((i + 1) / n) / alphaBar(i / n), 0.999));
  },
  sigmoid: (start, end, n) => linspace(-6, 6, n).map((b) => start + (end - start) / (1 + Math.exp(-b))), // GeoDiff
};

/** The table β of a schedule by its name in diffusers. */
export const betas = (schedule: BetaSchedule, { start = 0.0001, end = 0.02, n = 1000 }: BetaRange = {}): readonly number[] =>
  SCHEDULES[schedule](start, end, n);

/** ᾱ_i = Π_{j ≤ i} (1 − β_j). */
export function alphasCumprod(beta: readonly number[]): readonly number[] {
  let product = 1;
  return beta.map((b) => {
    product *= 1 - b;
    return product;
  });
}

/** ᾱ shifted and scaled so that the last is 0 and the first stays. Lin et al. 2023, algorithm 1. */
export function zeroTerminal(alphaBar: readonly number[]): readonly number[] {
  const roots = alphaBar.map(Math.sqrt);
  const [first, last] = [roots[0]!, roots.at(-1)!];
  return roots.map((a) => (((a - last) * first) / (first - last)) ** 2);
}

/** σ = √((1 − ᾱ)/ᾱ) in units of the data: infinite where ᾱ is 0. */
export const levelsOf = (alphaBar: readonly number[]): readonly number[] => alphaBar.map((a) => Math.sqrt((1 - a) / a));

/** Between the entries of a table, linear in the index. `at` is an index from 0 to length − 1. */
export function interpolate(table: readonly number[], at: number): number {
  const i = Math.min(Math.floor(at), table.length - 2);
  return table[i]! + (at - i) * (table[i + 1]! - table[i]!);
}

/** The index at which a rising table of levels has `level`, linear in ln σ between its entries; beyond the ends, the end. */
export function indexOf(table: readonly number[], level: number): number {
  const above = table.findIndex((entry) => entry >= level);
  if (above <= 0) return above === 0 ? 0 : table.length - 1;
  return above - Math.log(table[above]! / level) / Math.log(table[above]! / table[above - 1]!);
}

/** NumPy's rounding: halves go to the even neighbour. */
const roundEven = (x: number): number => (Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x));

const SPACINGS = {
  leading: (n: number, T: number, offset: number) => Array.from({ length: n }, (_, i) => (n - 1 - i) * Math.floor(T / n) + offset),
  trailing: (n: number, T: number) => Array.from({ length: n }, (_, i) => roundEven(T - (i * T) / n) - 1),
  linspace: (n: number, T: number) =>
    linspace(0, T - 1, n)
      .map(roundEven)
      .toReversed(),
} as const;
export type Spacing = keyof typeof SPACINGS;

/** n indices into a table of length T, falling, by the spacing's name in diffusers; `offset` shifts the leading ones. Lin et al. 2023, table 2. */
export const spaced = (spacing: Spacing, n: number, T = 1000, offset = 0): readonly number[] => SPACINGS[spacing](n, T, offset);

/** A schedule over a rising table of levels, even in the index; between the entries ln σ is linear. */
export function tabulated(table: readonly number[]): NoiseSchedule {
  const intervals = table.length - 1;
  const logs = table.map(Math.log);
  const rises = constant(
    Float64Array.from({ length: intervals }, (_, i) => logs[i + 1]! - logs[i]!),
    [intervals],
  );
  const starts = constant(
    Float64Array.from({ length: intervals }, (_, i) => i),
    [intervals],
  );
  return {
    sigmaMin: table[0]!,
    sigmaMax: table[intervals]!,
    levels: (n) => Array.from({ length: n }, (_, i) => Math.exp(interpolate(logs, n === 1 ? intervals : intervals * (1 - i / (n - 1))))),
    quantile(u) {
      const passed = clamp(
        u
          .mul(intervals)
          .reshape([...u.shape, 1])
          .sub(starts),
        0,
        1,
      ); // how far into each interval
      return reduceSum(passed.mul(rises), [-1]).reshape(u.shape).add(logs[0]!).exp();
    },
  };
}
