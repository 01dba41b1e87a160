/** @file Safetensors files: the header is read and checked first, tensors are read one at a time by their range; written atomically with reproducible bytes. */
import { type FileHandle, open } from 'node:fs/promises';
import { writeAtomic } from './atomic.ts';
import { InputError } from './errors.ts';
import { fileFailure } from './failures.ts';
import {
  brief,
  byteLength,
  elementBits,
  formatHeader,
  type Header,
  headerLength,
  parseHeader,
  type SafetensorsDtype,
  type TensorInfo,
} from './safetensors-header.ts';

export { fromBigInt64, fromFloat32, fromFloat64, toBigInt64, toFloat32, toFloat64 } from './numbers.ts';
export type { SafetensorsDtype, TensorInfo } from './safetensors-header.ts';

/** A tensor as it is stored: row-major, little-endian. `bytes` may begin at any address. */
export interface StoredTensor {
  readonly dtype: SafetensorsDtype;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

/** Tensors by name. */
export type TensorEntries = Iterable<readonly [string, StoredTensor]> | Readonly<Record<string, StoredTensor>>;

/** An open file of which only the header has been read. */
export interface SafetensorsFile {
  /** In the order of the data in the file. */
  readonly names: readonly string[];
  readonly metadata: Readonly<Record<string, string>>;
  /** @throws InputError for a name that is not in the file */
  info(name: string): TensorInfo;
  /** Reads the tensor's own bytes. @throws InputError for an unknown name or a file that has shrunk */
  read(name: string): Promise<StoredTensor>;
  close(): Promise<void>;
}

/** One read call of the system takes at most 2 GiB. */
const MAX_READ_BYTES = 2 ** 30;

async function readRange(handle: FileHandle, path: string, position: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  for (let done = 0; done < length; ) {
    const { bytesRead } = await handle.read(bytes, done, Math.min(length - done, MAX_READ_BYTES), position + done);
    if (bytesRead === 0)
      throw new InputError(
        `${path}: the file ends at byte ${position + done}, ${length - done} bytes too early; it changed while it was read`,
      );
    done += bytesRead;
  }
  return bytes;
}

async function readHeader(handle: FileHandle, path: string): Promise<{ readonly header: Header; readonly dataBegin: number }> {
  const { size } = await handle.stat();
  const first = await readRange(handle, path, 0, Math.min(8, size));
  const dataBegin = 8 + headerLength(first, size, path);
  return { header: parseHeader(await readRange(handle, path, 8, dataBegin - 8), size - dataBegin, path), dataBegin };
}

function find(header: Header, name: string, path: string): TensorInfo {
  const info = header.tensors.get(name);
  if (!info) throw new InputError(`${path}: no tensor ${brief(name)} among its ${header.tensors.size}`);
  return info;
}

/**
 * Opens a file and reads its header.
 * @throws InputError naming file, tensor and values where the file is missing or malformed
 */
export async function openSafetensors(path: string): Promise<SafetensorsFile> {
  const handle = await open(path, 'r').catch((error: unknown) => {
    throw fileFailure('read', path, error);
  });
  try {
    const { header, dataBegin } = await readHeader(handle, path);
    return {
      names: [...header.tensors.keys()],
      metadata: header.metadata,
      info: (name) => find(header, name, path),
      read: async (name) => {
        const { dtype, shape, begin, end } = find(header, name, path);
        return { dtype, shape, bytes: await readRange(handle, path, dataBegin + begin, end - begin) };
      },
      close: () => handle.close(),
    };
  } catch (error) {
    await handle.close();
    throw fileFailure('read', path, error);
  }
}

/** All tensors of a file, each read by its range. Errors as in `openSafetensors`. */
export async function readSafetensors(path: string): Promise<{ tensors: Map<string, StoredTensor>; metadata: Record<string, string> }> {
  const file = await openSafetensors(path);
  try {
    const tensors = new Map<string, StoredTensor>();
    for (const name of file.names) tensors.set(name, await file.read(name));
    return { tensors, metadata: { ...file.metadata } };
  } finally {
    await file.close();
  }
}

/** The same from bytes in memory, which the tensors share. @param where the name for messages */
export function parseSafetensors(
  bytes: Uint8Array,
  where = 'safetensors',
): { tensors: Map<string, StoredTensor>; metadata: Record<string, string> } {
  const plain = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length); // also where a Buffer came in
  const data = plain.subarray(8 + headerLength(plain, plain.length, where));
  const header = parseHeader(plain.subarray(8, plain.length - data.length), data.length, where);
  const tensors = new Map<string, StoredTensor>();
  for (const [name, { dtype, shape, begin, end }] of header.tensors) tensors.set(name, { dtype, shape, bytes: data.subarray(begin, end) });
  return { tensors, metadata: { ...header.metadata } };
}

const isIterable = (tensors: TensorEntries): tensors is Iterable<readonly [string, StoredTensor]> => Symbol.iterator in tensors;

function layOut(tensors: TensorEntries): readonly (readonly [string, StoredTensor, TensorInfo])[] {
  const entries = isIterable(tensors) ? [...tensors] : Object.entries(tensors);
  const seen = new Set<string>(['__metadata__']);
  for (const [name, { dtype, shape, bytes }] of entries) {
    if (seen.has(name)) throw new InputError(`safetensors: the name ${JSON.stringify(name)} is reserved or given twice`);
    seen.add(name);
    const wanted = shape.every((size) => Number.isSafeInteger(size) && size >= 0) ? byteLength(dtype, shape) : undefined;
    if (wanted !== bytes.length) {
      throw new InputError(
        `safetensors: tensor ${JSON.stringify(name)}: shape [${shape.join(', ')}] of ${dtype} takes ${wanted} bytes, not ${bytes.length}`,
      );
    }
  }
  entries.sort(([a, x], [b, y]) => elementBits(y.dtype) - elementBits(x.dtype) || (a < b ? -1 : 1));
  let begin = 0;
  return entries.map(([name, tensor]) => {
    const info = { dtype: tensor.dtype, shape: tensor.shape, begin, end: begin + tensor.bytes.length };
    begin = info.end;
    return [name, tensor, info] as const;
  });
}

function toPieces(tensors: TensorEntries, metadata: Readonly<Record<string, string>>): readonly Uint8Array[] {
  const laidOut = layOut(tensors);
  const header = formatHeader(
    laidOut.map(([name, , info]) => [name, info] as const),
    metadata,
  );
  return [header, ...laidOut.map(([, { bytes }]) => bytes)];
}

/**
 * The bytes of a file. They depend on the content alone: tensors with larger elements come first, so that all are aligned, and by name (UTF-16 code units)
 * among equals; metadata are sorted by key.
 * @throws InputError where a tensor's bytes do not fit its shape or a name stands twice
 */
export function encodeSafetensors(tensors: TensorEntries, metadata: Readonly<Record<string, string>> = {}): Uint8Array {
  const parts = toPieces(tensors, metadata);
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** Writes a file atomically, without joining the tensors in memory. Bytes and errors as in `encodeSafetensors` and `writeAtomic`. */
export async function writeSafetensors(
  path: string,
  tensors: TensorEntries,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  await writeAtomic(path, toPieces(tensors, metadata));
}
