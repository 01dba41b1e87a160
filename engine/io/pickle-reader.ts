/** @file Reads the arguments of pickle opcodes from bytes: fixed-width numbers, counted bytes and texts, lines. */
import { InputError } from './errors.ts';

/** Thrown where the bytes end: whoever holds only the beginning of a file may try again with more of it. */
export class PickleTruncated extends InputError {}

export interface PickleReader {
  position: number;
  readonly where: string;
  u8(): number;
  u16(): number;
  u32(): number;
  i32(): number;
  /** A length of eight bytes. */
  u64(): number;
  f64(): number;
  /** Bytes in place, not copied. */
  bytes(length: number): Uint8Array;
  utf8(length: number): string;
  /** A signed little-endian number of that many bytes. */
  long(length: number): number | bigint;
  /** The Latin-1 text before the next newline. */
  line(): string;
}

/** Integers of more bytes are in no checkpoint, and cost much to convert. */
const MAX_LONG_BYTES = 1024;
const MAX_LINE_BYTES = 2 ** 20;
const NEWLINE = 10;

export const exact = (value: bigint): number | bigint =>
  value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value;

export function pickleReader(data: Uint8Array, start: number, where: string): PickleReader {
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  const take = (length: number): number => {
    const at = reader.position;
    if (length > data.length - at)
      throw new PickleTruncated(
        `${where}: the pickle ends at byte ${data.length}, where ${length} bytes are wanted from byte ${at}; the file is truncated or no pickle`,
      );
    reader.position = at + length;
    return at;
  };
  const bytes = (length: number): Uint8Array => {
    const at = take(length);
    return data.subarray(at, at + length);
  };
  const reader: PickleReader = {
    position: start,
    where,
    u8: () => view.getUint8(take(1)),
    u16: () => view.getUint16(take(2), true),
    u32: () => view.getUint32(take(4), true),
    i32: () => view.getInt32(take(4), true),
    u64: () => Number(view.getBigUint64(take(8), true)),
    f64: () => view.getFloat64(take(8)),
    bytes,
    utf8: (length) => new TextDecoder().decode(bytes(length)),
    long(length) {
      if (length > MAX_LONG_BYTES)
        throw new InputError(`${where}: byte ${reader.position}: an integer of ${length} bytes; at most ${MAX_LONG_BYTES} are read`);
      let value = 0n;
      for (const byte of bytes(length).toReversed()) value = (value << 8n) | BigInt(byte);
      return exact(BigInt.asIntN(8 * length, value));
    },
    line() {
      const begin = reader.position;
      const end = data.subarray(begin, begin + MAX_LINE_BYTES).indexOf(NEWLINE);
      if (end < 0) {
        if (data.length - begin >= MAX_LINE_BYTES)
          throw new InputError(`${where}: byte ${begin}: a line of more than ${MAX_LINE_BYTES} bytes`);
        take(data.length - begin + 1);
      }
      return Buffer.from(bytes(end + 1).subarray(0, end)).toString('latin1');
    },
  };
  return reader;
}

const ESCAPES: Readonly<Record<string, string>> = {
  n: '\n',
  r: '\r',
  t: '\t',
  a: '\x07',
  b: '\b',
  f: '\f',
  v: '\v',
  '\\': '\\',
  "'": "'",
  '"': '"',
};

/** A Python 2 string literal with its quotes (opcode S). Undefined where it is none. */
export function pythonString(literal: string): string | undefined {
  const inside = /^(['"])(.*)\1$/s.exec(literal)?.[2];
  return inside?.replaceAll(/\\(?:x([0-9a-fA-F]{2})|([0-7]{1,3})|(.))/gs, (all, hex?: string, octal?: string, letter?: string) => {
    if (hex !== undefined) return String.fromCharCode(Number.parseInt(hex, 16));
    if (octal !== undefined) return String.fromCharCode(Number.parseInt(octal, 8) & 0xff);
    return ESCAPES[letter!] ?? all;
  });
}

/** Python's raw-unicode-escape (opcode V). */
export const rawUnicode = (line: string): string =>
  line.replaceAll(/\\u([0-9a-fA-F]{4})|\\U([0-9a-fA-F]{8})/g, (all, short?: string, long?: string) => {
    const code = Number.parseInt((short ?? long)!, 16);
    return code <= 0x10ffff ? String.fromCodePoint(code) : all;
  });
