/** @file NumPy's .npy files: one array of numbers, read in any type, byte order and layout, written as float32, float64, int64 or uint8. numpy.lib.format, versions 1.0 to 3.0. */
import { readFile } from 'node:fs/promises';
import { writeAtomic } from './atomic.ts';
import { InputError } from './errors.ts';
import { fileFailure } from './failures.ts';
import { toFloat32 } from './numbers.ts';

/** An array in row-major order. */
export interface NpyArray {
  readonly shape: readonly number[];
  readonly data: Float32Array | Float64Array | BigInt64Array | Uint8Array;
}

const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59]; // \x93NUMPY
/** Data begin at a multiple of this. */
const ALIGNMENT = 64;
const TYPES = { '<f4': Float32Array, '<f8': Float64Array, '<i8': BigInt64Array, '|u1': Uint8Array } as const;

type Reader = (buffer: ArrayBuffer) => NpyArray['data'];
const asFloats =
  (Type: new (buffer: ArrayBuffer) => ArrayLike<number>): Reader =>
  (buffer) =>
    Float64Array.from(new Type(buffer));
/** How little-endian elements of each kind and size become numbers. */
const READERS: Readonly<Partial<Record<string, Reader>>> = {
  f2: (buffer) => toFloat32({ dtype: 'F16', shape: [buffer.byteLength / 2], bytes: new Uint8Array(buffer) }),
  f4: (buffer) => new Float32Array(buffer),
  f8: (buffer) => new Float64Array(buffer),
  i8: (buffer) => new BigInt64Array(buffer),
  u1: (buffer) => new Uint8Array(buffer),
  b1: (buffer) => new Uint8Array(buffer),
  i1: asFloats(Int8Array),
  i2: asFloats(Int16Array),
  i4: asFloats(Int32Array),
  u2: asFloats(Uint16Array),
  u4: asFloats(Uint32Array),
  u8: (buffer) => Float64Array.from(new BigUint64Array(buffer), Number),
};

/** What stands before the data of a file. */
export interface NpyHeader {
  /** NumPy's name of the type, such as `|u1` or `<f4`. */
  readonly type: string;
  readonly shape: readonly number[];
  /** Bytes before the data. */
  readonly begin: number;
}

interface Layout extends NpyHeader {
  readonly columnMajor: boolean;
}

/** A header is no longer than this: NumPy itself refuses longer ones. */
export const NPY_HEADER_BYTES = 10_000;

/** The header is the text of a Python dict with three keys in any order. */
function parseText(text: string, where: string): Omit<Layout, 'begin'> {
  const type = /'descr'\s*:\s*'([^']*)'/.exec(text)?.[1];
  const order = /'fortran_order'\s*:\s*(True|False)/.exec(text)?.[1];
  const sizes = /'shape'\s*:\s*\(([\d,\s]*)\)/.exec(text)?.[1];
  if (order === undefined || sizes === undefined)
    throw new InputError(`${where}: unreadable header ${JSON.stringify(text.trim().slice(0, 200))}`);
  if (type === undefined) throw unreadable('of several fields', where);
  const shape = sizes
    .split(',')
    .filter((size) => size.trim() !== '')
    .map(Number);
  return { type, shape, columnMajor: order === 'True' };
}

const unreadable = (type: string, where: string): InputError =>
  new InputError(`${where}: type ${type}; floats of 2, 4 and 8 bytes, integers of 1 to 8 bytes and booleans can be read`);

/**
 * Reads what stands before data in row-major order, of any type of elements.
 * @param bytes the beginning of a file: all of it, or at least `NPY_HEADER_BYTES`
 * @throws InputError for column-major order, several fields and malformed files
 */
export function npyHeader(bytes: Uint8Array, where = 'npy'): NpyHeader {
  const { columnMajor, ...header } = layoutOf(bytes, where);
  if (columnMajor) throw new InputError(`${where}: column-major order (fortran_order); save it with numpy.ascontiguousarray`);
  return header;
}

