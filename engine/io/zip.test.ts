/** @file Tests of zip files: stored and deflated entries, zip64, ranges, and every kind of damage. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { zipSync } from 'fflate';
import { afterAll, describe, expect, test } from 'vitest';
import { crc32 } from './crc32.ts';
import { InputError } from './errors.ts';
import { openZip, type ZipFile } from './zip.ts';

const root = mkdtempSync(join(tmpdir(), 'onestep-zip-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const written = (name: string, bytes: Uint8Array): string => {
  const path = join(root, name);
  writeFileSync(path, bytes);
  return path;
};

async function using<T>(path: string, act: (zip: ZipFile) => Promise<T>): Promise<T> {
  const zip = await openZip(path);
  try {
    return await act(zip);
  } finally {
    await zip.close();
  }
}

/** Larger than the pieces that are read at once, and packable. */
const long = Uint8Array.from({ length: 2_500_000 }, (_, i) => (i >> 8) * 7 + (i % 13));
const content = { 'a.txt': new TextEncoder().encode('hello'), empty: new Uint8Array(0), 'dir/long.bin': long };

test('CRC-32 of the standard check text, also in two parts', () => {
  const bytes = new TextEncoder().encode('123456789');
  expect(crc32(bytes)).toBe(0xcbf43926); // Koopman's and every catalogue's check value
  expect(crc32(bytes.subarray(4), crc32(bytes.subarray(0, 4)))).toBe(0xcbf43926);
});

describe.each([
  ['stored', 0],
  ['deflated', 6],
] as const)('%s entries', (method, level) => {
  const path = written(`${method}.zip`, zipSync(content, { level, comment: 'PK\x05\x06 in a comment' }));

  test('are read whole, by range and as a stream', () =>
    using(path, async (zip) => {
      expect([...zip.entries.keys()]).toEqual(Object.keys(content));
      expect(zip.entries.get('dir/long.bin')).toMatchObject({ size: long.length, method });
      for (const [name, bytes] of Object.entries(content)) expect(Buffer.compare(await zip.read(name), bytes), name).toBe(0);
      for (const [begin, end] of [
        [0, 0],
        [0, 10],
        [1_048_570, 1_048_590],
        [long.length - 3, long.length],
        [long.length, long.length],
      ] as const)
        expect([...(await zip.range('dir/long.bin', begin, end))]).toEqual([...long.subarray(begin, end)]);
      const chunks: Uint8Array[] = [];
      for await (const chunk of zip.stream('dir/long.bin', 77)) chunks.push(chunk);
      expect(Buffer.compare(Buffer.concat(chunks), long.subarray(77))).toBe(0);
    }));

  test('a caller may stop early', () =>
    using(path, async (zip) => {
      for await (const chunk of zip.stream('dir/long.bin')) {
        expect(chunk.length).toBeGreaterThan(0);
        break;
      }
      expect(new TextDecoder().decode(await zip.read('a.txt'))).toBe('hello');
    }));

  test('say what is wrong', () =>
    using(path, async (zip) => {
      await expect(zip.read('b.txt')).rejects.toThrow(`${path}: no entry "b.txt" among its 3`);
      await expect(zip.read('a.txt', 4)).rejects.toThrow('entry "a.txt" has 5 bytes; at most 4 are read at once');
      await expect(zip.range('a.txt', 3, 6)).rejects.toThrow('bytes 3 to 6 are wanted of entry "a.txt", which has 5');
    }));
});

