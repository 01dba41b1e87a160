/** @file The files of a tar archive in their order. POSIX.1-2017 pax (`ustar` with extended headers), GNU long names, old archives. */
import { InputError } from './errors.ts';
import type { Forward } from './forward.ts';

export interface TarEntry {
  readonly name: string;
  readonly size: number;
  /** Where its bytes begin in the archive. */
  readonly begin: number;
  /** Its bytes; only before the next entry is asked for. @throws InputError for more than `maxBytes` and where the archive ends before */
  read(maxBytes: number): Promise<Uint8Array>;
}

const BLOCK = 512;
/** An extended header above it is refused before it is read. */
const MAX_EXTENDED_BYTES = 2 ** 20;
const FILES = new Set(['0', '\0', '7']);

function text(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
}

/** Octal digits, or a big-endian number whose first bit is set (GNU). */
function numberOf(bytes: Uint8Array): number {
  if (bytes[0]! & 0x80) return bytes.subarray(1).reduce((value, byte) => value * 256 + byte, bytes[0]! & 0x7f);
  const digits = text(bytes).trim();
  return /^[0-7]+$/.test(digits) ? Number.parseInt(digits, 8) : digits === '' ? 0 : Number.NaN;
}

/** The sum of the header's bytes, its own eight counted as spaces. */
function hasSum(header: Uint8Array): boolean {
  const sum = header.reduce((total, byte, i) => total + (i >= 148 && i < 156 ? 32 : byte), 0);
  return sum === numberOf(header.subarray(148, 156));
}

/** Records `length key=value\n` of an extended header. */
function parsePax(bytes: Uint8Array, where: string): ReadonlyMap<string, string> {
  const records = new Map<string, string>();
  for (let at = 0; at < bytes.length; ) {
    const space = bytes.indexOf(32, at);
    const length = space < 0 ? Number.NaN : Number(text(bytes.subarray(at, space)));
    if (!Number.isInteger(length) || length <= space - at || at + length > bytes.length)
      throw new InputError(`${where}: an extended header is damaged`);
    const [key = '', ...value] = text(bytes.subarray(space + 1, at + length - 1)).split('=');
    records.set(key, value.join('='));
    at += length;
  }
  return records;
}

/** What an entry before says of the next one. */
interface Extended {
  readonly name?: string;
  readonly size?: number;
}

function nameOf(header: Uint8Array): string {
  const name = text(header.subarray(0, 100));
  // GNU's magic ends in a space, and other things stand at the place of the prefix.
  const prefix = text(header.subarray(257, 263)) === 'ustar' && header[262] === 0 ? text(header.subarray(345, 500)) : '';
  return prefix === '' ? name : `${prefix}/${name}`;
}

async function readBody(archive: Forward, size: number, maxBytes: number, where: string): Promise<Uint8Array> {
  if (size > maxBytes) throw new InputError(`${where} has ${size} bytes; at most ${maxBytes} are read`);
  const body = await archive.read(size);
  if (body.length < size) throw new InputError(`${where} ends after ${body.length} of ${size} bytes; the archive is truncated`);
  return body;
}

/** What the entry, which is no file, says of the next one: `x` of POSIX, `L` of GNU; nothing for folders, links and the like. */
async function readExtended(archive: Forward, type: string, size: number, where: string): Promise<Extended> {
  if (type !== 'x' && type !== 'L') return {};
  const body = await readBody(archive, size, MAX_EXTENDED_BYTES, `${where}: an extended header`);
  if (type === 'L') return { name: text(body) };
  const records = parsePax(body, where);
  const [path, bytes] = [records.get('path'), records.get('size')];
  return { ...(path === undefined ? {} : { name: path }), ...(bytes === undefined ? {} : { size: Number(bytes) }) };
}

/**
 * Goes through an archive; the bytes of entries that are not read are skipped. Folders, links and devices are passed over.
 * @param where the name for messages
 * @throws InputError where it is no archive, damaged or truncated
 */
export async function* tarEntries(archive: Forward, where: string): AsyncGenerator<TarEntry, void> {
  let extended: Extended = {};
  for (;;) {
    const at = archive.position();
    const header = Uint8Array.from(await archive.read(BLOCK));
    // The two empty blocks at the end are missing from many archives.
    if (header.length === 0 || header.every((byte) => byte === 0)) {
      if (at === 0 && header.length < BLOCK) throw new InputError(`${where}: is empty; a tar archive expected`);
      return;
    }
    if (header.length < BLOCK || !hasSum(header))
      throw new InputError(`${where}: no tar header at byte ${at}; the archive is truncated or damaged, or no tar archive`);
    const type = String.fromCharCode(header[156]!);
    const ownSize = numberOf(header.subarray(124, 136));
    const size = FILES.has(type) ? (extended.size ?? ownSize) : ownSize;
    if (!Number.isSafeInteger(size) || size < 0)
      throw new InputError(`${where}: the entry at byte ${at} has no size; the archive is damaged`);
    const begin = archive.position();
    if (FILES.has(type)) {
      const name = extended.name ?? nameOf(header);
      extended = {};
      // A name that ends so is a folder of archives before POSIX.
      if (!name.endsWith('/')) yield { name, size, begin, read: (maxBytes) => readBody(archive, size, maxBytes, `${where}: ${name}`) };
    } else {
      const said = await readExtended(archive, type, size, where);
      extended = type === 'x' || type === 'L' || type === 'K' || type === 'g' ? { ...extended, ...said } : {};
    }
    const rest = begin + Math.ceil(size / BLOCK) * BLOCK - archive.position();
    const missing = rest - (await archive.skip(rest));
    // The padding after the last entry may be missing; its bytes may not.
    if (missing >= BLOCK || archive.position() < begin + size)
      throw new InputError(`${where}: the archive ends within the entry at byte ${at}`);
  }
}
