/** @file The list of contents at the end of a zip file. PKWARE APPNOTE 6.3, sections 4.3 and 4.5.3; with zip64. */
import { InputError } from './errors.ts';
import type { RangeFile } from './range-file.ts';

export interface ZipEntry {
  readonly name: string;
  /** Bytes of the content. */
  readonly size: number;
  /** Bytes in the file. */
  readonly packed: number;
  readonly method: 'stored' | 'deflated';
  readonly crc: number;
  /** Where the entry's own header is. */
  readonly offset: number;
}

const END = 0x06054b50;
const END_BYTES = 22;
const END64_LOCATOR = 0x07064b50;
const END64_LOCATOR_BYTES = 20;
const END64 = 0x06064b50;
const ENTRY = 0x02014b50;
const ENTRY_BYTES = 46;
const ZIP64_FIELD = 1;
const METHODS: Readonly<Record<number, ZipEntry['method']>> = { 0: 'stored', 8: 'deflated' };
/** A list that is longer is refused before it is read. */
const MAX_DIRECTORY_BYTES = 2 ** 28;
/** Deflate cannot pack more tightly: 258 bytes in 2 bits. */
const MAX_RATIO = 1032;

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.length);

/** A 64-bit number; one beyond 2⁵³ lies outside every file. */
const long = (view: DataView, at: number): number => Number(view.getBigUint64(at, true));

interface Extent {
  readonly count: number;
  readonly bytes: number;
  readonly offset: number;
}

/** Position of the end record, which only a comment may follow. */
function findEnd(tail: DataView, path: string): number {
  for (let at = tail.byteLength - END_BYTES; at >= 0; at--)
    if (tail.getUint32(at, true) === END && at + END_BYTES + tail.getUint16(at + 20, true) <= tail.byteLength) return at;
  throw new InputError(`${path}: not a zip file; it has no list of contents at its end (the file is truncated, or no zip at all)`);
}

async function findDirectory(file: RangeFile): Promise<Extent> {
  const tailBytes = Math.min(file.size, END_BYTES + 0xffff + END64_LOCATOR_BYTES);
  const tail = viewOf(await file.read(file.size - tailBytes, tailBytes));
  const at = findEnd(tail, file.path);
  const extent = { count: tail.getUint16(at + 10, true), bytes: tail.getUint32(at + 12, true), offset: tail.getUint32(at + 16, true) };
  const locator = at - END64_LOCATOR_BYTES;
  if (locator < 0 || tail.getUint32(locator, true) !== END64_LOCATOR) return extent;
  const end = viewOf(await file.read(long(tail, locator + 8), 56));
  if (end.getUint32(0, true) !== END64)
    throw new InputError(`${file.path}: damaged zip file; its zip64 end record is not where it should be`);
  return { count: long(end, 32), bytes: long(end, 40), offset: long(end, 48) };
}

/** The 64-bit values that stand in an extra field, in the order of those that are 0xffffffff in the entry. */
function extraField(extra: DataView): DataView | null {
  for (let at = 0; at + 4 <= extra.byteLength; ) {
    const length = extra.getUint16(at + 2, true);
    if (at + 4 + length > extra.byteLength) return null;
    if (extra.getUint16(at, true) === ZIP64_FIELD) return new DataView(extra.buffer, extra.byteOffset + at + 4, length);
    at += 4 + length;
  }
  return null;
}

function parseEntry(view: DataView, name: string, extra: DataView, file: RangeFile): ZipEntry {
  const where = `${file.path}: entry ${JSON.stringify(name)}`;
  const wide = extraField(extra);
  let used = 0;
  const number = (at: number): number => {
    const value = view.getUint32(at, true);
    if (value !== 0xffffffff || !wide || used + 8 > wide.byteLength) return value;
    used += 8;
    return long(wide, used - 8);
  };
  const [size, packed, offset] = [number(24), number(20), number(42)];
  const method = METHODS[view.getUint16(10, true)];
  if (view.getUint16(8, true) & 1) throw new InputError(`${where} is encrypted; give a file without a password`);
  if (!method) throw new InputError(`${where} is packed by method ${view.getUint16(10, true)}; stored and deflated ones can be read`);
  if (packed > file.size || (method === 'stored' ? size !== packed : size > packed * MAX_RATIO))
    throw new InputError(`${where} is said to hold ${size} bytes, ${method} in ${packed} of ${file.size}; the file is damaged`);
  return { name, size, packed, method, crc: view.getUint32(16, true), offset };
}

/** All files of a zip file, without its folders. @throws InputError for a malformed, encrypted or otherwise packed one */
export async function readDirectory(file: RangeFile): Promise<ReadonlyMap<string, ZipEntry>> {
  const { count, bytes, offset } = await findDirectory(file);
  if (offset + bytes > file.size || bytes > MAX_DIRECTORY_BYTES || count * ENTRY_BYTES > bytes)
    throw new InputError(`${file.path}: damaged zip file; ${count} entries in ${bytes} bytes at ${offset} are said to be in ${file.size}`);
  const view = viewOf(await file.read(offset, bytes));
  const entries = new Map<string, ZipEntry>();
  for (let at = 0, i = 0; i < count; i++) {
    if (at + ENTRY_BYTES > bytes || view.getUint32(at, true) !== ENTRY)
      throw new InputError(`${file.path}: damaged zip file; entry ${i} is no entry`);
    const [nameBytes, extraBytes, comment] = [28, 30, 32].map((field) => view.getUint16(at + field, true)) as [number, number, number];
    const next = at + ENTRY_BYTES + nameBytes + extraBytes + comment;
    if (next > bytes) throw new InputError(`${file.path}: damaged zip file; entry ${i} reaches beyond the list`);
    const part = (begin: number, length: number): DataView => new DataView(view.buffer, view.byteOffset + at + begin, length);
    const name = new TextDecoder().decode(part(ENTRY_BYTES, nameBytes));
    if (entries.has(name)) throw new InputError(`${file.path}: damaged zip file; the name ${JSON.stringify(name)} stands in it twice`);
    if (!name.endsWith('/')) entries.set(name, parseEntry(part(0, ENTRY_BYTES), name, part(ENTRY_BYTES + nameBytes, extraBytes), file));
    at = next;
  }
  return entries;
}
