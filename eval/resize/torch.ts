/** @file PyTorch's `interpolate` with `align_corners=False`: floats in every mode, bytes antialiased. Positions are float32, as there. */
import { InputError } from '../../engine/io/errors.ts';
import type { Geometry, Resizer } from './geometry.ts';
import { cubic, type Kernel, triangle } from './kernels.ts';
import { bytePass, floatPass, separable } from './passes.ts';
import { kernelTaps, neighbourTaps, type Taps } from './taps.ts';

export type TorchMode = 'bilinear' | 'bicubic' | 'area' | 'nearest' | 'nearest-exact';

const f32 = Math.fround;
/** Kernels of `antialias`; its cubic has a = -0.5, as Pillow's. */
const ANTIALIASED: Readonly<Record<'bilinear' | 'bicubic', Kernel>> = { bilinear: triangle, bicubic: cubic(-0.5) };
/** Without antialias the cubic has a = -0.75. */
const PLAIN_CUBIC = cubic(-0.75);

/** Where the middle of output pixel i lies, counted from the middle of input pixel 0. */
const source = (from: number, to: number, i: number): number => f32(f32(f32(from / to) * f32(i + 0.5)) - 0.5);

function linearTaps(from: number, to: number): Taps {
  const position = (i: number): number => Math.max(0, source(from, to, i));
  const first = (i: number): number => Math.min(from - 1, Math.floor(position(i)));
  return neighbourTaps(from, to, first, (i) => {
    const next = Math.min(1, f32(position(i) - first(i)));
    return [f32(1 - next), next];
  });
}

function cubicTaps(from: number, to: number): Taps {
  const first = (i: number): number => Math.floor(source(from, to, i)) - 1;
  return neighbourTaps(from, to, first, (i) => {
    const past = f32(source(from, to, i) - first(i));
    return [0, 1, 2, 3].map((k) => f32(PLAIN_CUBIC.weight(f32(past - k))));
  });
}

/** Means of the cells [⌊i·from/to⌋, ⌈(i+1)·from/to⌉): adaptive average pooling. */
function areaTaps(from: number, to: number): Taps {
  const begin = (i: number): number => Math.floor((i * from) / to);
  const count = (i: number): number => Math.ceil(((i + 1) * from) / to) - begin(i);
  return neighbourTaps(from, to, begin, (i) => Array<number>(count(i)).fill(1 / count(i)));
}

const nearestTaps =
  (shift: number) =>
  (from: number, to: number): Taps =>
    neighbourTaps(
      from,
      to,
      (i) => Math.floor(f32(f32(i + shift) * f32(from / to))),
      () => [1],
    );

const MODES: Readonly<Record<TorchMode, (from: number, to: number) => Taps>> = {
  bilinear: linearTaps,
  bicubic: cubicTaps,
  area: areaTaps,
  nearest: nearestTaps(0),
  'nearest-exact': nearestTaps(0.5),
};
export const TORCH_MODES = Object.keys(MODES) as readonly TorchMode[];

function tapsOf(mode: TorchMode, antialias: boolean): (from: number, to: number) => Taps {
  if (!Object.hasOwn(MODES, mode))
    throw new InputError(`resize: no mode ${JSON.stringify(mode)}; one of ${TORCH_MODES.join(', ')} expected`);
  if (!antialias) return MODES[mode];
  if (mode !== 'bilinear' && mode !== 'bicubic')
    throw new InputError(`resize: antialias with ${mode}; it exists for ${Object.keys(ANTIALIASED).join(' and ')}`);
  return (from, to) => kernelTaps(ANTIALIASED[mode], from, to, f32);
}

/**
 * `F.interpolate` of float images. Bicubic overshoot is not clipped.
 * @param options `antialias`, default false, for bilinear and bicubic
 * @returns pixels [height, width, channels] of any numbers to float32 of the other size
 * @throws InputError for an unknown mode and for antialias with another
 */
export function torchResizer(
  options: Geometry & { readonly mode: TorchMode; readonly antialias?: boolean },
): Resizer<Uint8Array | Float32Array, Float32Array> {
  const taps = tapsOf(options.mode, options.antialias ?? false);
  const resize = separable<Float32Array>(options, (from, to) => floatPass(taps(from, to)));
  return (pixels) => resize(pixels instanceof Float32Array ? pixels : Float32Array.from(pixels));
}

/** The most fractional bits with which the largest weight still fits 16 signed bits. */
function weightBits({ weights }: Taps): number {
  const largest = weights.reduce((most, weight) => Math.max(most, weight), 0);
  let bits = 0;
  while (bits < 22 && Math.trunc(0.5 + largest * 2 ** (bits + 1)) < 2 ** 15) bits++;
  return bits;
}

/**
 * `F.interpolate(..., antialias=True)` of bytes, which torchvision's `resize` and the image processors built on it use: weights of 16 bits. It differs from
 * Pillow by up to 2 levels.
 */
export function torchByteResizer(options: Geometry & { readonly mode: 'bilinear' | 'bicubic' }): Resizer<Uint8Array, Uint8Array> {
  const { mode } = options;
  tapsOf(mode, true); // refuses another mode
  return separable(options, (from, to) => {
    const taps = kernelTaps(ANTIALIASED[mode], from, to);
    return bytePass(taps, weightBits(taps));
  });
}
