/** @file Backgrounds: drawings stand on white; a style that the teacher was not trained on has another ground. */
import { type Drawings, PIXELS, SIZE } from './drawings.ts';

export type Colour = readonly [number, number, number];
const CHANNEL = SIZE * SIZE;
export const WHITE: Colour = [1, 1, 1];
/** Violet, in −1…1. */
export const DUSK: Colour = [0.2, -0.15, 0.6];

/** Squared distance of a pixel's colour. */
const off = (images: Float32Array, first: number, p: number, colour: Colour): number =>
  colour.reduce((sum, v, c) => sum + (images[first + c * CHANNEL + p]! - v) ** 2, 0);

/** Colours the ground of one image anew, in place: what is reached from the upper corners over pixels that are nearly of the old colour. */
export function reground(images: Float32Array, image: number, from: Colour, to: Colour, tolerance = 1e-3): void {
  const first = image * PIXELS;
  const seen = new Uint8Array(CHANNEL);
  const open = [0, SIZE - 1];
  while (open.length > 0) {
    const p = open.pop()!;
    if (seen[p] === 1) continue;
    seen[p] = 1;
    if (off(images, first, p, from) > tolerance) continue;
    to.forEach((v, c) => {
      images[first + c * CHANNEL + p] = v;
    });
    const x = p % SIZE;
    if (x > 0) open.push(p - 1);
    if (x < SIZE - 1) open.push(p + 1);
    if (p >= SIZE) open.push(p - SIZE);
    if (p < CHANNEL - SIZE) open.push(p + SIZE);
  }
}

const each = (images: Float32Array, from: Colour, to: Colour, tolerance?: number): Float32Array => {
  const out = images.slice();
  for (let i = 0; i < out.length / PIXELS; i++) reground(out, i, from, to, tolerance);
  return out;
};
/** Images [n,3,32,32] in −1…1 in the style. */
export const atDusk = (images: Float32Array): Float32Array => each(images, WHITE, DUSK);
/** The reverse for what a network drew, whose ground is nearly even: on white, as the judge knows avatars. */
export const atNoon = (images: Float32Array): Float32Array => each(images, DUSK, WHITE, 0.4);

/** Share of images whose upper corners are nearer to the style's ground than to white. */
export function shareAtDusk(images: Float32Array): number {
  const n = images.length / PIXELS;
  const corners = (i: number, colour: Colour): number => [0, SIZE - 1].reduce((sum, p) => sum + off(images, i * PIXELS, p, colour), 0);
  return Array.from({ length: n }, (_, i) => corners(i, DUSK) < corners(i, WHITE)).filter(Boolean).length / n;
}

/** Some drawings of a set, so that styles can be learnt from few. */
export const someOf = ({ images, values, captions }: Drawings, n: number, first: number): Drawings => ({
  n,
  images: images.subarray(first * PIXELS, (first + n) * PIXELS),
  values: values.subarray((values.length / captions.length) * first, (values.length / captions.length) * (first + n)),
  captions: captions.slice(first, first + n),
});
