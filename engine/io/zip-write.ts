/** @file Writes zip files of some entries, deflated: what numpy.load takes as .npz. PKWARE APPNOTE, without its 64-bit extensions. */
import { deflateRawSync } from 'node:zlib';
import { writeAtomic } from './atomic.ts';
import { crc32 } from './crc32.ts';
import { InputError } from './errors.ts';

const LOCAL = 0x04034b50;
const CENTRAL = 0x02014b50;
const END = 0x06054b50;
const DEFLATE = 8;
/** Names are UTF-8. */
const FLAGS = 1 << 11;
/** 1 January 1980, the first day that the format knows: the same content makes the same bytes. */
const DATE = (1 << 5) | 1;
const LIMIT = 2 ** 32 - 1;

interface Packed {
  readonly name: Uint8Array;
  readonly content: Uint8Array;
  readonly size: number;
  readonly crc: number;
}

/** The bytes of a zip file, entry after entry. @throws InputError where it would be 4 GiB or more */
export function encodeZip(entries: Readonly<Record<string, Uint8Array>>): readonly Uint8Array[] {
  const parts: Uint8Array[] = [];
  const directory: Uint8Array[] = [];
  let at = 0;
  for (const [label, bytes] of Object.entries(entries)) {
    if (bytes.length > LIMIT)
      throw new InputError(`zip: entry ${JSON.stringify(label)} has ${bytes.length} bytes; less than 4 GiB can be written`);
    const packed: Packed = { name: new TextEncoder().encode(label), content: deflateRawSync(bytes), size: bytes.length, crc: crc32(bytes) };
    const head = header(LOCAL, packed, 0);
    directory.push(header(CENTRAL, packed, at), packed.name);
    parts.push(head, packed.name, packed.content);
    at += head.length + packed.name.length + packed.content.length;
  }
  if (at > LIMIT) throw new InputError(`zip: ${at} bytes; less than 4 GiB can be written`);
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  return [...parts, ...directory, ending(Object.keys(entries).length, size, at)];
}

/** A local header, or the entry of the directory, which says more in its middle and where the entry begins. */
function header(kind: typeof LOCAL | typeof CENTRAL, { name, content, size, crc }: Packed, begin: number): Uint8Array {
  const central = kind === CENTRAL;
  const out = new Uint8Array(central ? 46 : 30);
  const view = new DataView(out.buffer);
  view.setUint32(0, kind, true);
  if (central) view.setUint16(4, 20, true);
  const from = central ? 6 : 4;
  [20, FLAGS, DEFLATE, 0, DATE].forEach((value, i) => {
    view.setUint16(from + 2 * i, value, true);
  });
  [crc, content.length, size].forEach((value, i) => {
    view.setUint32(from + 10 + 4 * i, value, true);
  });
  view.setUint16(from + 22, name.length, true);
  if (central) view.setUint32(42, begin, true);
  return out;
}

function ending(count: number, size: number, begin: number): Uint8Array {
  const out = new Uint8Array(22);
  const view = new DataView(out.buffer);
  view.setUint32(0, END, true);
  view.setUint16(8, count, true);
  view.setUint16(10, count, true);
  view.setUint32(12, size, true);
  view.setUint32(16, begin, true);
  return out;
}

/** Writes a file atomically. Errors as in `encodeZip`. */
export const writeZip = async (path: string, entries: Readonly<Record<string, Uint8Array>>): Promise<void> =>
  writeAtomic(path, encodeZip(entries));
