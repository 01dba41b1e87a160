/** @file A style of drawing that the teacher was not trained on: the same avatars at dusk. */
import { type Drawings, PIXELS, SIZE } from './drawings.ts';

/** Gain and shift of red, green and blue in −1…1: white becomes violet, black a dark blue. */
const DUSK = [
  [0.55, -0.15],
  [0.45, -0.3],
  [0.5, 0.25],
] as const;
const CHANNEL = SIZE * SIZE;
const channelOf = (i: number) => DUSK[Math.floor((i % PIXELS) / CHANNEL)]!;

/** Images [n,3,32,32] in −1…1 in the style. */
export const atDusk = (images: Float32Array): Float32Array => images.map((v, i) => channelOf(i)[0] * v + channelOf(i)[1]);
/** The reverse: what a drawing in the style shows, in the colours that the judge knows. */
export const atNoon = (images: Float32Array): Float32Array =>
  images.map((v, i) => Math.min(1, Math.max(-1, (v - channelOf(i)[1]) / channelOf(i)[0])));

/** Share of images whose corners, which are background, are nearer to the style's background than to white. */
export function shareAtDusk(images: Float32Array): number {
  const n = images.length / PIXELS;
  const CORNERS = [0, SIZE - 1];
  const off = (i: number, colour: (channel: number) => number): number => {
    let sum = 0;
    for (const p of CORNERS) for (let c = 0; c < 3; c++) sum += (images[i * PIXELS + c * CHANNEL + p]! - colour(c)) ** 2;
    return sum;
  };
  let count = 0;
  for (let i = 0; i < n; i++) if (off(i, (c) => DUSK[c]![0] + DUSK[c]![1]) < off(i, () => 1)) count++;
  return count / n;
}

/** Some drawings of a set, so that styles can be learnt from few. */
export const someOf = ({ images, values, captions }: Drawings, n: number, first: number): Drawings => ({
  n,
  images: images.subarray(first * PIXELS, (first + n) * PIXELS),
  values: values.subarray((values.length / captions.length) * first, (values.length / captions.length) * (first + n)),
  captions: captions.slice(first, first + n),
});
