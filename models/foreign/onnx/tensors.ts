/** @file Tensors of ONNX files as values of our graph: every encoding that numbers come in. */
import type { TensorProto } from 'onnx-buf';
import type { LeafData } from '../../../engine/graph/ops/leaf.ts';
import type { DType } from '../../../engine/graph/tensor.ts';
import { InputError } from '../../../engine/io/errors.ts';
import { type SafetensorsDtype, toBigInt64, toFloat32, toFloat64 } from '../../../engine/io/safetensors.ts';

/** One element type of the format. */
interface ElementType {
  readonly name: string;
  /** Our type for its values; undefined where it cannot be computed with. */
  readonly dtype?: DType;
  /** How raw bytes are read. */
  readonly stored?: SafetensorsDtype;
  readonly bytes?: number;
  /** The typed field that holds values, or their bits, where there are no raw bytes. */
  readonly field?: 'floatData' | 'int32Data' | 'int64Data' | 'doubleData' | 'uint64Data';
}
const real = (name: string, stored: SafetensorsDtype, bytes: number, field: ElementType['field']): ElementType => ({
  name,
  dtype: 'float32',
  stored,
  bytes,
  ...(field ? { field } : {}),
});
const whole = (name: string, stored: SafetensorsDtype, bytes: number, field: ElementType['field']): ElementType => ({
  ...real(name, stored, bytes, field),
  dtype: 'int64',
});

/** By number. Half precision and double are computed in float32, all whole numbers in int64. */
const ELEMENT_TYPES: Readonly<Record<number, ElementType>> = {
  1: real('float32', 'F32', 4, 'floatData'),
  2: whole('uint8', 'U8', 1, 'int32Data'),
  3: whole('int8', 'I8', 1, 'int32Data'),
  4: whole('uint16', 'U16', 2, 'int32Data'),
  5: whole('int16', 'I16', 2, 'int32Data'),
  6: whole('int32', 'I32', 4, 'int32Data'),
  7: whole('int64', 'I64', 8, 'int64Data'),
  8: { name: 'string' },
  9: { ...whole('bool', 'U8', 1, 'int32Data'), dtype: 'bool' },
  10: real('float16', 'F16', 2, 'int32Data'),
  11: real('double', 'F64', 8, 'doubleData'),
  12: whole('uint32', 'U32', 4, 'uint64Data'),
  13: whole('uint64', 'U64', 8, 'uint64Data'),
  14: { name: 'complex64' },
  15: { name: 'complex128' },
  16: real('bfloat16', 'BF16', 2, 'int32Data'),
  17: real('float8e4m3fn', 'F8_E4M3', 1, 'int32Data'),
  18: { name: 'float8e4m3fnuz' },
  19: real('float8e5m2', 'F8_E5M2', 1, 'int32Data'),
  20: { name: 'float8e5m2fnuz' },
  21: { name: 'uint4' },
  22: { name: 'int4' },
  23: { name: 'float4e2m1' },
  24: { name: 'float8e8m0' },
  25: { name: 'uint2' },
  26: { name: 'int2' },
};
/** Types whose typed field holds bits, not values. */
const BITS: readonly string[] = ['F16', 'BF16', 'F8_E4M3', 'F8_E5M2'];
type Computed = ElementType & Required<Pick<ElementType, 'dtype' | 'stored' | 'bytes'>>;

/** Errors: an element type that cannot be computed with. */
export function elementType(where: string, type: number): Computed {
  const found = ELEMENT_TYPES[type];
  if (!found?.dtype)
    throw new InputError(
      `${where}: holds ${found?.name ?? `elements of the unknown type ${type}`}, which is not supported; convert it to float32`,
    );
  return found as Computed;
}

export interface OnnxTensor {
  readonly shape: readonly number[];
  readonly dtype: DType;
  readonly data: LeafData;
}

/** Errors: sizes that are none. */
export function dimsOf(where: string, dims: readonly bigint[]): readonly number[] {
  const shape = dims.map(Number);
  const count = shape.reduce((n, d) => n * d, 1);
  if (!shape.every((d) => Number.isSafeInteger(d) && d >= 0) || count > 2 ** 33)
    throw new InputError(
      `${where}: has the shape [${shape.slice(0, 12).join(',')}]; sizes are whole numbers, and at most 2³³ values in all`,
    );
  return shape;
}

/** Bytes of a tensor. Errors: InputError for an element type that is not read. */
export const byteLength = (where: string, { dims, dataType }: TensorProto): number =>
  dimsOf(where, dims).reduce((n, d) => n * d, 1) * elementType(where, dataType).bytes;

/** The values of a tensor whose bytes are in memory. @throws InputError for other types, and where the bytes do not fill the shape */
export function readTensor(where: string, tensor: TensorProto): OnnxTensor {
  const type = elementType(where, tensor.dataType);
  const shape = dimsOf(where, tensor.dims);
  const count = shape.reduce((n, d) => n * d, 1);
  const raw = tensor.rawData.length > 0 || count === 0 ? tensor.rawData : typedBytes(type, tensor, count);
  if (raw === undefined || raw.length !== count * type.bytes)
    throw new InputError(
      `${where}: ${type.name}[${shape.join(',')}] takes ${count * type.bytes} bytes, but ${raw?.length ?? tensor[type.field!].length} ${raw ? 'bytes' : 'values'} are there`,
    );
  const stored = { dtype: type.stored, shape, bytes: raw };
  return { shape, dtype: type.dtype, data: valuesOf(type, stored) };
}

function valuesOf(type: Computed, stored: Parameters<typeof toFloat32>[0]): LeafData {
  if (type.dtype === 'bool') return Uint8Array.from(stored.bytes, (v) => Number(v !== 0));
  if (type.dtype === 'float32') return type.stored === 'F64' ? toFloat64(stored).slice() : toFloat32(stored);
  if (type.stored === 'U64')
    return BigInt64Array.from(new BigUint64Array(new Uint8Array(stored.bytes).buffer), (v) => (v > MAX_INT64 ? MAX_INT64 : v));
  return toBigInt64(stored);
}
const MAX_INT64 = 2n ** 63n - 1n;

/** Typed fields as raw bytes; undefined where there are too few or too many. */
function typedBytes(type: Computed, tensor: TensorProto, count: number): Uint8Array | undefined {
  const field = tensor[type.field!];
  if (field.length !== count) return undefined;
  const bytes = (view: ArrayBufferView): Uint8Array => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  const numbers = field as readonly number[];
  if (type.field === 'floatData') return bytes(Float32Array.from(numbers));
  if (type.field === 'doubleData') return bytes(Float64Array.from(numbers));
  if (type.stored === 'I64') return bytes(BigInt64Array.from(field as readonly bigint[]));
  if (type.stored === 'U64') return bytes(BigUint64Array.from(field as readonly bigint[]));
  if (type.stored === 'U32') return bytes(Uint32Array.from(field as readonly bigint[], Number));
  if (type.bytes === 1) return bytes(Uint8Array.from(numbers));
  if (type.bytes === 2 || BITS.includes(type.stored)) return bytes(Uint16Array.from(numbers));
  return bytes(Int32Array.from(numbers));
}
