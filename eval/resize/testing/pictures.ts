/** @file The pictures by formula on which reference values of resizing were made, and what these files hold. */
import { createHash } from 'node:crypto';
import { readSafetensors, type StoredTensor, toFloat32 } from '../../../engine/io/safetensors.ts';
import { readFacts } from '../../../models/testing/golden.ts';
import type { Size } from '../geometry.ts';

/** MurmurHash3's finaliser. */
export function hash32(value: number): number {
  let x = value ^ (value >>> 16);
  x = Math.imul(x, 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}

const ramp = (i: number, side: number): number => (side > 1 ? Math.floor((i * 255) / (side - 1)) : 0);
const FORMULAS: Readonly<Record<string, (y: number, x: number, c: number, size: Size) => number>> = {
  zone: (y, x, c) => ((x * x * (c + 1) + y * y * (3 - c) + 5 * x * y) >> 8) & 255,
  hash: (y, x, c) => hash32(y * 4096 + x * 4 + c) & 255,
  blocks: (y, x, c, [h, w]) => {
    const block = hash32((y >> 3) * 4096 + (x >> 3) * 4 + c) & 255;
    return (2 * block + ramp(x, w) + (c === 1 ? 255 - ramp(y, h) : ramp(y, h))) >> 2;
  },
};

/** [height, width, 3] bytes. */
export function picture(name: string, size: Size): Uint8Array {
  const [h, w] = size;
  return Uint8Array.from({ length: h * w * 3 }, (_, i) => FORMULAS[name]!(Math.floor(i / (3 * w)), Math.floor(i / 3) % w, i % 3, size));
}

export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

interface Output {
  readonly shape_hwc: readonly [number, number, number];
  readonly dtype: 'uint8' | 'float32';
  readonly mean: readonly number[];
  readonly sha256_hwc?: string;
}
export interface ResizeCase {
  readonly image: string;
  readonly input_hw: Size;
  readonly output_hw: Size;
  readonly size: number;
  readonly input_sha256_hwc: string;
  readonly outputs: Readonly<Record<string, Output>>;
}
export interface ResizeFacts {
  readonly cases: Readonly<Record<string, ResizeCase>>;
  readonly tolerance: Readonly<Record<string, number>>;
  readonly tensors: ReadonlyMap<string, StoredTensor>;
}

/** NAME.json and NAME.safetensors beside it. */
export async function readResizeFacts(path: string): Promise<ResizeFacts> {
  const facts = readFacts<Omit<ResizeFacts, 'tensors'>>(path) as unknown as Omit<ResizeFacts, 'tensors'>;
  return { ...facts, tensors: (await readSafetensors(path.replace(/json$/, 'safetensors'))).tensors };
}

/** Positions y, x of the stored values of one output: all of it, or three windows and some samples. */
function* stored(
  tensors: ResizeFacts['tensors'],
  name: string,
  coordinates: string,
  [h, w]: Size,
): Generator<[number, number, Float32Array]> {
  const at = (values: Float32Array, i: number): Float32Array => values.subarray(3 * i, 3 * i + 3);
  const full = tensors.get(`${name}.full`);
  if (full) for (let i = 0; i < h * w; i++) yield [Math.floor(i / w), i % w, at(toFloat32(full), i)];
  if (full) return;
  const corners = { top_left: [0, 0], centre: [(h - 10) >> 1, (w - 10) >> 1], bottom_right: [h - 10, w - 10] } as const;
  for (const [window, [top, left]] of Object.entries(corners)) {
    const values = toFloat32(tensors.get(`${name}.${window}`)!);
    for (let i = 0; i < 100; i++) yield [top + Math.floor(i / 10), left + (i % 10), at(values, i)];
  }
  const [yx, samples] = [toFloat32(tensors.get(coordinates)!), toFloat32(tensors.get(`${name}.samples`)!)];
  for (let i = 0; i < yx.length / 2; i++) yield [yx[2 * i]!, yx[2 * i + 1]!, at(samples, i)];
}

/** Largest difference between [h, w, 3] and what is stored of it. */
export function worst(got: ArrayLike<number>, facts: ResizeFacts, name: string, coordinates: string, size: Size): number {
  let most = 0;
  for (const [y, x, want] of stored(facts.tensors, name, coordinates, size))
    for (let c = 0; c < 3; c++) most = Math.max(most, Math.abs(got[(y * size[1] + x) * 3 + c]! - want[c]!));
  return most;
}

/** Largest difference of a channel's mean. */
export function meanError(got: ArrayLike<number>, { mean }: Output): number {
  const sums = [0, 0, 0];
  for (let i = 0; i < got.length; i++) sums[i % 3]! += got[i]!;
  return Math.max(...sums.map((sum, c) => Math.abs(sum / (got.length / 3) - mean[c]!)));
}
