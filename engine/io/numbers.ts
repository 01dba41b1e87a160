/** @file Stored tensors as arrays of numbers and back: half, brain and 8-bit floats, integers, booleans. */
import { InputError } from './errors.ts';
import type { StoredTensor } from './safetensors.ts';
import { countElements } from './safetensors-header.ts';

type Elements =
  | Float64Array
  | Float32Array
  | Int32Array
  | Int16Array
  | Int8Array
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array;
type View<T> = { new (buffer: ArrayBufferLike, byteOffset: number, length: number): T; readonly BYTES_PER_ELEMENT: number };

/** The array over the tensor's own memory where it is aligned, over a copy where it is not. */
function view<T>(Type: View<T>, { bytes }: StoredTensor): T {
  const aligned = bytes.byteOffset % Type.BYTES_PER_ELEMENT === 0 ? bytes : new Uint8Array(bytes); // not slice: a Buffer's shares memory
  return new Type(aligned.buffer, aligned.byteOffset, bytes.length / Type.BYTES_PER_ELEMENT);
}

/** The arrays that hold stored elements as they are. */
const NATIVE: Readonly<Partial<Record<string, View<Elements>>>> = {
  F64: Float64Array,
  F32: Float32Array,
  I64: BigInt64Array,
  U64: BigUint64Array,
  I32: Int32Array,
  U32: Uint32Array,
  I16: Int16Array,
  U16: Uint16Array,
  I8: Int8Array,
  U8: Uint8Array,
  BOOL: Uint8Array,
};

const bitsOf = (values: Float32Array): Uint32Array => new Uint32Array(values.buffer, values.byteOffset, values.length);

/**
 * Floats of fewer bits: the bits are moved to a float32's place and the bias of the exponent is made good by an exact product, which takes care
 * of subnormals too. `special` is the first magnitude that is infinite or not a number.
 */
function widen(codes: Uint16Array | Uint8Array, signBit: number, shift: number, scale: number, special: number): Float32Array {
  const out = new Float32Array(codes.length);
  const bits = bitsOf(out);
  for (let i = 0; i < codes.length; i++) {
    const magnitude = codes[i]! & (signBit - 1);
    const sign = codes[i]! & signBit ? 0x80000000 : 0;
    if (magnitude >= special) {
      bits[i] = sign | 0x7f800000 | (magnitude << shift);
    } else {
      bits[i] = sign | (magnitude << shift);
      out[i] = out[i]! * scale;
    }
  }
  return out;
}

/** Widths, layouts and special codes: IEEE 754 for F16; the upper half of a float32 for BF16; Micikevicius et al., arXiv 2209.05433, for the 8-bit floats. */
const WIDEN: Readonly<Partial<Record<string, (tensor: StoredTensor) => Float32Array>>> = {
  F16: (tensor) => widen(view(Uint16Array, tensor), 0x8000, 13, 2 ** 112, 0x7c00),
  BF16: (tensor) => widen(view(Uint16Array, tensor), 0x8000, 16, 1, 0x7f80),
  F8_E5M2: (tensor) => widen(tensor.bytes, 0x80, 21, 2 ** 112, 0x7c),
  F8_E4M3: (tensor) => widen(tensor.bytes, 0x80, 20, 2 ** 120, 0x7f),
};

function elements(tensor: StoredTensor): Elements {
  const Native = NATIVE[tensor.dtype];
  const array = Native ? view(Native, tensor) : WIDEN[tensor.dtype]?.(tensor);
  if (!array) throw new InputError(`tensor of ${tensor.dtype}: cannot be read as numbers; convert it to F32, F16 or BF16 first`);
  return array;
}

/**
 * The values as float32, rounded where they need more bits. F32 shares the tensor's memory where that is aligned.
 * @throws InputError for C64 and floats of 4, 6 and unusual 8 bits
 */
export function toFloat32(tensor: StoredTensor): Float32Array {
  const values = elements(tensor);
  return values instanceof Float32Array ? values : Float32Array.from(values as ArrayLike<number | bigint>, Number);
}

/** The values as float64; integers beyond 2⁵³ are rounded. F64 shares the tensor's memory where that is aligned. Errors as in `toFloat32`. */
export function toFloat64(tensor: StoredTensor): Float64Array {
  const values = elements(tensor);
  return values instanceof Float64Array ? values : Float64Array.from(values as ArrayLike<number | bigint>, Number);
}

/** The values as int64. I64 shares the tensor's memory where that is aligned. @throws InputError for a value that is no such integer */
export function toBigInt64(tensor: StoredTensor): BigInt64Array {
  const values = elements(tensor);
  if (values instanceof BigInt64Array) return values;
  return BigInt64Array.from(values as ArrayLike<number | bigint>, (value) => {
    const whole = typeof value === 'bigint' || Number.isInteger(value) ? BigInt(value) : undefined;
    if (whole === undefined || BigInt.asIntN(64, whole) !== whole)
      throw new InputError(`tensor of ${tensor.dtype}: ${value} is not a 64-bit integer`);
    return whole;
  });
}

/** Float32 bits → bfloat16 bits, to nearest, ties to even; a NaN stays one. */
const toBrain = (x: number): number => ((x & 0x7fffffff) > 0x7f800000 ? (x >>> 16) | 0x40 : (x + 0x7fff + ((x >>> 16) & 1)) >>> 16);

/** Float32 bits and value → half bits, to nearest, ties to even. Below 2⁻¹⁴ halves are multiples of 2⁻²⁴; adding and taking away 2⁵² rounds to such a multiple. */
function toHalf(x: number, value: number): number {
  const sign = (x >>> 16) & 0x8000;
  const magnitude = x & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00 | ((magnitude >>> 13) & 0x3ff);
  if (magnitude >= 0x47800000) return sign | 0x7c00; // 2¹⁶ and more
  if (magnitude < 0x38800000) return sign | (Math.abs(value) * 2 ** 24 + 2 ** 52 - 2 ** 52);
  return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
}

function toTensor(
  dtype: StoredTensor['dtype'],
  shape: readonly number[],
  data: Float64Array | Float32Array | Uint16Array | BigInt64Array,
): StoredTensor {
  if (countElements(shape) !== data.length) throw new InputError(`tensor: ${data.length} values do not fill shape [${shape.join(', ')}]`);
  return { dtype, shape, bytes: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) };
}

/**
 * Float32 values as a stored tensor, rounded to nearest (ties to even, subnormals kept) where the type is smaller. F32 shares the memory of `data`.
 * @throws InputError where `data` does not fill the shape
 */
export function fromFloat32(data: Float32Array, shape: readonly number[], dtype: 'F32' | 'F16' | 'BF16' = 'F32'): StoredTensor {
  if (dtype === 'F32') return toTensor(dtype, shape, data);
  const bits = bitsOf(data);
  const codes = new Uint16Array(data.length); // filled by a loop: `from` takes ten times as long
  if (dtype === 'F16') for (let i = 0; i < codes.length; i++) codes[i] = toHalf(bits[i]!, data[i]!);
  else for (let i = 0; i < codes.length; i++) codes[i] = toBrain(bits[i]!);
  return toTensor(dtype, shape, codes);
}

/** Float64 values as F64, sharing their memory. Errors as in `fromFloat32`. */
export const fromFloat64 = (data: Float64Array, shape: readonly number[]): StoredTensor => toTensor('F64', shape, data);

/** Integers as I64, sharing their memory. Errors as in `fromFloat32`. */
export const fromBigInt64 = (data: BigInt64Array, shape: readonly number[]): StoredTensor => toTensor('I64', shape, data);
