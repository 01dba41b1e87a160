/** @file TensorFlow 1's bilinear resizing, which the original Inception graph and torch-fidelity apply. */
import type { Geometry, Resizer } from './geometry.ts';
import { floatPass, separable } from './passes.ts';
import { neighbourTaps, type Taps } from './taps.ts';

const f32 = Math.fround;

/** Output pixel i lies at i·from/to, without the half pixel that centres would add; nothing is averaged where the image shrinks. */
function taps(from: number, to: number): Taps {
  const position = (i: number): number => f32(i * f32(from / to));
  const first = (i: number): number => Math.floor(position(i));
  return neighbourTaps(from, to, first, (i) => {
    const next = f32(position(i) - first(i));
    return [f32(1 - next), next];
  });
}

/** `tf.image.resize_bilinear` of TensorFlow 1 with `align_corners=False`. @returns pixels [height, width, channels] to float32 of the other size */
export function tf1Resizer(options: Geometry): Resizer<Uint8Array | Float32Array, Float32Array> {
  const resize = separable<Float32Array>(options, (from, to) => floatPass(taps(from, to)));
  return (pixels) => resize(pixels instanceof Float32Array ? pixels : Float32Array.from(pixels));
}
