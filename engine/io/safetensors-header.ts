/** @file The header of a safetensors file: its types, its strict reading and its writing. https://github.com/huggingface/safetensors#format */
import { InputError } from './errors.ts';

/** Bits of one element. */
// biome-ignore format: one size per line
const BITS = {
  F64: 64, I64: 64, U64: 64, C64: 64,
  F32: 32, I32: 32, U32: 32,
  F16: 16, BF16: 16, I16: 16, U16: 16,
  F8_E4M3: 8, F8_E5M2: 8, F8_E8M0: 8, F8_E4M3FNUZ: 8, F8_E5M2FNUZ: 8, I8: 8, U8: 8, BOOL: 8,
  F6_E2M3: 6, F6_E3M2: 6,
  F4: 4,
} as const;

export type SafetensorsDtype = keyof typeof BITS;

/** Where a tensor lies: `begin` and `end` count bytes after the header. */
export interface TensorInfo {
  readonly dtype: SafetensorsDtype;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

/** Tensors in the order of their data. */
export interface Header {
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly metadata: Readonly<Record<string, string>>;
}

/** As in the reference reader: a longer header is refused before it is allocated. */
export const MAX_HEADER_BYTES = 100_000_000;

export const elementBits = (dtype: SafetensorsDtype): number => BITS[dtype];
const isDtype = (text: unknown): text is SafetensorsDtype => typeof text === 'string' && Object.hasOwn(BITS, text);
const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);

