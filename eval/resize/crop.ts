/** @file Cuts the middle out of an image. */
import { InputError } from '../../engine/io/errors.ts';
import type { Size } from './geometry.ts';

/**
 * Where an odd margin leaves half a pixel: `even` rounds the offset half to even, as Python's `round` in torchvision and open_clip (margin 3 gives 2, margin
 * 1 gives 0); `down` cuts the half off, as Hugging Face's image processors (margin 3 gives 1).
 */
export type CropRounding = 'even' | 'down';

function offset(margin: number, rounding: CropRounding): number {
  const down = Math.floor(margin / 2);
  return rounding === 'even' && margin % 2 === 1 && down % 2 === 1 ? down + 1 : down;
}

/**
 * The middle of an image.
 * @param pixels [height, width, channels] as `from` says
 * @returns [to height, to width, channels]
 * @throws InputError where the cut is larger than the image
 */
export function centreCrop<Pixels extends Uint8Array | Float32Array>(
  pixels: Pixels,
  from: Size,
  to: Size,
  channels: number,
  rounding: CropRounding = 'even',
): Pixels {
  if (to[0] > from[0] || to[1] > from[1] || pixels.length !== from[0] * from[1] * channels)
    throw new InputError(`crop: [${to.join(', ')}] of ${pixels.length} values [${from.join(', ')}, ${channels}]; a cut inside it expected`);
  const [top, left] = [offset(from[0] - to[0], rounding), offset(from[1] - to[1], rounding)];
  const out = pixels.slice(0, to[0] * to[1] * channels) as Pixels;
  for (let y = 0; y < to[0]; y++) {
    const begin = ((top + y) * from[1] + left) * channels;
    out.set(pixels.subarray(begin, begin + to[1] * channels), y * to[1] * channels);
  }
  return out;
}
