/** @file A file of which any range is read on demand. */
import { type FileHandle, open, stat } from 'node:fs/promises';
import { InputError } from './errors.ts';
import { fileFailure } from './failures.ts';

export interface RangeFile {
  readonly path: string;
  /** Bytes, when it was opened. */
  readonly size: number;
  /** Exactly these bytes. @throws InputError where the file does not reach so far */
  read(position: number, length: number): Promise<Uint8Array>;
  /** The same in pieces of at most 1 MiB, none of which is held. */
  stream(begin: number, end: number): AsyncGenerator<Uint8Array, void>;
  close(): Promise<void>;
}

const PIECE = 2 ** 20;
/** One read call of the system takes at most 2 GiB. */
const MAX_READ_BYTES = 2 ** 30;

async function fill(handle: FileHandle, path: string, position: number, bytes: Uint8Array): Promise<Uint8Array> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesRead } = await handle.read(bytes, done, Math.min(bytes.length - done, MAX_READ_BYTES), position + done);
    if (bytesRead === 0) throw new InputError(`${path}: the file ends at byte ${position + done}; it changed while it was read`);
    done += bytesRead;
  }
  return bytes;
}

/** @throws InputError where there is no such file, or where it cannot be read */
export async function openRanges(path: string): Promise<RangeFile> {
  const failed = (error: unknown): never => {
    throw fileFailure('read', path, error);
  };
  // Asked before it is opened: opening a pipe waits for its other end.
  if (!(await stat(path).catch(failed)).isFile()) throw new InputError(`${path}: is no file that can be read at any place; give a file`);
  const handle = await open(path, 'r').catch(failed);
  const { size } = await handle.stat();
  const read = (position: number, length: number): Promise<Uint8Array> => {
    if (position < 0 || length < 0 || position + length > size)
      return Promise.reject(
        new InputError(`${path}: bytes ${position} to ${position + length} are wanted of ${size}; the file is truncated or damaged`),
      );
    return fill(handle, path, position, new Uint8Array(length)).catch(failed);
  };
  return {
    path,
    size,
    read,
    async *stream(begin, end) {
      for (let at = begin; at < end; at += PIECE) yield await read(at, Math.min(PIECE, end - at));
    },
    close: () => handle.close(),
  };
}

/**
 * Cuts a stream into pieces of one size.
 * @param where the name for messages
 * @throws InputError where the last piece is incomplete
 */
export async function* pieces(stream: AsyncIterable<Uint8Array>, size: number, where: string): AsyncGenerator<Uint8Array, void> {
  let piece = new Uint8Array(size);
  let filled = 0;
  for await (const chunk of stream) {
    for (let at = 0; at < chunk.length; ) {
      const taken = Math.min(chunk.length - at, size - filled);
      piece.set(chunk.subarray(at, at + taken), filled);
      filled += taken;
      at += taken;
      if (filled < size) continue;
      yield piece;
      piece = new Uint8Array(size);
      filled = 0;
    }
  }
  if (filled > 0) throw new InputError(`${where}: ${filled} bytes are left over after pieces of ${size}; it is truncated or damaged`);
}
