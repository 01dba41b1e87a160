/** @file The way of values in and out of TensorFlow.js, whose whole numbers have 32 bits and whose floats are float32. */
import type { LeafData } from '../graph/ops/leaf.ts';
import { toHalf } from '../graph/ops/special.ts';
import { roundTo } from '../graph/precision.ts';
import type { DType } from '../graph/tensor.ts';
import { InputError } from '../io/errors.ts';
import type { HostTensor } from './runtime.ts';
import type { Tf, Value } from './tfjs-library.ts';

/** A value here: float16 as its bits, or in constants as numbers. */
interface Given extends Pick<HostTensor, 'dtype' | 'shape'> {
  readonly data: HostTensor['data'] | LeafData;
}

const INT32 = 2n ** 31n;
function narrowed(where: string, values: BigInt64Array): Int32Array {
  const wrong = values.find((v) => v < -INT32 || v >= INT32);
  if (wrong !== undefined)
    throw new InputError(`tfjs: ${where} holds ${wrong}; its whole numbers have 32 bits, up to ${INT32 - 1n}: take --device cpu`);
  return Int32Array.from(values, Number);
}

/** Half precision bits → their value. */
function fromHalf(bits: number): number {
  const [sign, exponent, mantissa] = [bits & 0x8000 ? -1 : 1, (bits >>> 10) & 31, bits & 1023];
  if (exponent === 31) return mantissa ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (exponent === 0 ? mantissa * 2 ** -24 : (1024 + mantissa) * 2 ** (exponent - 25));
}
const halves = (data: Given['data']): Float32Array =>
  data instanceof Uint16Array ? Float32Array.from(data, fromHalf) : Float32Array.from(data as Float32Array, roundTo.float16);

/**
 * A copy of a value there: float16 as float32, whole numbers of any kind as int32.
 * @throws InputError for whole numbers beyond 32 bits; `where` names the value
 */
export function uploaded(tf: Tf, where: string, { dtype, shape, data }: Given): Value {
  const sizes = shape as number[];
  if (dtype === 'int64') return tf.tensor(narrowed(where, data as BigInt64Array), sizes, 'int32');
  if (dtype === 'uint8') return tf.tensor(Int32Array.from(data as Uint8Array), sizes, 'int32');
  if (dtype === 'bool')
    return tf.tensor(
      Uint8Array.from(data as Uint8Array, (v) => Number(v !== 0)),
      sizes,
      'bool',
    );
  return tf.tensor(dtype === 'float16' ? halves(data) : Float32Array.from(data as Float32Array), sizes, 'float32');
}

/** A copy of a value here. */
export function downloaded(value: Value, dtype: DType): HostTensor {
  const data = value.dataSync();
  const { shape } = value;
  if (dtype === 'int64') return { dtype, shape, data: BigInt64Array.from(data, BigInt) };
  if (dtype === 'float16') return { dtype, shape, data: toHalf(Float32Array.from(data)) };
  return { dtype, shape, data: dtype === 'float32' ? Float32Array.from(data) : Uint8Array.from(data) };
}
