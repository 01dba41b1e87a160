/** @file Decodes the images of a container in order, several ahead; unreadable ones are named or, where the caller allows it, counted. */
import { createHash } from 'node:crypto';
import { decodePicture, type Picture, type PictureOptions } from '../../data/image.ts';
import { InputError } from '../../engine/io/errors.ts';
import { type Container, type Item, inChannels, type StoredPixels } from './container.ts';

/** A decoded image: [height, width, channels], 0..255. */
export interface SourceImage {
  /** For messages: the file, or the container and what it calls the image. */
  readonly name: string;
  readonly pixels: Uint8Array;
  readonly width: number;
  readonly height: number;
  readonly channels: number;
  readonly label: number | null;
  readonly caption: string | null;
}

export interface ImageSource {
  /** As it was given. */
  readonly name: string;
  /** Number of images, unreadable ones among them; null where only reading to the end tells (compressed archives). */
  readonly count: number | null;
  /** Names of the classes that labels count, where they are known. */
  readonly classes: readonly string[] | null;
  /** The images in their order, which is the same each time. @throws InputError for an unreadable one unless `skipBad` */
  images(): AsyncGenerator<SourceImage, void>;
  /** The same before they are read and decoded, for whoever has this done by worker threads. */
  items(): AsyncIterable<Item>;
  /** How they are decoded. */
  readonly decoding: DecodeOptions;
  /** Images that `images` has left out so far; parts count with the whole. */
  skipped(): number;
  /** Images `from` up to, but not including, `to`: what one worker reads. It shares the open file. */
  slice(from: number, to: number): ImageSource;
  /** SHA-256, in hex, of what the images depend on: the files' names and bytes, the range and the options of decoding. Reads everything. */
  fingerprint(): Promise<string>;
  /** Closes the whole, and with it its parts. */
  close(): Promise<void>;
}

/** How images are decoded (see `decodePicture`), and what happens to unreadable ones. Images of arrays are already decoded; they get the wanted channels. */
export interface DecodeOptions extends Omit<PictureOptions, 'name'> {
  /** Leave unreadable images out and count them, instead of stopping. */
  readonly skipBad?: boolean;
}

/** Images that are decoded side by side. */
const AHEAD = 8;

/** An encoded image or stored pixels, in the wanted channels. @throws InputError where it cannot be read */
export async function decodeLoaded(loaded: Uint8Array | StoredPixels, name: string, options: DecodeOptions): Promise<Picture> {
  if (loaded instanceof Uint8Array) return decodePicture(loaded, { ...options, name });
  return inChannels(loaded, options.channels ?? 3);
}

async function decodeItem(item: Item, options: DecodeOptions): Promise<SourceImage> {
  const { name, label, caption } = item;
  const picture = await decodeLoaded(await item.load(), name, options);
  const { pixels, width, height, channels } = picture;
  return { name, pixels, width, height, channels, label, caption };
}

/** Results in the order of the items, `AHEAD` of them at work. */
async function* inOrder<T>(items: AsyncIterable<Item>, work: (item: Item) => Promise<T>): AsyncGenerator<T, void> {
  const waiting: Promise<T>[] = [];
  for await (const item of items) {
    const result = work(item);
    result.catch(() => {}); // it is thrown where it is waited for
    waiting.push(result);
    if (waiting.length >= AHEAD) yield await waiting.shift()!;
  }
  for (const result of waiting) yield await result;
}

/** Source of all images of a container, or of a range. */
export function sourceOf(name: string, container: Container, options: DecodeOptions): ImageSource {
  let skipped = 0;
  const part = (begin: number, end: number): ImageSource => {
    const attempt = async (item: Item): Promise<SourceImage | null> => {
      try {
        return await decodeItem(item, options);
      } catch (error) {
        if (!options.skipBad || !(error instanceof InputError)) throw error;
        skipped++;
        return null;
      }
    };
    return {
      name,
      count: container.count === null ? null : Math.max(0, Math.min(end, container.count) - begin),
      classes: container.classes,
      async *images() {
        for await (const image of inOrder(container.items(begin, end), attempt)) if (image) yield image;
      },
      items: () => container.items(begin, end),
      decoding: options,
      skipped: () => skipped,
      slice(from, to) {
        if (!(Number.isInteger(from) && Number.isInteger(to) && from >= 0 && to >= from))
          throw new InputError(`images: range ${from} to ${to} of ${name}; whole numbers, the first not above the second, expected`);
        return part(begin + from, Math.min(end, begin + to));
      },
      async fingerprint() {
        const { channels = 3, orientation = false, background = null, grey16 = 'clip' } = options;
        const hash = createHash('sha256').update(`${JSON.stringify([begin, end, channels, orientation, background, grey16])}\n`);
        await container.digest(hash);
        return hash.digest('hex');
      },
      close: () => container.close(),
    };
  };
  return part(0, Number.POSITIVE_INFINITY);
}

/**
 * The images as they come, as long as all are of one size, for whoever cannot do with several.
 * @throws InputError that names the first image and the first of another size
 */
export async function* ofOneSize(images: AsyncIterable<SourceImage>): AsyncGenerator<SourceImage, void> {
  let first: SourceImage | null = null;
  for await (const image of images) {
    first ??= { ...image, pixels: new Uint8Array(0) };
    if (image.width !== first.width || image.height !== first.height || image.channels !== first.channels) {
      const [a, b] = [first, image].map((each) => `${each.name} is ${each.width}x${each.height}`);
      throw new InputError(`images: of several sizes: ${a}, ${b}; one size expected, or resize them first`);
    }
    yield image;
  }
}
