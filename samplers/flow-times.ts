/** @file Times of flows and how they are moved towards noise: by a fixed shift, by the number of a picture's tokens, by its side. */

/** A flow's time moved towards noise: s t/(1 + (s − 1) t). Esser et al. 2024, eq. 23. */
export const shiftTime = (t: number, shift: number): number => (shift * t) / (1 + (shift - 1) * t);
/** The time that a shift moves to t. */
export const unshiftTime = (t: number, shift: number): number => shiftTime(t, 1 / shift);

interface DynamicShift {
  readonly baseTokens?: number;
  readonly maxTokens?: number;
  readonly baseShift?: number;
  readonly maxShift?: number;
}
/** eᵘ with u linear in the number of tokens: the shift of FLUX's pipelines. */
export const dynamicShift = (
  tokens: number,
  { baseTokens = 256, maxTokens = 4096, baseShift = 0.5, maxShift = 1.15 }: DynamicShift = {},
): number => Math.exp(baseShift + ((tokens - baseTokens) / (maxTokens - baseTokens)) * (maxShift - baseShift));

interface FlowTimes {
  /** Ends before the shift. */
  readonly high?: number;
  readonly low: number;
  readonly shift?: number;
  /** What the last time is stretched to, about the first; 0 leaves the times as they are. */
  readonly terminal?: number;
}
/** n falling times, even between two ends and then shifted and stretched; one time alone is the highest. */
export function flowTimes(n: number, { high = 1, low, shift = 1, terminal = 0 }: FlowTimes): readonly number[] {
  const times = Array.from({ length: n }, (_, i) => shiftTime(n === 1 ? high : high + (i / (n - 1)) * (low - high), shift));
  const [first, last] = [times[0]!, times.at(-1)!];
  if (terminal === 0 || n === 1) return times;
  return times.map((t) => first - (first - t) * ((first - terminal) / (first - last)));
}