function layoutOf(bytes: Uint8Array, where: string): Layout {
  if (bytes.length < 12 || MAGIC.some((byte, i) => bytes[i] !== byte))
    throw new InputError(`${where}: not a .npy file; it does not begin with \\x93NUMPY`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const version = bytes[6]!;
  if (version < 1 || version > 3) throw new InputError(`${where}: format version ${version}; 1 to 3 can be read`);
  const [start, length] = version === 1 ? [10, view.getUint16(8, true)] : [12, view.getUint32(8, true)];
  if (start + length > bytes.length)
    throw new InputError(`${where}: the header is said to end at byte ${start + length} of ${bytes.length}; the file is truncated`);
  return { ...parseText(new TextDecoder().decode(bytes.subarray(start, start + length)), where), begin: start + length };
}

/**
 * Reads an array from the bytes of a file. Halves become float32; small integers and unsigned ones of 8 bytes float64; the other byte order and
 * column-major layout are turned round.
 * @param where the name for messages
 * @throws InputError for elements that are no numbers, and malformed files
 */
export function parseNpy(bytes: Uint8Array, where = 'npy'): NpyArray {
  const { type, shape, begin, columnMajor } = layoutOf(bytes, where);
  const [, order, kind, width] = /^([<>|=])([fiub])(\d+)$/.exec(type) ?? [];
  const size = Number(width);
  const reader = READERS[`${kind}${size}`];
  if (!reader || (order === '|' && size > 1)) throw unreadable(type, where);
  const data = new Uint8Array(bytes.subarray(begin)); // a copy, so that it is aligned
  const wanted = shape.reduce((product, count) => product * count, size);
  if (data.length !== wanted)
    throw new InputError(`${where}: shape (${shape.join(', ')}) of ${type} takes ${wanted} bytes, but ${data.length} follow the header`);
  if (order === '>') swapBytes(data, size);
  const values = reader(data.buffer);
  return { shape, data: columnMajor ? rowMajor(values, shape) : values };
}

function swapBytes(bytes: Uint8Array, size: number): void {
  for (let i = 0; i < bytes.length; i += size) bytes.subarray(i, i + size).reverse();
}

/** The elements of a column-major array, the first index running fastest, in row-major order. */
function rowMajor<T extends NpyArray['data']>(values: T, shape: readonly number[]): T {
  const out = values.slice() as T;
  const index = shape.map(() => 0);
  const strides = shape.map((_, k) => shape.slice(0, k).reduce((product, size) => product * size, 1));
  for (let i = 0; i < values.length; i++) {
    out[i] = values[index.reduce((at, position, k) => at + position * strides[k]!, 0)]!;
    for (let k = shape.length - 1; k >= 0 && ++index[k]! === shape[k]; k--) index[k] = 0;
  }
  return out;
}

/** Errors as in `parseNpy`, and InputError where the file cannot be read. */
export async function readNpy(path: string): Promise<NpyArray> {
  const bytes = await readFile(path).catch((error: unknown) => {
    throw fileFailure('read', path, error);
  });
  return parseNpy(bytes, path);
}

/** The bytes of a file, version 1.0. @throws InputError where the data do not fill the shape */
export function encodeNpy({ shape, data }: NpyArray): Uint8Array {
  const count = shape.reduce((product, size) => product * size, 1);
  if (count !== data.length) throw new InputError(`npy: ${data.length} values do not fill shape (${shape.join(', ')})`);
  const type = Object.entries(TYPES).find(([, Type]) => data instanceof Type)![0];
  const sizes = shape.length === 1 ? `${shape[0]},` : shape.join(', ');
  const text = `{'descr': '${type}', 'fortran_order': False, 'shape': (${sizes}), }`;
  const begin = Math.ceil((10 + text.length + 1) / ALIGNMENT) * ALIGNMENT;
  const out = new Uint8Array(begin + data.byteLength);
  out.set([...MAGIC, 1, 0]);
  new DataView(out.buffer).setUint16(8, begin - 10, true);
  out.set(new TextEncoder().encode(`${text.padEnd(begin - 11)}\n`), 10);
  out.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), begin);
  return out;
}

/** Writes a file atomically. */
export const writeNpy = async (path: string, array: NpyArray): Promise<void> => writeAtomic(path, encodeNpy(array));
