/** @file .npy files as numpy 2.4.6 writes them (numpy.lib.format.write_array), read and written. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { InputError } from './errors.ts';
import { encodeNpy, npyHeader, parseNpy, readNpy, writeNpy } from './npy.ts';

const fromBase64 = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'base64'));
const F4 = fromBase64(
  'k05VTVBZAQB2AHsnZGVzY3InOiAnPGY0JywgJ2ZvcnRyYW5fb3JkZXInOiBGYWxzZSwgJ3NoYXBlJzogKDIsIDMpLCB9ICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAoAAIA/AAAgwAAAQEDNzMw9AACgQAAAwEA=',
);
const F8_SCALAR = fromBase64(
  'k05VTVBZAQB2AHsnZGVzY3InOiAnPGY4JywgJ2ZvcnRyYW5fb3JkZXInOiBGYWxzZSwgJ3NoYXBlJzogKCksIH0gICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAqamZmZmZm5Pw==',
);
const I8_VERSION_2 = fromBase64(
  'k05VTVBZAgB0AAAAeydkZXNjcic6ICc8aTgnLCAnZm9ydHJhbl9vcmRlcic6IEZhbHNlLCAnc2hhcGUnOiAoMiwpLCB9ICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAr//////////wEAAAAAACAA',
);
const U1_VERSION_3 = fromBase64(
  'k05VTVBZAwB0AAAAeydkZXNjcic6ICd8dTEnLCAnZm9ydHJhbl9vcmRlcic6IEZhbHNlLCAnc2hhcGUnOiAoMiwgMSwgMSksIH0gICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAoH/w==',
);
const EMPTY = fromBase64(
  'k05VTVBZAQB2AHsnZGVzY3InOiAnPGY0JywgJ2ZvcnRyYW5fb3JkZXInOiBGYWxzZSwgJ3NoYXBlJzogKDMsIDApLCB9ICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAo=',
);

const float32 = { shape: [2, 3], data: Float32Array.of(1, -2.5, 3, 0.1, 5, 6) };
const scalar = { shape: [], data: Float64Array.of(0.1) };
const int64 = { shape: [2], data: BigInt64Array.of(-1n, 2n ** 53n + 1n) };
const bytes = { shape: [2, 1, 1], data: Uint8Array.of(7, 255) };
const empty = { shape: [3, 0], data: new Float32Array(0) };

test('files of numpy are read, in all three versions of the format', () => {
  expect(parseNpy(F4)).toEqual(float32);
  expect(parseNpy(F8_SCALAR)).toEqual(scalar);
  expect(parseNpy(I8_VERSION_2)).toEqual(int64);
  expect(parseNpy(U1_VERSION_3)).toEqual(bytes);
  expect(parseNpy(EMPTY)).toEqual(empty);
});

test('what is written is what numpy writes', () => {
  expect(encodeNpy(float32)).toEqual(F4);
  expect(encodeNpy(scalar)).toEqual(F8_SCALAR);
  expect(encodeNpy(empty)).toEqual(EMPTY);
});

test('what is written is read again, by way of a file', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'npy-'));
  for (const array of [float32, scalar, int64, bytes, empty]) {
    await writeNpy(join(folder, 'a.npy'), array);
    expect(await readNpy(join(folder, 'a.npy'))).toEqual(array);
  }
  await expect(readNpy(join(folder, 'none.npy'))).rejects.toThrow(/none\.npy: cannot read: no such file/);
  writeFileSync(join(folder, 'a.npy'), F4.subarray(0, 150));
  await expect(readNpy(join(folder, 'a.npy'))).rejects.toThrow(/a\.npy: shape \(2, 3\) of <f4 takes 24 bytes, but 22 follow/);
  rmSync(folder, { recursive: true });
});

/** A version 1 file with this header text. */
const withHeader = (text: string): Uint8Array =>
  Uint8Array.from([0x93, ...Buffer.from('NUMPY\x01\x00'), text.length, 0, ...Buffer.from(text)]);

const withData = (text: string, data: readonly number[]): Uint8Array => Uint8Array.from([...withHeader(text), ...data]);

test('the other byte order, column-major layout, halves and small integers', () => {
  const of = (descr: string, shape: string, data: readonly number[], fortran = 'False') =>
    parseNpy(withData(`{'descr': '${descr}', 'fortran_order': ${fortran}, 'shape': (${shape}), }`, data));
  expect(of('>f4', '2,', [0x3f, 0x80, 0, 0, 0xc0, 0x20, 0, 0])).toEqual({ shape: [2], data: Float32Array.of(1, -2.5) });
  expect(of('>f8', '1,', [0x3f, 0xf8, 0, 0, 0, 0, 0, 0])).toEqual({ shape: [1], data: Float64Array.of(1.5) });
  expect(of('<f2', '2,', [0, 0x3c, 0, 0xc1])).toEqual({ shape: [2], data: Float32Array.of(1, -2.5) });
  expect(of('>i2', '2,', [0xff, 0xfe, 1, 0])).toEqual({ shape: [2], data: Float64Array.of(-2, 256) });
  expect(of('|b1', '2,', [1, 0])).toEqual({ shape: [2], data: Uint8Array.of(1, 0) });
  // [[1, 2, 3], [4, 5, 6]], and [2, 1, 2] with the last index slowest.
  expect(of('|u1', '2, 3', [1, 4, 2, 5, 3, 6], 'True')).toEqual({ shape: [2, 3], data: Uint8Array.of(1, 2, 3, 4, 5, 6) });
  expect(of('|u1', '2, 1, 2', [1, 3, 2, 4], 'True')).toEqual({ shape: [2, 1, 2], data: Uint8Array.of(1, 2, 3, 4) });
  expect(() => npyHeader(withHeader("{'descr': '<f8', 'fortran_order': True, 'shape': (2, 3), }"), 'f')).toThrow(
    /column-major.*ascontiguousarray/,
  );
});

test.each([
  [F4.subarray(1), /not a \.npy file/],
  [new Uint8Array(0), /not a \.npy file/],
  [F4.subarray(0, 100), /header is said to end at byte 128 of 100/],
  [F4.map((byte, i) => (i === 6 ? 9 : byte)), /format version 9/],
  [withHeader("{'descr': '<f8', 'fortran_order': True, 'shape': (2, 3), }"), /takes 48 bytes, but 0 follow/],
  [withHeader("{'descr': '<c8', 'fortran_order': False, 'shape': (1,), }"), /type <c8; floats of 2, 4 and 8 bytes, integers/],
  [withHeader("{'descr': '<U6', 'fortran_order': False, 'shape': (), }"), /type <U6; floats/],
  [withHeader("{'descr': '|f4', 'fortran_order': False, 'shape': (1,), }"), /type \|f4; floats/],
  [withHeader("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }"), /type of several fields/],
  [withHeader("{'descr': '<f4'}"), /unreadable header/],
  [Uint8Array.from([...EMPTY, 1]), /takes 0 bytes, but 1 follow/],
])('a malformed or foreign file is refused (%#)', (file, says) => {
  expect(() => parseNpy(file, 'f')).toThrow(says);
  expect(() => parseNpy(file, 'f')).toThrow(InputError);
});

test('data that do not fill the shape are refused', () => {
  expect(() => encodeNpy({ shape: [4], data: new Float32Array(3) })).toThrow(/3 values do not fill shape \(4\)/);
});
