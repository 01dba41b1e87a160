/** @file Applies the taps of one axis to an image; two passes, along the rows and then down the columns, resize it. */
import { type Geometry, checkGeometry, checkPixels, type Resizer } from './geometry.ts';
import type { Taps } from './taps.ts';

/** An image as [outer, size, inner], of which the axis in the middle is resized. */
type Pass<Pixels> = (input: Pixels, outer: number, size: number, inner: number) => Pixels;

/** Sums in double, rounded to float32 once a pass. */
export const floatPass =
  ({ starts, counts, weights, stride }: Taps): Pass<Float32Array> =>
  (input, outer, size, inner) => {
    const to = starts.length;
    const output = new Float32Array(outer * to * inner);
    for (let o = 0; o < outer; o++) {
      for (let i = 0; i < to; i++) {
        const from = (o * size + starts[i]!) * inner;
        const last = from + counts[i]! * inner;
        const place = (o * to + i) * inner;
        for (let c = 0; c < inner; c++) {
          let sum = 0;
          for (let at = from + c, w = i * stride; at < last; at += inner, w++) sum += input[at]! * weights[w]!;
          output[place + c] = sum;
        }
      }
    }
    return output;
  };

/** Integer weights of `bits` fractional bits, rounded half away from zero. */
export const fixedWeights = (weights: Float64Array, bits: number): Int32Array =>
  Int32Array.from(weights, (weight) => Math.trunc(weight * 2 ** bits + (weight < 0 ? -0.5 : 0.5)));

/** Fixed-point sums in 32 bits, rounded and clipped to 0..255 after each pass. */
export const bytePass = ({ starts, counts, weights, stride }: Taps, bits: number): Pass<Uint8Array> => {
  const fixed = fixedWeights(weights, bits);
  const half = 1 << (bits - 1);
  return (input, outer, size, inner) => {
    const to = starts.length;
    const output = new Uint8Array(outer * to * inner);
    for (let o = 0; o < outer; o++) {
      for (let i = 0; i < to; i++) {
        const from = (o * size + starts[i]!) * inner;
        const last = from + counts[i]! * inner;
        const place = (o * to + i) * inner;
        for (let c = 0; c < inner; c++) {
          let sum = half;
          for (let at = from + c, w = i * stride; at < last; at += inner, w++) sum = (sum + Math.imul(input[at]!, fixed[w]!)) | 0;
          const value = sum >> bits;
          output[place + c] = value < 0 ? 0 : value > 255 ? 255 : value;
        }
      }
    }
    return output;
  };
};

/** The axis that is resized first; the values between the passes are rounded, so that it matters. */
export type First = 'rows' | 'columns';

/**
 * A resizer of two passes, one along the rows and one down the columns; a side that keeps its size needs none.
 * @param passOf the pass of an axis from one size to another
 */
export function separable<Pixels extends Float32Array | Uint8Array>(
  geometry: Geometry,
  passOf: (from: number, to: number) => Pass<Pixels>,
  first: First = 'rows',
): Resizer<Pixels, Pixels> {
  checkGeometry(geometry);
  const { from, to, channels } = geometry;
  const [down, along] = [0, 1].map((side) => (from[side] === to[side] ? null : passOf(from[side]!, to[side]!)));
  return (pixels) => {
    checkPixels(pixels, geometry);
    if (!down && !along) return pixels.slice() as Pixels;
    const alongRows = (image: Pixels, height: number): Pixels => along?.(image, height, from[1], channels) ?? image;
    const downColumns = (image: Pixels, width: number): Pixels => down?.(image, 1, from[0], width * channels) ?? image;
    return first === 'rows' ? downColumns(alongRows(pixels, from[0]), to[1]) : alongRows(downColumns(pixels, from[1]), to[0]);
  };
}
