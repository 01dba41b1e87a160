/** @file Tests of tar archives: names and sizes of every dialect, from files and from streams, and damage. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Header, pack } from 'tar-stream';
import { afterAll, describe, expect, test } from 'vitest';
import { InputError } from './errors.ts';
import { type Forward, forwardFile, forwardStream } from './forward.ts';
import { openRanges } from './range-file.ts';
import { tarEntries } from './tar.ts';

const root = mkdtempSync(join(tmpdir(), 'onestep-tar-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

type File = readonly [header: Partial<Header> & { readonly name: string }, body: string];
async function packed(files: readonly File[]): Promise<Uint8Array> {
  const archive = pack();
  for (const [header, body] of files) archive.entry(header, body);
  archive.finalize();
  const chunks: Uint8Array[] = [];
  for await (const chunk of archive) chunks.push(chunk as Uint8Array);
  return Buffer.concat(chunks);
}

async function* inPieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array, void> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

/** Names and texts of all files; every second one is passed over. */
async function list(archive: Forward, readAll = true): Promise<(readonly [string, string])[]> {
  const found: (readonly [string, string])[] = [];
  for await (const entry of tarEntries(archive, 'x.tar'))
    found.push([entry.name, readAll || found.length % 2 === 0 ? new TextDecoder().decode(await entry.read(1e6)) : '']);
  return found;
}

const longName = `${'deep/'.repeat(40)}ünïcode.txt`;
const prefixed = `${'p'.repeat(90)}/${'n'.repeat(80)}.txt`;
const files: readonly File[] = [
  [{ name: 'a.txt' }, 'first'],
  [{ name: 'folder', type: 'directory' }, ''],
  [{ name: 'empty.txt' }, ''],
  [{ name: longName }, 'extended header'],
  [{ name: 'link', type: 'symlink', linkname: 'a.txt' }, ''],
  [{ name: prefixed }, 'prefix'],
  [{ name: 'big.txt' }, 'b'.repeat(100_000)],
  [{ name: 'last.txt' }, 'x'.repeat(512)],
];
const expected = files.filter(([{ type }]) => !type).map(([{ name }, body]) => [name, body]);

test('files of every kind of name, folders and links passed over', async () => {
  const bytes = await packed(files);
  const path = join(root, 'a.tar');
  writeFileSync(path, bytes);
  const file = await openRanges(path);
  expect(await list(forwardFile(file))).toEqual(expected);
  for await (const { name, begin, size } of tarEntries(forwardFile(file), path))
    expect(new TextDecoder().decode(await file.read(begin, size))).toBe(expected.find(([each]) => each === name)![1]);
  await file.close();
  for (const size of [1000, 511, 70_000]) {
    expect(await list(forwardStream(inPieces(bytes, size)))).toEqual(expected);
    expect((await list(forwardStream(inPieces(bytes, size)), false)).map(([name]) => name)).toEqual(expected.map(([name]) => name));
  }
});

/** A header by hand, as archives before POSIX and GNU's have it. */
function header(name: string, size: string | Uint8Array, type = '0', magic = ''): Uint8Array {
  const bytes = new Uint8Array(512);
  const put = (at: number, text: string | Uint8Array): void =>
    bytes.set(typeof text === 'string' ? new TextEncoder().encode(text) : text, at);
  put(0, name);
  put(124, size);
  put(148, '        ');
  put(156, type);
  put(257, magic);
  const sum = bytes.reduce((total, byte) => total + byte, 0);
  put(148, `${sum.toString(8).padStart(6, '0')}\0 `);
  return bytes;
}
const block = (text: string): Uint8Array => {
  const bytes = new Uint8Array(Math.ceil(text.length / 512) * 512);
  bytes.set(new TextEncoder().encode(text));
  return bytes;
};
const archive = (...parts: readonly Uint8Array[]): Forward => forwardStream(inPieces(Buffer.concat(parts), 4096));

describe('other dialects', () => {
  test('GNU long names and binary sizes; no end blocks; old archives', async () => {
    const name = 'n'.repeat(150);
    const binary = Uint8Array.of(0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5);
    expect(
      await list(
        archive(header('././@LongLink', '226', 'L', 'ustar  '), block(`${name}\0`), header('cut', binary, '0', 'ustar  '), block('hello')),
      ),
    ).toEqual([[name, 'hello']]);
    expect(await list(archive(header('old', '5', '\0'), block('hello')))).toEqual([['old', 'hello']]);
  });
  test('a pax size counts before the header', async () => {
    const record = '10 size=5\n';
    expect(await list(archive(header('pax', '12', 'x'), block(record), header('f', '0'), block('hello')))).toEqual([['f', 'hello']]);
  });
});

describe('damage', () => {
  const whole = (): Uint8Array => Buffer.concat([header('f', '1000'), block('y'.repeat(512))]);
  test.each([
    ['empty', new Uint8Array(0), 'x.tar: is empty; a tar archive expected'],
    ['text', block('no archive'), 'x.tar: no tar header at byte 0'],
    ['a part of a header', header('f', '0').subarray(0, 300), 'x.tar: no tar header at byte 0'],
    ['cut off in a file', whole().subarray(0, 700), 'x.tar: f ends after 188 of 512 bytes; the archive is truncated'],
    ['another byte in a header', whole().map((byte, i) => (i === 3 ? 7 : byte)), 'no tar header at byte 0'],
    ['a size that is none', header('f', '9z'), 'the entry at byte 0 has no size'],
    [
      'an extended header that is too long',
      header('pax', '77777777', 'x'),
      'an extended header has 16777215 bytes; at most 1048576 are read',
    ],
    ['an extended header without sense', Buffer.concat([header('pax', '5', 'x'), block('99 a=')]), 'an extended header is damaged'],
  ])('%s', async (_, bytes, words) => {
    const failure = list(archive(bytes));
    await expect(failure).rejects.toBeInstanceOf(InputError);
    await expect(failure).rejects.toThrow(words);
  });
  test('cut off in a file that is passed over', async () => {
    const failure = async (): Promise<void> => {
      for await (const entry of tarEntries(archive(whole().subarray(0, 700)), 'x.tar')) expect(entry.name).toBe('f');
    };
    await expect(failure()).rejects.toThrow('x.tar: the archive ends within the entry at byte 0');
  });
});
