/** @file Strided views and NumPy's arrays of pickles, against indices written out. */
import { describe, expect, test } from 'vitest';
import { gather, type NumpyArray, swapBytes } from './numpy-values.ts';
import { unpickle } from './pickle.ts';
import { findKnown } from './pickle-globals.ts';

const bytesOf = (values: ArrayBufferView): Uint8Array => new Uint8Array(values.buffer, values.byteOffset, values.byteLength);

describe('strided views', () => {
  test.each([
    ['transposed', { shape: [3, 2], strides: [1, 3], offset: 0 }, [0, 3, 1, 4, 2, 5]],
    ['every second from 1', { shape: [3], strides: [2], offset: 1 }, [1, 3, 5]],
    ['repeated', { shape: [2, 3], strides: [0, 1], offset: 2 }, [2, 3, 4, 2, 3, 4]],
    ['a scalar', { shape: [], strides: [], offset: 4 }, [4]],
    ['three axes', { shape: [2, 1, 2], strides: [3, 7, 2], offset: 0 }, [0, 2, 3, 5]],
  ])('%s, in elements of 1, 2, 4 and 8 bytes', (_, view, want) => {
    const data = [0, 1, 2, 3, 4, 5];
    for (const Type of [Uint8Array, Uint16Array, Float32Array, Float64Array]) {
      const width = Type.BYTES_PER_ELEMENT;
      const shifted = new Uint8Array(data.length * width + 1);
      shifted.set(bytesOf(Type.from(data)), 1);
      for (const bytes of [bytesOf(Type.from(data)), shifted.subarray(1)]) {
        const got = gather(bytes, view, width) as Uint8Array<ArrayBuffer>;
        expect([...new Type(got.buffer, got.byteOffset, got.length / width)]).toEqual(want);
      }
    }
  });
  test('a NaN keeps its bits', () => {
    const bits = BigUint64Array.of(0x7ff4_0000_0000_1234n, 1n);
    expect([...new BigUint64Array(gather(bytesOf(bits), { shape: [2], strides: [-1 + 2], offset: 0 }, 8).buffer)]).toEqual([...bits]);
  });
  test('bytes in the other order', () => {
    expect([...swapBytes(Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8), 4)]).toEqual([4, 3, 2, 1, 8, 7, 6, 5]);
  });
});

describe('arrays', () => {
  const array = (type: string, order: string, shape: string, columns: boolean, data: string): string =>
    `\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01${shape}cnumpy\ndtype\nU\x02${type}K\x00K\x01\x87R(K\x03U\x01${order}NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb${columns ? '\x88' : '\x89'}U${String.fromCharCode(data.length)}${data}tb.`;
  const read = (text: string) => (unpickle(Buffer.from(text, 'latin1'), { where: 'x', find: findKnown() }).value as NumpyArray).tensor;
  test('rows, columns, and the other byte order', () => {
    // [[1, 2, 3], [4, 5, 6]] in int16.
    const want = { dtype: 'I16', shape: [2, 3], bytes: bytesOf(Int16Array.of(1, 2, 3, 4, 5, 6)) };
    expect(read(array('i2', '<', 'K\x02K\x03\x86', false, '\x01\0\x02\0\x03\0\x04\0\x05\0\x06\0'))).toEqual(want);
    expect(read(array('i2', '<', 'K\x02K\x03\x86', true, '\x01\0\x04\0\x02\0\x05\0\x03\0\x06\0'))).toEqual(want);
    expect(read(array('i2', '>', 'K\x02K\x03\x86', false, '\0\x01\0\x02\0\x03\0\x04\0\x05\0\x06'))).toEqual(want);
  });
  test.each([
    [array('O8', '|', 'K\x01\x85', false, 'x'), 'numpy.dtype "O8" cannot be read; numbers and booleans can'],
    [array('i2', '<', 'K\x03\x85', false, 'ab'), 'a numpy array of shape (3) takes 6 bytes, not 2'],
  ])('%j is refused', (text, message) => {
    expect(() => read(text)).toThrow(message);
  });
});
