/** @file Which pixels of a row make each pixel of the resized row, and with which weights. */
import type { Kernel } from './kernels.ts';

/** Output pixel i is the sum over k < counts[i] of weights[i·stride + k] · input[starts[i] + k]. */
export interface Taps {
  readonly starts: Int32Array;
  readonly counts: Int32Array;
  readonly weights: Float64Array;
  readonly stride: number;
}

/** Rounds a value to the type that the original computes positions in. */
export type Rounding = (value: number) => number;
const exact: Rounding = (value) => value;

export function emptyTaps(outputs: number, stride: number): Taps {
  const [starts, counts] = [new Int32Array(outputs), new Int32Array(outputs)];
  return { starts, counts, weights: new Float64Array(outputs * stride), stride };
}

/**
 * Taps of a kernel that is stretched where the row shrinks (antialiasing), cut off at the borders and normalised: Pillow's resampling, which PyTorch's
 * `antialias` follows.
 * @param round type of the positions and weights: double in Pillow, float32 (`Math.fround`) in PyTorch for float images
 */
export function kernelTaps(kernel: Kernel, from: number, to: number, round: Rounding = exact): Taps {
  const scale = round(from / to);
  const stretch = Math.max(scale, 1);
  const support = round(kernel.radius * stretch);
  const shrink = round(1 / stretch);
  const taps = emptyTaps(to, Math.ceil(support) * 2 + 1);
  for (let i = 0; i < to; i++) {
    const centre = round(scale * (i + 0.5));
    const start = Math.max(0, Math.trunc(round(centre - support) + 0.5));
    const count = Math.min(from, Math.trunc(round(centre + support) + 0.5)) - start;
    const weights = taps.weights.subarray(i * taps.stride, i * taps.stride + count);
    let total = 0;
    for (let k = 0; k < count; k++) {
      weights[k] = round(kernel.weight(round((round(k + start - centre) + 0.5) * shrink)));
      total = round(total + weights[k]!);
    }
    if (total !== 0) for (let k = 0; k < count; k++) weights[k] = round(weights[k]! / total);
    taps.starts[i] = start;
    taps.counts[i] = count;
  }
  return taps;
}

/**
 * Taps of a fixed number of neighbours; one beyond a border counts for the border's pixel.
 * @param first position of the first neighbour of each output pixel
 * @param weightsOf weights of the neighbours of each output pixel
 */
export function neighbourTaps(from: number, to: number, first: (i: number) => number, weightsOf: (i: number) => readonly number[]): Taps {
  const lists = Array.from({ length: to }, (_, i) => weightsOf(i));
  const taps = emptyTaps(
    to,
    lists.reduce((most, list) => Math.max(most, list.length), 0),
  );
  for (const [i, list] of lists.entries()) {
    const inside = (position: number): number => Math.min(from - 1, Math.max(0, position));
    const start = inside(first(i));
    for (const [k, weight] of list.entries()) taps.weights[i * taps.stride + inside(first(i) + k) - start]! += weight;
    taps.starts[i] = start;
    taps.counts[i] = inside(first(i) + list.length - 1) - start + 1;
  }
  return taps;
}
