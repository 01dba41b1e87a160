/**
 * @file Pillow's resizing, bit for bit: bytes by fixed-point weights, floats (mode F) as clean-fid uses them. Only floats by `hamming` may differ in their last
 * bit, with the sine of the system that Pillow runs on.
 */
import { InputError } from '../../engine/io/errors.ts';
import type { Geometry, Resizer } from './geometry.ts';
import { PIL_KERNELS } from './kernels.ts';
import { bytePass, type First, floatPass, separable } from './passes.ts';
import { emptyTaps, kernelTaps, type Taps } from './taps.ts';

/** Pillow's resampling filters; `bilinear` to `lanczos` antialias where they shrink. */
export type PilFilter = keyof typeof PIL_KERNELS | 'nearest';
export const PIL_FILTERS = [...Object.keys(PIL_KERNELS), 'nearest'] as readonly PilFilter[];

/** Fractional bits of a weight: two bits of a 32-bit sum are left for overshoot, eight hold the pixel. */
const BITS = 32 - 8 - 2;

/** Pillow steps from pixel to pixel by adding, not multiplying; where a position falls on a pixel's edge the difference decides. */
function nearestTaps(from: number, to: number): Taps {
  const taps = emptyTaps(to, 1);
  const step = from / to;
  for (let i = 0, position = step * 0.5; i < to; i++, position += step) taps.starts[i] = Math.min(from - 1, Math.trunc(position));
  taps.counts.fill(1);
  taps.weights.fill(1);
  return taps;
}

/** @throws InputError for an unknown filter */
function tapsOf(filter: PilFilter): (from: number, to: number) => Taps {
  if (!PIL_FILTERS.includes(filter))
    throw new InputError(`resize: no filter ${JSON.stringify(filter)}; one of ${PIL_FILTERS.join(', ')} expected`);
  return filter === 'nearest' ? nearestTaps : (from, to) => kernelTaps(PIL_KERNELS[filter], from, to);
}

/** Pillow 13 begins with the columns where the height shrinks by more than twice what the width does; earlier versions always begin with the rows. */
function firstOf({ from, to }: Geometry): First {
  const [shorter, narrower] = [from[0] - to[0], from[1] - to[1]];
  return shorter > 0 && shorter > 2 * narrower ? 'columns' : 'rows';
}

/**
 * `Image.resize` of an 8-bit image: what DMD2's evaluation, EDM's tools and CLIP use.
 * Values are rounded and clipped between the two passes, so this is not the rounded result of `pilFloatResizer`: up to 21 levels lie between them at edges.
 * @returns pixels [height, width, channels], 0..255, to pixels of the other size
 * @throws InputError for an unknown filter and for sizes below 1
 */
export function pilResizer(options: Geometry & { readonly filter: PilFilter }): Resizer<Uint8Array, Uint8Array> {
  const taps = tapsOf(options.filter);
  return separable(options, (from, to) => bytePass(taps(from, to), BITS), firstOf(options));
}

/**
 * `Image.resize` of each channel in mode F. clean-fid (Parmar et al., arXiv 2104.11222) resizes so, with `bicubic`, and clips to 0..255.
 * @param options `clip`: false leaves overshoot beyond 0..255; default true
 * @returns pixels [height, width, channels] of any numbers to float32 of the other size
 */
export function pilFloatResizer(
  options: Geometry & { readonly filter: PilFilter; readonly clip?: boolean },
): Resizer<Uint8Array | Float32Array, Float32Array> {
  const taps = tapsOf(options.filter);
  const resize = separable<Float32Array>(options, (from, to) => floatPass(taps(from, to)), firstOf(options));
  return (pixels) => {
    const resized = resize(pixels instanceof Float32Array ? pixels : Float32Array.from(pixels));
    if (options.clip ?? true) for (let i = 0; i < resized.length; i++) resized[i] = Math.min(255, Math.max(0, resized[i]!));
    return resized;
  };
}
