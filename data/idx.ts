/** @file IDX files, the format of MNIST and Fashion-MNIST, gzipped or not. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { InputError } from '../engine/io/errors.ts';
import { type Dataset, type Split, sharedBytes } from './dataset.ts';
import { DIGIT_CLASSES } from './digits.ts';

/** Fashion-MNIST's classes in the order of its labels (arXiv 1708.07747, table 1). */
const CLOTHES = ['T-shirt/top', 'Trouser', 'Pullover', 'Dress', 'Coat', 'Sandal', 'Shirt', 'Sneaker', 'Bag', 'Ankle boot'];

/** What the files themselves do not say. */
const KNOWN: Readonly<Record<string, { readonly classes: readonly string[]; readonly licence: string }>> = {
  mnist: { classes: DIGIT_CLASSES, licence: 'see its source' },
  'fashion-mnist': { classes: CLOTHES, licence: 'MIT' },
};

/** Names of the classes of a data set that these files are known for; none of others. */
export const classNames = (data: string): readonly string[] => KNOWN[data]?.classes ?? [];

/** An IDX file of unsigned bytes: big-endian magic 0x0800 + number of dimensions, the dimensions, the bytes. */
export interface IdxFile {
  readonly dims: readonly number[];
  readonly data: Uint8Array;
}

/**
 * Reads the bytes of an IDX file (unpacked first when gzipped) that must have `rank` dimensions.
 * @throws InputError for another magic number, or another length than the header says
 */
export function parseIdx(packed: Uint8Array, rank: number, file: string): IdxFile {
  const bytes = unpack(packed, file);
  const headerBytes = 4 + 4 * rank;
  if (bytes.length < headerBytes) throw new InputError(`idx: ${file} has ${bytes.length} bytes; the header alone takes ${headerBytes}`);
  const header = new DataView(bytes.buffer, bytes.byteOffset, headerBytes);
  const magic = header.getUint32(0);
  const expected = 0x0800 + rank;
  if (magic !== expected)
    throw new InputError(`idx: ${file} has magic number ${magic}; ${expected} expected (unsigned bytes in ${rank} dimensions)`);
  const dims = Array.from({ length: rank }, (_, i) => header.getUint32(4 + 4 * i));
  const length = dims.reduce((product, dim) => product * dim, 1);
  const data = bytes.subarray(headerBytes);
  if (data.length !== length) {
    const how = data.length < length ? 'truncated' : 'too long';
    throw new InputError(`idx: ${file} is ${how}: ${data.length} bytes after the header; ${length} expected for ${dims.join('x')}`);
  }
  return { dims, data };
}

function unpack(bytes: Uint8Array, file: string): Uint8Array {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
  try {
    return gunzipSync(bytes);
  } catch (error) {
    throw new InputError(`idx: ${file} does not unpack (${(error as Error).message}); a complete gzip file expected`);
  }
}

/** The file's usual names: both separators, gzipped or not. */
function find(folder: string, part: 'train' | 't10k', kind: 'images' | 'labels'): string | undefined {
  const rank = kind === 'images' ? 3 : 1;
  const names = ['-', '.'].flatMap((mark) => ['', '.gz'].map((end) => `${part}-${kind}${mark}idx${rank}-ubyte${end}`));
  return names.map((name) => join(folder, name)).find(existsSync);
}

/** Whether a folder holds IDX files under their usual names. */
export function isIdxFolder(folder: string): boolean {
  return find(folder, 'train', 'images') !== undefined;
}

async function loadPart(folder: string, name: string, part: 'train' | 't10k'): Promise<Dataset> {
  const [imageFile, labelFile] = (['images', 'labels'] as const).map((kind) => {
    const file = find(folder, part, kind);
    if (!file) throw new InputError(`idx: ${folder} has no ${part}-${kind}-idx${kind === 'images' ? 3 : 1}-ubyte (nor with .gz or .idx)`);
    return file;
  }) as [string, string];
  const { dims, data } = parseIdx(await readFile(imageFile), 3, imageFile);
  const [size, height, width] = dims as [number, number, number];
  const labels = parseIdx(await readFile(labelFile), 1, labelFile).data;
  if (labels.length !== size)
    throw new InputError(`idx: ${imageFile} has ${size} images but ${labelFile} has ${labels.length} labels; as many of each expected`);
  const { classes = null, licence = 'see its source' } = KNOWN[name] ?? {};
  const wrong = classes ? labels.findIndex((label) => label >= classes.length) : -1;
  if (wrong >= 0) throw new InputError(`idx: ${labelFile}: label ${labels[wrong]} of image ${wrong} is outside 0..${classes!.length - 1}`);
  const images = sharedBytes(data.length);
  images.set(data);
  return { name, size, channels: 1, height, width, images, labels: labels.slice(), classes, mayFlip: false, licence };
}

/**
 * A folder with `train-*` and `t10k-*` IDX files; the latter are held out. The names `mnist` and `fashion-mnist` add class names.
 * @throws InputError naming the file and the values where a file is missing, truncated or at odds with another
 */
export async function loadIdx(folder: string, name: string): Promise<Split> {
  const train = await loadPart(folder, name, 'train');
  const heldOut = await loadPart(folder, name, 't10k');
  if (heldOut.height !== train.height || heldOut.width !== train.width) {
    throw new InputError(
      `idx: ${folder}: images are ${train.height}x${train.width} in train but ${heldOut.height}x${heldOut.width} in t10k; one size expected`,
    );
  }
  return { train, heldOut };
}
