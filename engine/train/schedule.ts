/** @file The contract of noise schedules. Levels are standard deviations in units of the data; the clean sample is never scaled (x = x0 + σ ε). */
import type { Tensor } from '../graph/tensor.ts';
import type { Options, Values } from './options.ts';

export interface NoiseSchedule {
  readonly sigmaMin: number;
  readonly sigmaMax: number;
  /** n levels from high to low, in float64; a sampler appends 0. */
  levels(n: number): readonly number[];
  /** The level at fraction u of the way from the lowest (0) to the highest (1), elementwise, in the graph. */
  quantile(u: Tensor): Tensor;
}

/** The levels that a network was trained on. */
export interface LevelRange {
  readonly sigmaMin: number;
  readonly sigmaMax: number;
}
/** A family of lists of levels to sample at: options (with help and ranges) and the list. */
export interface ScheduleFamily<S extends Options = Options> {
  readonly name: string;
  /** One line: how the levels lie. */
  readonly title: string;
  /** arXiv id. */
  readonly reference: string;
  readonly options: S;
  /** n levels within a range, from high to low, in float64; a sampler appends 0. Errors: more levels than there are. */
  levels(n: number, range: LevelRange, values: Values<S>): readonly number[];
}
/** Infers the names of the options. */
export const defineSchedule = <S extends Options>(family: ScheduleFamily<S>): ScheduleFamily<S> => family;
