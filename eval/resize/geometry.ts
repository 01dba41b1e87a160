/** @file From which size to which an image is resized, and the checks that every resizer makes. */
import { InputError } from '../../engine/io/errors.ts';

/** [height, width], in pixels. */
export type Size = readonly [height: number, width: number];

/** What a resizer is made for; all pixels are [height, width, channels], channels innermost. */
export interface Geometry {
  readonly from: Size;
  readonly to: Size;
  readonly channels: number;
}

/** Resizes one image: [height, width, channels] of the one size to the other. It keeps its weights, so make it once for many images. */
export type Resizer<Input, Output> = (pixels: Input) => Output;

/** Values of one image, before or after. */
const MAX_VALUES = 2 ** 31 - 1;

/** @throws InputError for sizes that are no whole numbers of at least 1, or larger than an image can be */
export function checkGeometry({ from, to, channels }: Geometry): void {
  const sizes = `[${from.join(', ')}] to [${to.join(', ')}] with ${channels} channels`;
  if (![...from, ...to, channels].every((value) => Number.isInteger(value) && value >= 1))
    throw new InputError(`resize: ${sizes}; whole numbers of at least 1 expected`);
  if (Math.max(from[0], to[0]) * Math.max(from[1], to[1]) * channels > MAX_VALUES)
    throw new InputError(`resize: ${sizes}; at most ${MAX_VALUES} values expected`);
}

/** @throws InputError where the pixels are not those of one image of the size that the resizer was made for */
export function checkPixels(pixels: ArrayLike<number>, { from: [height, width], channels }: Geometry): void {
  if (pixels.length !== height * width * channels)
    throw new InputError(`resize: ${pixels.length} values; [${height}, ${width}, ${channels}] takes ${height * width * channels}`);
}
