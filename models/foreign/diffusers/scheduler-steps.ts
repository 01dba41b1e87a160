/** @file Where the steps of diffusers' schedulers stand: times, their noise levels, and where each step leads. */
import { InputError } from '../../../engine/io/errors.ts';
import { alphasCumprod, betas, indexOf, interpolate, levelsOf, spaced, zeroTerminal } from '../../../samplers/betas.ts';
import { dynamicShift, flowTimes, shiftTime } from '../../../samplers/flow-times.ts';
import type { Common, ConfigOf } from './scheduler-schemas.ts';

/** n steps: each from a level to the end beside it, where the network is told the time. The next step starts at its own level. */
export interface Steps {
  readonly times: readonly number[];
  readonly levels: readonly number[];
  readonly ends: readonly number[];
}
export interface StepOptions {
  /** Tokens of the picture, where the shift grows with them. */
  readonly tokens?: number;
  /** Lowest time of a flow before the shift, where a pipeline gives its own list: 1/n for FLUX. */
  readonly low?: number;
}
/** A level that stands for an infinite one, of pure noise: what it changes is of the order of its inverse. */
export const PURE = 1e8;
/** The highest level of solvers that keep ᾱ at 2⁻²⁴ or above. */
export const ALMOST_PURE = Math.sqrt(2 ** 24 - 1);

/** Where to look for what does not fit, and what the steps are taken from. */
export interface Base {
  readonly where: string;
  readonly n: number;
  readonly table: readonly number[];
}
/**
 * The levels by time as they are listed, and rising ones by which a level's time is found. With a zero terminal ratio the last is `pure`, which others near it
 * may exceed where that is finite: these give way. Errors: InputError for betas of another number, or levels that do not rise.
 */
export function tableOf(
  where: string,
  c: Common,
  pure: number,
): { readonly listed: readonly number[]; readonly rising: readonly number[] } {
  if (c.trained_betas !== null && c.trained_betas.length !== c.num_train_timesteps)
    throw new InputError(`${where}: trained_betas has ${c.trained_betas.length} entries, num_train_timesteps is ${c.num_train_timesteps}`);
  if (c.rescale_betas_zero_snr && c.prediction_type === 'epsilon')
    throw new InputError(
      `${where}: rescale_betas_zero_snr with prediction_type epsilon; the noise of pure noise says nothing of the sample`,
    );
  const beta = c.trained_betas ?? betas(c.beta_schedule, { start: c.beta_start, end: c.beta_end, n: c.num_train_timesteps });
  const alphaBar = alphasCumprod(beta);
  const listed = levelsOf(c.rescale_betas_zero_snr ? zeroTerminal(alphaBar) : alphaBar).map((level) => (level === Infinity ? pure : level));
  const rising = c.rescale_betas_zero_snr ? below(listed) : listed;
  const fall = rising.findIndex((level, i) => !(level > (rising[i - 1] ?? 0)));
  if (fall !== -1)
    throw new InputError(`${where}: the noise levels do not rise at time ${fall}: ${rising[fall - 1] ?? 0} is followed by ${rising[fall]}`);
  return { listed, rising };
}
/** The levels that are not below the last are spread between those that are and the last, evenly in the logarithm. */
function below(listed: readonly number[]): readonly number[] {
  const top = listed.length - 1;
  const good = listed.findLastIndex((level, i) => i < top && level < listed[top]!);
  if (good < 0 || good === top - 1) return listed;
  const rise = Math.log(listed[top]! / listed[good]!) / (top - good);
  return listed.map((level, i) => (i <= good || i === top ? level : listed[good]! * Math.exp(rise * (i - good))));
}
const joined = (levels: readonly number[], end: number): readonly number[] => [...levels.slice(1), end];

/** Errors: more steps than times, and times beyond the table (an offset that is too large). */
function checkTimes({ where, n, table }: Base, times: readonly number[]): readonly number[] {
  if (n > table.length) throw new InputError(`${where}: ${n} steps are more than the ${table.length} times that the network knows`);
  const beyond = times.find((t) => t < 0 || t > table.length - 1);
  if (beyond !== undefined)
    throw new InputError(`${where}: ${n} steps lead to time ${beyond}, outside 0…${table.length - 1}; steps_offset or spacing do not fit`);
  return times;
}

/** Steps from t to t − ⌊T/n⌋, whatever the next time is. */
export function stridden(base: Base, c: Common, last: number): Steps {
  const { n, table } = base;
  const times = checkTimes(base, spaced(c.timestep_spacing, n, table.length, c.steps_offset));
  const stride = Math.floor(table.length / n);
  return { times, levels: times.map((t) => table[t]!), ends: times.map((t) => table[t - stride] ?? last) };
}