/** A file with one stored entry whose sizes and offset stand in the 64-bit fields only. */
function zip64(name: string, bytes: Uint8Array): Uint8Array {
  const title = new TextEncoder().encode(name);
  const record = (length: number, fields: readonly (readonly [at: number, size: 2 | 4 | 8, value: number])[]): Uint8Array => {
    const view = new DataView(new ArrayBuffer(length));
    for (const [at, size, value] of fields) {
      if (size === 8) view.setBigUint64(at, BigInt(value), true);
      else if (size === 4) view.setUint32(at, value, true);
      else view.setUint16(at, value, true);
    }
    return new Uint8Array(view.buffer);
  };
  const [full, local] = [0xffffffff, 30 + title.length + bytes.length];
  const list = 46 + title.length + 28;
  return Buffer.concat([
    record(30, [
      [0, 4, 0x04034b50],
      [26, 2, title.length],
    ]),
    title,
    bytes,
    record(46, [
      [0, 4, 0x02014b50],
      [16, 4, crc32(bytes)],
      [20, 4, full],
      [24, 4, full],
      [28, 2, title.length],
      [30, 2, 28],
      [42, 4, full],
    ]),
    title,
    record(28, [
      [0, 2, 1],
      [2, 2, 24],
      [4, 8, bytes.length],
      [12, 8, bytes.length],
      [20, 8, 0],
    ]),
    record(56, [
      [0, 4, 0x06064b50],
      [4, 8, 44],
      [24, 8, 1],
      [32, 8, 1],
      [40, 8, list],
      [48, 8, local],
    ]),
    record(20, [
      [0, 4, 0x07064b50],
      [8, 8, local + list],
      [16, 4, 1],
    ]),
    record(22, [
      [0, 4, 0x06054b50],
      [8, 2, 0xffff],
      [10, 2, 0xffff],
      [12, 4, full],
      [16, 4, full],
    ]),
  ]);
}

test('zip64: 64-bit sizes, offsets and counts', () =>
  using(written('wide.zip', zip64('w.npy', content['a.txt'])), async (zip) => {
    expect(zip.entries.get('w.npy')).toMatchObject({ size: 5, packed: 5, offset: 0 });
    expect(new TextDecoder().decode(await zip.read('w.npy'))).toBe('hello');
  }));

describe('damage', () => {
  const good = zipSync({ 'a.txt': content['a.txt'] }, { level: 0 });
  const directory = new DataView(good.buffer, good.byteOffset).getUint32(good.length - 6, true);
  const changed = (changes: Readonly<Record<number, number>>): Uint8Array => {
    const bytes = Uint8Array.from(good);
    for (const [at, value] of Object.entries(changes)) bytes[Number(at)] = value;
    return bytes;
  };
  const readAll = (path: string): Promise<Uint8Array> => using(path, (zip) => zip.read('a.txt'));
  test.each([
    ['no zip', new TextEncoder().encode('some text, not a zip file at all'), 'not a zip file; it has no list of contents at its end'],
    ['nothing', new Uint8Array(0), 'not a zip file'],
    ['cut off', good.subarray(0, good.length - 1), 'not a zip file'],
    ['another byte of the content', changed({ 36: 1 }), 'entry "a.txt" has another check sum than is said'],
    ['an encrypted entry', changed({ [directory + 8]: 1 }), 'entry "a.txt" is encrypted'],
    ['another method', changed({ [directory + 10]: 14 }), 'is packed by method 14; stored and deflated ones can be read'],
    [
      'a size that deflate cannot reach',
      changed({ [directory + 10]: 8, [directory + 27]: 127 }),
      'is said to hold 2130706437 bytes, deflated in 5',
    ],
    ['content that is no deflate', changed({ [directory + 10]: 8, 35: 7 }), 'entry "a.txt" cannot be unpacked'],
    ['an offset outside', changed({ [directory + 44]: 1 }), 'entry "a.txt" is said to begin at byte 65536'],
    ['no header at the offset', changed({ 0: 0 }), 'entry "a.txt" does not begin at byte 0'],
    ['more entries than fit', changed({ [good.length - 12]: 200 }), '200 entries in'],
    ['a list that is none', changed({ [directory]: 0 }), 'entry 0 is no entry'],
    ['a name that is too long', changed({ [directory + 29]: 1 }), 'entry 0 reaches beyond the list'],
  ])('%s', async (name, bytes, words) => {
    const path = written(`${name.replaceAll(' ', '-')}.zip`, bytes);
    const failure = readAll(path);
    await expect(failure).rejects.toBeInstanceOf(InputError);
    await expect(failure).rejects.toThrow(words);
  });

  test('the same name twice', async () => {
    const twice = Uint8Array.from(zipSync({ aaaa: content['a.txt'], aaab: content['a.txt'] }, { level: 0 }));
    twice[twice.lastIndexOf(98)] = 97; // the list's "aaab"
    await expect(openZip(written('twice.zip', twice))).rejects.toThrow('the name "aaaa" stands in it twice');
  });

  test('a missing file', async () => {
    await expect(openZip(join(root, 'absent.zip'))).rejects.toThrow('absent.zip: cannot read: no such file (ENOENT)');
    await expect(openZip(root)).rejects.toThrow(`${root}: is no file that can be read at any place; give a file`);
  });
});
