/** @file Zip files: the list of contents is read first, entries one at a time, whole or in pieces. Sizes are checked before anything is allocated. */
import { Readable } from 'node:stream';
import { createInflateRaw } from 'node:zlib';
import { crc32 } from './crc32.ts';
import { InputError } from './errors.ts';
import { openRanges, type RangeFile } from './range-file.ts';
import { readDirectory, type ZipEntry } from './zip-directory.ts';

export type { ZipEntry } from './zip-directory.ts';

/** An open zip file, of which only the list of contents has been read. */
export interface ZipFile {
  /** Files by name, in the order of the list. */
  readonly entries: ReadonlyMap<string, ZipEntry>;
  /** A whole entry, its check sum compared. @throws InputError for an unknown name, damage, and more than `maxBytes` */
  read(name: string, maxBytes?: number): Promise<Uint8Array>;
  /** Bytes `begin` to `end` of an entry, without a check sum; where it is deflated, all before them is unpacked too. */
  range(name: string, begin: number, end: number): Promise<Uint8Array>;
  /** An entry from `begin` on, in pieces. The check sum is compared at the end where `begin` is 0. */
  stream(name: string, begin?: number): AsyncGenerator<Uint8Array, void>;
  close(): Promise<void>;
}

const LOCAL = 0x04034b50;
const LOCAL_BYTES = 30;
/** Entries above it are not read into memory unless the caller says so. */
const MAX_ENTRY_BYTES = 2 ** 32;

/** Where an entry's bytes begin: its own header may be longer than the list says. */
async function dataBegin(file: RangeFile, { name, offset, packed }: ZipEntry): Promise<number> {
  const where = `${file.path}: entry ${JSON.stringify(name)}`;
  if (offset + LOCAL_BYTES > file.size)
    throw new InputError(`${where} is said to begin at byte ${offset} of ${file.size}; the file is damaged`);
  const header = await file.read(offset, LOCAL_BYTES);
  const view = new DataView(header.buffer);
  if (view.getUint32(0, true) !== LOCAL) throw new InputError(`${where} does not begin at byte ${offset}; the file is damaged`);
  const begin = offset + LOCAL_BYTES + view.getUint16(26, true) + view.getUint16(28, true);
  if (begin + packed > file.size)
    throw new InputError(`${where} is said to end at byte ${begin + packed} of ${file.size}; the file is truncated or damaged`);
  return begin;
}

/** The content of a deflated entry in pieces, never more than its size. */
async function* inflated(file: RangeFile, begin: number, { name, packed, size }: ZipEntry): AsyncGenerator<Uint8Array, void> {
  const where = `${file.path}: entry ${JSON.stringify(name)}`;
  const packedBytes = Readable.from(file.stream(begin, begin + packed));
  const inflate = createInflateRaw();
  packedBytes.on('error', (error) => inflate.destroy(error)).pipe(inflate);
  let total = 0;
  try {
    for await (const chunk of inflate as AsyncIterable<Uint8Array>) {
      total += chunk.length;
      if (total > size) throw new InputError(`${where} unpacks to more than the ${size} bytes that are said; the file is damaged`);
      yield chunk;
    }
  } catch (error) {
    if (error instanceof InputError) throw error;
    throw new InputError(`${where} cannot be unpacked (${(error as Error).message}); the file is damaged`, { cause: error });
  } finally {
    inflate.destroy();
    packedBytes.destroy();
  }
  if (total < size) throw new InputError(`${where} unpacks to ${total} of ${size} bytes; the file is damaged`);
}

async function* checked(stream: AsyncIterable<Uint8Array>, { crc, name }: ZipEntry, path: string): AsyncGenerator<Uint8Array, void> {
  let sum = 0;
  for await (const chunk of stream) {
    sum = crc32(chunk, sum);
    yield chunk;
  }
  if (sum !== crc) throw new InputError(`${path}: entry ${JSON.stringify(name)} has another check sum than is said; the file is damaged`);
}

async function* skipping(stream: AsyncIterable<Uint8Array>, bytes: number): AsyncGenerator<Uint8Array, void> {
  let left = bytes;
  for await (const chunk of stream) {
    if (left < chunk.length) yield chunk.subarray(left);
    left = Math.max(0, left - chunk.length);
  }
}

/** The first `length` bytes of a stream, which is read to its end for its check sum. */
async function gather(stream: AsyncIterable<Uint8Array>, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  let filled = 0;
  for await (const chunk of stream) {
    bytes.set(chunk.subarray(0, length - filled), filled);
    filled += Math.min(chunk.length, length - filled);
  }
  return bytes.subarray(0, filled);
}

/**
 * Opens a zip file.
 * @throws InputError where it is missing, no zip file, damaged, encrypted, or packed by other methods than deflate
 */
export async function openZip(path: string): Promise<ZipFile> {
  const file = await openRanges(path);
  const entries = await readDirectory(file).catch(async (error: unknown) => {
    await file.close();
    throw error;
  });
  const find = (name: string): ZipEntry => {
    const entry = entries.get(name);
    if (!entry) throw new InputError(`${path}: no entry ${JSON.stringify(name)} among its ${entries.size}`);
    return entry;
  };
  async function* stream(name: string, begin = 0): AsyncGenerator<Uint8Array, void> {
    const entry = find(name);
    const start = await dataBegin(file, entry);
    if (entry.method === 'stored' && begin > 0) {
      yield* file.stream(start + Math.min(begin, entry.size), start + entry.size);
      return;
    }
    const all = checked(entry.method === 'stored' ? file.stream(start, start + entry.size) : inflated(file, start, entry), entry, path);
    yield* begin > 0 ? skipping(all, begin) : all;
  }
  return {
    entries,
    stream,
    async read(name, maxBytes = MAX_ENTRY_BYTES) {
      const { size } = find(name);
      if (size > maxBytes)
        throw new InputError(`${path}: entry ${JSON.stringify(name)} has ${size} bytes; at most ${maxBytes} are read at once`);
      return gather(stream(name), size);
    },
    async range(name, begin, end) {
      const { size } = find(name);
      if (!(begin >= 0 && begin <= end && end <= size))
        throw new InputError(`${path}: bytes ${begin} to ${end} are wanted of entry ${JSON.stringify(name)}, which has ${size}`);
      const parts: Uint8Array[] = [];
      let left = end - begin;
      for await (const chunk of stream(name, begin)) {
        parts.push(chunk.subarray(0, left));
        left -= Math.min(left, chunk.length);
        if (left === 0) break;
      }
      return joined(parts);
    },
    close: () => file.close(),
  };
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
