/** @file NumPy's types, scalars and arrays as pickles hold them: `dtype` with its state, `scalar`, `ndarray` with its raw bytes. */
import { InputError } from './errors.ts';
import { toFloat64 } from './numbers.ts';
import { bytesOf, isThing, known, type PickleThing, type PickleValue, size, sizes, text } from './pickle-values.ts';
import type { SafetensorsDtype, StoredTensor } from './safetensors.ts';

interface NumpyType extends PickleThing {
  readonly kind: 'numpy.dtype';
  readonly dtype: SafetensorsDtype;
  readonly itemBytes: number;
  bigEndian: boolean;
}
/** An array that a pickle holds. */
export interface NumpyArray extends PickleThing {
  readonly kind: 'numpy.ndarray';
  /** Row-major and little-endian. Without elements until its state was read. */
  tensor: StoredTensor;
}

const TYPES: Readonly<Record<string, readonly [SafetensorsDtype, number]>> = {
  b1: ['BOOL', 1],
  i1: ['I8', 1],
  i2: ['I16', 2],
  i4: ['I32', 4],
  i8: ['I64', 8],
  u1: ['U8', 1],
  u2: ['U16', 2],
  u4: ['U32', 4],
  u8: ['U64', 8],
  f2: ['F16', 2],
  f4: ['F32', 4],
  f8: ['F64', 8],
};

function numpyType(args: readonly PickleValue[]): NumpyType {
  const name = text('numpy.dtype', args[0]);
  const found = Object.hasOwn(TYPES, name) ? TYPES[name] : undefined;
  if (!found)
    throw new InputError(
      `numpy.dtype ${JSON.stringify(name.slice(0, 40))} cannot be read; numbers and booleans can (${Object.keys(TYPES).join(', ')})`,
    );
  const type: NumpyType = {
    kind: 'numpy.dtype',
    dtype: found[0],
    itemBytes: found[1],
    bigEndian: false,
    build(state) {
      type.bigEndian = Array.isArray(state) && state[1] === '>';
    },
  };
  return type;
}
function typeOf(value: PickleValue | undefined): NumpyType {
  if (!isThing(value) || value.kind !== 'numpy.dtype') throw new InputError('a numpy array has no numpy.dtype; the file is damaged');
  return value as NumpyType;
}

/** Elements of `width` bytes with their bytes in the other order. */
export function swapBytes(bytes: Uint8Array, width: number): Uint8Array {
  if (width === 1) return bytes;
  const out = new Uint8Array(bytes.length);
  for (let i = 0; i < bytes.length; i++) out[i] = bytes[i - (i % width) + width - 1 - (i % width)]!;
  return out;
}

/** Column-major elements in row-major order. */
function rowMajor(bytes: Uint8Array, shape: readonly number[], width: number): Uint8Array {
  const strides = shape.map((_, axis) => shape.slice(0, axis).reduce((n, d) => n * d, 1));
  return gather(bytes, { shape, strides, offset: 0 }, width);
}

interface View {
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  readonly offset: number;
}
const WORDS = { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array } as const;

/** The elements of `width` bytes of a strided view one after the other. All must lie within `bytes`. */
export function gather(bytes: Uint8Array, { shape, strides, offset }: View, width: number): Uint8Array {
  // Eight bytes are two words side by side.
  if (width === 8) return gather(bytes, { shape: [...shape, 2], strides: [...strides.map((d) => 2 * d), 1], offset: 2 * offset }, 4);
  const Words = WORDS[width as keyof typeof WORDS];
  const aligned = (bytes.byteOffset % width === 0 ? bytes : new Uint8Array(bytes)) as Uint8Array<ArrayBuffer>; // not slice: a Buffer's shares memory
  const from = new Words(aligned.buffer, aligned.byteOffset, Math.floor(aligned.length / width));
  const out = new Words(shape.reduce((n, d) => n * d, 1));
  const rows = shape.slice(0, -1);
  const [length, step] = [shape.at(-1) ?? 1, strides.at(-1) ?? 0];
  const place = rows.map(() => 0);
  for (let i = 0, begin = offset; i < out.length; i += length) {
    for (let j = 0; j < length; j++) out[i + j] = from[begin + j * step]!;
    for (let axis = rows.length - 1; axis >= 0; axis--) {
      begin += strides[axis]!;
      if (++place[axis]! < rows[axis]!) break;
      begin -= strides[axis]! * rows[axis]!;
      place[axis] = 0;
    }
  }
  return new Uint8Array(out.buffer);
}

function arrayOf(type: NumpyType, shape: readonly number[], raw: Uint8Array, columnMajor: boolean): StoredTensor {
  const wanted = shape.reduce((n, d) => n * d, type.itemBytes);
  if (raw.length !== wanted)
    throw new InputError(`a numpy array of shape (${shape.join(', ')}) takes ${wanted} bytes, not ${raw.length}; the file is damaged`);
  const ordered = type.bigEndian ? swapBytes(raw, type.itemBytes) : raw;
  return { dtype: type.dtype, shape, bytes: columnMajor && shape.length > 1 ? rowMajor(ordered, shape, type.itemBytes) : ordered };
}

const latin1 = (value: PickleValue | undefined): Uint8Array =>
  typeof value === 'string' ? Uint8Array.from(Buffer.from(value, 'latin1')) : bytesOf('the data of a numpy array', value);

/** `_reconstruct(ndarray, (0,), b'b')`, whose state is (version, shape, dtype, is_fortran, data). */
function emptyArray(): NumpyArray {
  const array: NumpyArray = {
    kind: 'numpy.ndarray',
    tensor: { dtype: 'U8', shape: [0], bytes: new Uint8Array(0) },
    build(state) {
      if (!Array.isArray(state) || state.length !== 5)
        throw new InputError('a numpy array has no state of five parts; the file is damaged');
      const [, shape, dtype, columnMajor, data] = state;
      array.tensor = arrayOf(typeOf(dtype), sizes('the shape of a numpy array', shape), latin1(data), columnMajor === true);
    },
  };
  return array;
}
/** `_frombuffer(data, dtype, shape, order)` of protocol 5. */
function fromBuffer([data, dtype, shape, order]: readonly PickleValue[]): NumpyArray {
  const lengths = Array.isArray(shape) ? sizes('the shape of a numpy array', shape) : [size('the shape of a numpy array', shape)];
  return { kind: 'numpy.ndarray', tensor: arrayOf(typeOf(dtype), lengths, bytesOf('the data of a numpy array', data), order === 'F') };
}
function scalar([dtype, data]: readonly PickleValue[]): PickleValue {
  const tensor = arrayOf(typeOf(dtype), [], latin1(data), false);
  const value = toFloat64(tensor)[0]!;
  return tensor.dtype === 'BOOL' ? value !== 0 : value;
}

const functions: ReadonlyMap<string, PickleThing> = new Map([
  ['numpy.dtype', known(numpyType)],
  ['numpy.ndarray', { kind: 'class numpy.ndarray' }],
  ...['numpy.core', 'numpy._core'].flatMap((core): [string, PickleThing][] => [
    [`${core}.multiarray.scalar`, known(scalar)],
    [`${core}.multiarray._reconstruct`, known(emptyArray)],
    [`${core}.numeric._frombuffer`, known(fromBuffer)],
  ]),
]);
/** NumPy's functions by their full names. */
export const findNumpy = (name: string): PickleThing | undefined => functions.get(name);
