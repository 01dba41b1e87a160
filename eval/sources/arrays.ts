/** @file Images in one array of bytes: `.npy` files, and `.npz` files as guided-diffusion writes its samples. */
import { InputError } from '../../engine/io/errors.ts';
import { NPY_HEADER_BYTES, npyHeader } from '../../engine/io/npy.ts';
import { openRanges, pieces } from '../../engine/io/range-file.ts';
import { openZip, type ZipFile } from '../../engine/io/zip.ts';
import type { Container, Item, StoredPixels } from './container.ts';

/** Where the bytes of an array are. */
interface Bytes {
  readonly where: string;
  readonly size: number;
  range(begin: number, end: number): Promise<Uint8Array>;
  stream(begin: number): AsyncIterable<Uint8Array>;
  close(): Promise<void>;
}

/** Names of the images in an .npz file, the first that is there. `arr_0` is what numpy.savez calls an array without a name. */
const IMAGE_NAMES = ['arr_0', 'images', 'samples', 'x'];
const LABEL_NAMES = ['arr_1', 'labels', 'y'];
/** Integers that labels are stored in. */
const LABEL_TYPES: Readonly<Record<string, { readonly bytes: number; read(view: DataView, at: number): number }>> = {
  '|u1': { bytes: 1, read: (view, at) => view.getUint8(at) },
  '|i1': { bytes: 1, read: (view, at) => view.getInt8(at) },
  '<u2': { bytes: 2, read: (view, at) => view.getUint16(at, true) },
  '<i2': { bytes: 2, read: (view, at) => view.getInt16(at, true) },
  '<u4': { bytes: 4, read: (view, at) => view.getUint32(at, true) },
  '<i4': { bytes: 4, read: (view, at) => view.getInt32(at, true) },
  '<u8': { bytes: 8, read: (view, at) => Number(view.getBigUint64(at, true)) },
  '<i8': { bytes: 8, read: (view, at) => Number(view.getBigInt64(at, true)) },
};

const header = async (bytes: Bytes): Promise<ReturnType<typeof npyHeader>> =>
  npyHeader(await bytes.range(0, Math.min(bytes.size, NPY_HEADER_BYTES)), bytes.where);

/** A shape as NumPy writes it, and the bytes that it takes. */
const wording = (shape: readonly number[], type: string): string => `(${shape.join(', ')}) of ${type}`;
const product = (shape: readonly number[]): number => shape.reduce((all, size) => all * size, 1);

interface Layout extends Omit<StoredPixels, 'pixels'> {
  readonly count: number;
  readonly begin: number;
}

/** [count, height, width, 1 or 3] or [count, height, width] of bytes. */
async function layoutOf(bytes: Bytes): Promise<Layout> {
  const { type, shape, begin } = await header(bytes);
  const [count = 0, height = 0, width = 0, channels = 1] = shape;
  const fits =
    (shape.length === 3 || shape.length === 4) && (channels === 1 || channels === 3 || channels === 4) && height > 0 && width > 0;
  if (type !== '|u1' || !fits)
    throw new InputError(
      `${bytes.where}: has shape ${wording(shape, type)}; (count, height, width, 1 or 3) of |u1, bytes 0 to 255, expected`,
    );
  if (begin + product(shape) !== bytes.size)
    throw new InputError(
      `${bytes.where}: shape ${wording(shape, type)} takes ${product(shape)} bytes, but ${bytes.size - begin} follow the header`,
    );
  return { count, height, width, channels: channels as 1 | 3 | 4, begin };
}

async function labelsOf(bytes: Bytes, count: number): Promise<readonly number[]> {
  const { type, shape, begin } = await header(bytes);
  const reader = LABEL_TYPES[type];
  if (!reader || shape[0] !== count || product(shape) !== count)
    throw new InputError(`${bytes.where}: has shape ${wording(shape, type)}; ${count} whole numbers, one label an image, expected`);
  const stored = await bytes.range(begin, begin + count * reader.bytes);
  const view = new DataView(stored.buffer, stored.byteOffset, stored.length);
  return Array.from({ length: count }, (_, i) => reader.read(view, i * reader.bytes));
}

/** Container of an array of images, with labels or without. */
async function arrayContainer(images: Bytes, labelBytes: Bytes | null): Promise<Container> {
  const { count, begin, ...form } = await layoutOf(images);
  const labels = labelBytes && (await labelsOf(labelBytes, count));
  const each = form.height * form.width * form.channels;
  return {
    count,
    classes: null,
    async *items(from, to) {
      if (from >= Math.min(to, count)) return;
      let i = from;
      for await (const pixels of pieces(images.stream(begin + from * each), each, images.where)) {
        const item: Item = {
          name: `${images.where}[${i}]`,
          label: labels?.[i] ?? null,
          caption: null,
          load: async () => ({ pixels, ...form }),
        };
        yield item;
        if (++i >= to) return;
      }
    },
    async digest(hash) {
      for (const bytes of labelBytes ? [images, labelBytes] : [images]) for await (const chunk of bytes.stream(0)) hash.update(chunk);
    },
    close: () => images.close(),
  };
}

/** @throws InputError where it is not one array [count, height, width, 1 or 3] or [count, height, width] of bytes */
export async function openNpyImages(path: string): Promise<Container> {
  const file = await openRanges(path);
  const bytes: Bytes = {
    where: path,
    size: file.size,
    range: (begin, end) => file.read(begin, end - begin),
    stream: (begin) => file.stream(begin, file.size),
    close: () => file.close(),
  };
  return arrayContainer(bytes, null).catch(async (error: unknown) => {
    await file.close();
    throw error;
  });
}

const memberOf = (zip: ZipFile, path: string, name: string): Bytes => ({
  where: `${path}: ${name}`,
  size: zip.entries.get(name)!.size,
  range: (begin, end) => zip.range(name, begin, end),
  stream: (begin) => zip.stream(name, begin),
  close: () => zip.close(),
});

/**
 * Images in `arr_0` (or `images`, `samples`, `x`) and labels in `arr_1` (or `labels`, `y`) where they are there. A compressed array is unpacked from its
 * beginning for every range that is read.
 */
export async function openNpzImages(path: string): Promise<Container> {
  const zip = await openZip(path);
  const opening = async (): Promise<Container> => {
    const [images, labels] = [IMAGE_NAMES, LABEL_NAMES].map((names) =>
      names.map((name) => `${name}.npy`).find((name) => zip.entries.has(name)),
    );
    if (!images) {
      const found = [...zip.entries.keys()].slice(0, 8).join(', ') || 'nothing';
      throw new InputError(`${path}: has no array ${IMAGE_NAMES.join(' or ')}; found ${found}`);
    }
    return arrayContainer(memberOf(zip, path, images), labels === undefined ? null : memberOf(zip, path, labels));
  };
  return opening().catch(async (error: unknown) => {
    await zip.close();
    throw error;
  });
}