/** Even in σ^(1/7), or in ln σ. */
function between(high: number, low: number, n: number, karras: boolean): readonly number[] {
  const forth = (v: number): number => (karras ? v ** (1 / 7) : Math.log(v));
  const back = (v: number): number => (karras ? v ** 7 : Math.exp(v));
  const [a, b] = [forth(high), forth(low)];
  return Array.from({ length: n }, (_, i) => (i === 0 ? high : back(a + (i / (n - 1)) * (b - a))));
}
export interface Sigmas {
  readonly use_karras_sigmas: boolean | null;
  readonly use_exponential_sigmas: boolean | null;
  readonly sigma_min?: number | null;
  readonly sigma_max?: number | null;
}
/** The list where the levels themselves are spaced, or null where the times are. */
const spacedLevels = (c: Sigmas, own: readonly number[], n: number): readonly number[] | null =>
  c.use_karras_sigmas || c.use_exponential_sigmas
    ? between(c.sigma_max ?? own[0]!, c.sigma_min ?? own.at(-1)!, n, c.use_karras_sigmas === true)
    : null;

/** Euler: times that need not be whole. */
export function continuous(base: Base, c: Common, levelsBy: Sigmas, last: number): Steps {
  const { n, table } = base;
  const T = table.length;
  const even = Array.from({ length: n }, (_, i) => (n === 1 ? 0 : (T - 1) * (1 - i / (n - 1))));
  const times = checkTimes(base, c.timestep_spacing === 'linspace' ? even : spaced(c.timestep_spacing, n, T, c.steps_offset));
  const own = times.map((t) => interpolate(table, t));
  const levels = spacedLevels(levelsBy, own, n);
  if (!levels) return { times, levels: own, ends: joined(own, last) };
  return { times: levels.map((level) => indexOf(table, level)), levels, ends: joined(levels, last) };
}

/** Multistep solvers: times of n + 1 steps without the last. */
export function multistep(base: Base, c: Common, levelsBy: Sigmas, last: number): Steps {
  const { n, table } = base;
  const T = table.length;
  const more = spaced(c.timestep_spacing, c.timestep_spacing === 'trailing' ? n : n + 1, T, c.steps_offset);
  const levels = spacedLevels(levelsBy, table.toReversed(), n);
  if (levels) return { times: levels.map((level) => Math.round(indexOf(table, level))), levels, ends: joined(levels, last) };
  const times = checkTimes(base, more.slice(0, n));
  const own = times.map((t) => table[t]!);
  return { times, levels: own, ends: joined(own, last) };
}

interface FlowList {
  readonly T: number;
  readonly shift: number;
  /** Whether the list begins at pure noise, or one time below. */
  readonly fromNoise: boolean;
  /** Last time; 0: as it comes. */
  readonly terminal: number;
}
/** Multistep solvers on a flow. The list that they keep is in float32, which decides the level where a time is almost 1. */
export function multistepFlow(n: number, { T, shift, fromNoise, terminal }: FlowList): Steps {
  const moved = Array.from({ length: n }, (_, i) => shiftTime(fromNoise ? 1 - (i / n) * (1 - 1 / T) : (1 - i / n) * (1 - 1 / T), shift));
  const stretched = terminal === 0 || n === 1 ? moved : moved.map((t) => 1 - ((1 - t) * (1 - terminal)) / (1 - moved.at(-1)!));
  const times = stretched.map((t) => Math.fround(Math.min(t, 1 - 1e-6)));
  const levels = times.map((t) => t / (1 - t));
  return { times: stretched.map((t) => Math.floor(T * Math.min(t, 1 - 1e-6) + 1e-9)), levels, ends: joined(levels, 0) };
}

/** Every k-th of the times at which a consistency model was distilled. */
export function ofDistilled(base: Base, original: number, last: number): Steps {
  const { where, n, table } = base;
  if (n > original || original > table.length)
    throw new InputError(`${where}: ${n} steps are not among the ${original} of ${table.length} times that the network was distilled for`);
  const gap = Math.floor(table.length / original);
  const times = Array.from({ length: n }, (_, i) => (original - Math.floor((i * original) / n)) * gap - 1);
  const levels = times.map((t) => table[t]!);
  return { times, levels, ends: joined(levels, last) };
}

/** Times of a flow: a fixed shift acts on the list and on its lowest time. Errors: InputError where the shift grows with tokens that are not given. */
export function matched(where: string, n: number, c: ConfigOf<'FlowMatchEulerDiscreteScheduler'>, { tokens, low }: StepOptions): Steps {
  const T = c.num_train_timesteps;
  if (c.use_dynamic_shifting && tokens === undefined)
    throw new InputError(`${where}: use_dynamic_shifting is true; the number of the picture's tokens must be given`);
  const shift = c.use_dynamic_shifting ? grown(c, tokens!) : c.shift;
  const lowest = low ?? (c.use_dynamic_shifting ? 1 / T : shiftTime(1 / T, shift));
  const times = flowTimes(n, { low: lowest, shift, terminal: c.shift_terminal ?? 0 });
  const levels = times.map((t) => (t === 1 ? PURE : t / (1 - t)));
  return { times: times.map((t) => T * t), levels, ends: joined(levels, 0) };
}
function grown(c: ConfigOf<'FlowMatchEulerDiscreteScheduler'>, tokens: number): number {
  const factor = dynamicShift(tokens, {
    baseTokens: c.base_image_seq_len,
    maxTokens: c.max_image_seq_len,
    baseShift: c.base_shift,
    maxShift: c.max_shift,
  });
  return c.time_shift_type === 'exponential' ? factor : Math.log(factor);
}
