/** @file The way of values in and out of TensorFlow.js, whose whole numbers have 32 bits. */
import type { LeafAttrs } from '../graph/ops/leaf.ts';
import { roundTo } from '../graph/precision.ts';
import type { DType } from '../graph/tensor.ts';
import { InputError } from '../io/errors.ts';
import type { HostTensor } from './runtime.ts';
import type { Tf, Value } from './tfjs-library.ts';

const INT32 = 2n ** 31n;
function narrowed(where: string, values: BigInt64Array): Int32Array {
  const wrong = values.find((v) => v < -INT32 || v >= INT32);
  if (wrong !== undefined)
    throw new InputError(`tfjs: ${where} holds ${wrong}; its whole numbers have 32 bits, up to ${INT32 - 1n}: take --device cpu`);
  return Int32Array.from(values, Number);
}

/**
 * A copy of a value there.
 * @throws InputError for whole numbers beyond 32 bits; `where` names the value
 */
export function uploaded(
  tf: Tf,
  where: string,
  { dtype, shape, data }: Pick<HostTensor, 'dtype' | 'shape'> & { readonly data: NonNullable<LeafAttrs['data']> },
): Value {
  const sizes = shape as number[];
  if (dtype === 'int64') return tf.tensor(narrowed(where, BigInt64Array.from(data as BigInt64Array)), sizes, 'int32');
  if (dtype === 'bool')
    return tf.tensor(
      Uint8Array.from(data as Uint8Array, (v) => Number(v !== 0)),
      sizes,
      'bool',
    );
  const values = Float32Array.from(data as Float32Array);
  return tf.tensor(dtype === 'float16' ? values.map(roundTo.float16) : values, sizes, 'float32');
}

/** A copy of a value here. */
export function downloaded(value: Value, dtype: DType): HostTensor {
  const data = value.dataSync();
  const { shape } = value;
  if (dtype === 'int64') return { dtype, shape, data: BigInt64Array.from(data, BigInt) };
  return { dtype, shape, data: dtype === 'bool' ? Uint8Array.from(data) : Float32Array.from(data) };
}