/** A value as JSON for a message, cut to a length that fits a line; a file may hold anything there. */
export function brief(value: unknown): string {
  let text: string;
  try {
    text = String(JSON.stringify(value));
  } catch {
    text = Array.isArray(value) ? 'a list nested too deeply' : 'an object nested too deeply';
  }
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}… (${text.length} characters)` : text;
}
const MAX_SHOWN = 200;
/** A shape as it is written in messages. */
const showShape = (shape: readonly number[]): string => brief(shape).replaceAll(',', ', ');

/** Product of a shape's sizes, or undefined beyond 2⁵³ − 1. */
export function countElements(shape: readonly number[]): number | undefined {
  const count = shape.reduce((product, size) => product * size, 1);
  return isCount(count) ? count : undefined;
}

/** Bytes that a tensor takes, or undefined where they are no whole safe number. */
export function byteLength(dtype: SafetensorsDtype, shape: readonly number[]): number | undefined {
  const count = countElements(shape);
  const bytes = count === undefined ? undefined : (count * BITS[dtype]) / 8;
  return isCount(bytes) ? bytes : undefined;
}

/**
 * Length of the JSON text from the first 8 bytes, checked against the file's size before anything is allocated.
 * @throws InputError
 */
export function headerLength(first: Uint8Array, fileBytes: number, where: string): number {
  if (fileBytes < 8)
    throw new InputError(`${where}: the file has ${fileBytes} bytes; a safetensors file begins with 8 bytes of header length`);
  const length = new DataView(first.buffer, first.byteOffset, 8).getBigUint64(0, true);
  if (length > BigInt(MAX_HEADER_BYTES))
    throw new InputError(`${where}: the header is said to be ${length} bytes; at most ${MAX_HEADER_BYTES} are allowed`);
  if (length > BigInt(fileBytes - 8)) {
    throw new InputError(
      `${where}: the header is said to be ${length} bytes, but only ${fileBytes - 8} follow its length; the file is truncated or no safetensors file`,
    );
  }
  return Number(length);
}

/** The first key that stands twice in one object of a valid JSON text (JSON.parse keeps the last one silently). */
export function duplicateKey(json: string): string | undefined {
  const keys: Set<string>[] = [];
  for (const [token] of json.matchAll(/"(?:[^"\\]|\\.)*"\s*:?|[{}]/g)) {
    if (token === '{') keys.push(new Set());
    else if (token === '}') keys.pop();
    else if (token.endsWith(':')) {
      const key = JSON.parse(token.slice(0, -1)) as string;
      if (keys.at(-1)!.has(key)) return key;
      keys.at(-1)!.add(key);
    }
  }
  return undefined;
}

function parseJson(bytes: Uint8Array, where: string): Record<string, unknown> {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new InputError(`${where}: the header is not UTF-8`);
  }
  if (text[0] !== '{') throw new InputError(`${where}: the header begins with ${JSON.stringify(text.slice(0, 1))}; it must begin with "{"`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new InputError(`${where}: the header is not JSON: ${(error as Error).message.replace(/\s+/g, ' ')}`);
  }
  const twice = duplicateKey(text);
  if (twice !== undefined) throw new InputError(`${where}: the header has the key ${brief(twice)} twice; each may stand once`);
  return value as Record<string, unknown>; // a JSON text that begins with { is an object
}

function readMetadata(value: unknown, where: string): Readonly<Record<string, string>> {
  if (!isRecord(value)) throw new InputError(`${where}: __metadata__ is ${brief(value)}; it must be an object of texts`);
  for (const [key, text] of Object.entries(value)) {
    if (typeof text !== 'string') throw new InputError(`${where}: metadata ${brief(key)} is ${brief(text)}; metadata must be texts`);
  }
  return value as Record<string, string>;
}

function readInfo(value: unknown, dataBytes: number, where: string): TensorInfo {
  if (!isRecord(value)) throw new InputError(`${where} is ${brief(value)}; it must be an object with dtype, shape and data_offsets`);
  const { dtype, shape, data_offsets: offsets } = value;
  if (!isDtype(dtype)) throw new InputError(`${where}: unknown dtype ${brief(dtype)}; one of ${Object.keys(BITS).join(', ')}`);
  if (!Array.isArray(shape) || !shape.every(isCount))
    throw new InputError(`${where}: shape is ${brief(shape)}; it must be a list of integers from 0 to 2^53 - 1`);
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount)) {
    throw new InputError(`${where}: data_offsets is ${brief(offsets)}; it must be two integers from 0 to 2^53 - 1`);
  }
  const [begin, end] = offsets as [number, number];
  if (end < begin) throw new InputError(`${where}: data_offsets [${begin}, ${end}] end before they begin`);
  const bytes = byteLength(dtype, shape);
  if (bytes === undefined)
    throw new InputError(`${where}: shape ${showShape(shape)} of ${dtype} is not a whole number of bytes below 2^53`);
  if (bytes !== end - begin) {
    throw new InputError(
      `${where}: shape ${showShape(shape)} of ${dtype} takes ${bytes} bytes, but data_offsets [${begin}, ${end}] hold ${end - begin}`,
    );
  }
  if (end > dataBytes)
    throw new InputError(`${where}: its data end at byte ${end}, but the file has only ${dataBytes} bytes of data; the file is truncated`);
  return { dtype, shape, begin, end };
}

/** The data must be covered without overlap, hole or rest. */
function checkCover(tensors: readonly (readonly [string, TensorInfo])[], dataBytes: number, where: string): void {
  let covered = 0;
  for (const [name, { begin, end }] of tensors) {
    const fault = begin < covered ? `overlap the tensor before them, which ends at ${covered}` : `leave a gap after byte ${covered}`;
    if (begin !== covered) throw new InputError(`${where}: tensor ${brief(name)}: data_offsets [${begin}, ${end}] ${fault}`);
    covered = end;
  }
  if (covered !== dataBytes)
    throw new InputError(
      `${where}: ${dataBytes - covered} bytes follow the last tensor, which ends at byte ${covered} of the data; none may`,
    );
}

/**
 * Reads and checks the header's JSON text.
 * @param dataBytes bytes of the file after the header
 * @param where the file's name for messages
 * @throws InputError naming file, tensor and values
 */
export function parseHeader(json: Uint8Array, dataBytes: number, where: string): Header {
  const { __metadata__: texts, ...entries } = parseJson(json, where);
  const metadata = texts === undefined ? {} : readMetadata(texts, where);
  const tensors = Object.entries(entries)
    .map(([name, value]) => [name, readInfo(value, dataBytes, `${where}: tensor ${brief(name)}`)] as const)
    .sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  checkCover(tensors, dataBytes, where);
  return { tensors: new Map(tensors), metadata };
}

/** Length and JSON text, padded with spaces to a multiple of 8 bytes so that the data begin aligned. Metadata are sorted by key. */
export function formatHeader(tensors: readonly (readonly [string, TensorInfo])[], metadata: Readonly<Record<string, string>>): Uint8Array {
  const sorted = Object.fromEntries(Object.entries(metadata).sort(([a], [b]) => (a < b ? -1 : 1)));
  const entries = tensors.map(
    ([name, { dtype, shape, begin, end }]) => `${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [begin, end] })}`,
  );
  if (Object.keys(metadata).length > 0) entries.unshift(`"__metadata__":${JSON.stringify(sorted)}`);
  const json = new TextEncoder().encode(`{${entries.join(',')}}`);
  const header = new Uint8Array(8 + Math.ceil(json.length / 8) * 8).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(header.length - 8), true);
  header.set(json, 8);
  return header;
}
