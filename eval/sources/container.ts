/** @file What every container of images gives, before its images are decoded. */
import type { Hash } from 'node:crypto';
import { type Channels, toChannels } from '../../data/pixels.ts';

/** Pixels as they are stored: [height, width, channels], 0..255. */
export interface StoredPixels {
  readonly pixels: Uint8Array;
  readonly width: number;
  readonly height: number;
  readonly channels: Channels;
}

/** One image: encoded (a PNG, say) or pixels already. What is read late is read by `load`, so that an image that is skipped costs nothing. */
export interface Item {
  /** For messages: the file, or the container and what it calls the image. */
  readonly name: string;
  readonly label: number | null;
  readonly caption: string | null;
  load(): Promise<Uint8Array | StoredPixels>;
}

export interface Container {
  /** Number of images; null where only reading to the end would tell. */
  readonly count: number | null;
  /** Names of the classes that labels count, where they are known. */
  readonly classes: readonly string[] | null;
  /** Images `from` to `to`, or to the end, in the container's order. */
  items(from: number, to: number): AsyncIterable<Item>;
  /** Feeds all that the images depend on to a hash. */
  digest(hash: Hash): Promise<void>;
  close(): Promise<void>;
}

/** Stored pixels in the wanted channels. */
export function inChannels(stored: StoredPixels, channels: Channels): StoredPixels {
  const pixels = toChannels({ data: stored.pixels, channels: stored.channels, cmyk: false }, channels);
  return { ...stored, pixels, channels };
}

/** [channels, height, width] to [height, width, channels]. */
export function interleave(planes: Uint8Array, channels: number): Uint8Array {
  const area = planes.length / channels;
  const pixels = new Uint8Array(planes.length);
  for (let c = 0; c < channels; c++) for (let i = 0; i < area; i++) pixels[i * channels + c] = planes[c * area + i]!;
  return pixels;
}

/** [height, width, channels] to [channels, height, width], as networks and `openPool` take images. */
export function planar(pixels: Uint8Array, channels: number): Uint8Array {
  return interleave(pixels, pixels.length / channels);
}

/** Whole numbers as labels, or null where there is none. */
export function labelOf(value: unknown): number | null {
  const number = typeof value === 'bigint' ? Number(value) : typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
  return typeof number === 'number' && Number.isSafeInteger(number) ? number : null;
}

/** Several containers, one after another. */
export function concatenated(parts: readonly Container[]): Container {
  const counts = parts.map((part) => part.count);
  return {
    count: counts.includes(null) ? null : counts.reduce<number>((sum, count) => sum + count!, 0),
    classes: parts[0]?.classes ?? null,
    async *items(from, to) {
      let begin = 0;
      for (const part of parts) {
        if (begin >= to) return;
        if (part.count !== null) {
          if (from < begin + part.count) yield* part.items(Math.max(0, from - begin), Math.min(part.count, to - begin));
          begin += part.count;
          continue;
        }
        // Only by going through it is it known where the next one begins.
        for await (const item of part.items(0, to - begin)) if (begin++ >= from) yield item;
      }
    },
    async digest(hash) {
      for (const part of parts) await part.digest(hash);
    },
    async close() {
      await Promise.all(parts.map((part) => part.close()));
    },
  };
}
