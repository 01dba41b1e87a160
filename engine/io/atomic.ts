/** @file Files that are there whole or not at all: written beside their place, flushed to the disk, then renamed. */
import { createHash, randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { errorCode, fileFailure } from './failures.ts';

/** One piece, or several that are written one after another without being joined in memory. */
export type Content = string | Uint8Array | readonly Uint8Array[];

const pieces = (content: Content): readonly (string | Uint8Array)[] =>
  typeof content === 'string' || content instanceof Uint8Array ? [content] : content;

/** In the same folder, because a rename is atomic only within one file system; hidden, and named after the process for whoever finds one after a crash. */
const temporaryName = (path: string): string => join(dirname(path), `.onestep-${process.pid}-${randomBytes(6).toString('hex')}.tmp`);

/** Folders cannot be opened or flushed on some systems (Windows) and file systems; there the rename is all that can be had. */
function unlessUnsupported(error: unknown): void {
  if (!['EISDIR', 'EPERM', 'EACCES', 'EINVAL', 'ENOTSUP', 'ENOSYS'].includes(errorCode(error) ?? '')) throw error;
}

/** Makes the renames and new names in a folder last, where the system can. */
export async function flushFolder(folder: string): Promise<void> {
  try {
    const handle = await open(folder, 'r');
    await handle.sync().finally(() => handle.close());
  } catch (error) {
    unlessUnsupported(error);
  }
}

function flushFolderSync(folder: string): void {
  try {
    const file = openSync(folder, 'r');
    try {
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
  } catch (error) {
    unlessUnsupported(error);
  }
}

/**
 * Writes a file so that a crash at any moment leaves the old content or the new one. When this returns, the content has reached the disk.
 * The temporary file is removed where anything fails.
 * @throws InputError with the path where the system refuses (no space, no permission, read-only, no such folder)
 */
export async function writeAtomic(path: string, content: Content): Promise<void> {
  const temporary = temporaryName(path);
  try {
    const handle = await open(temporary, 'wx');
    try {
      for (const piece of pieces(content)) await handle.writeFile(piece);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, path);
    await flushFolder(dirname(path));
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {}); // the first failure is the one to tell
    throw fileFailure('write', path, error);
  }
}

/** `writeAtomic` without a promise, for signal and exit handlers. */
export function writeAtomicSync(path: string, content: Content): void {
  const temporary = temporaryName(path);
  try {
    const file = openSync(temporary, 'wx');
    try {
      for (const piece of pieces(content)) writeFileSync(file, piece);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(temporary, path);
    flushFolderSync(dirname(path));
  } catch (error) {
    try {
      rmSync(temporary, { force: true });
    } catch {
      // the first failure is the one to tell
    }
    throw fileFailure('write', path, error);
  }
}

/** SHA-256 as 64 hexadecimal digits; of a text, that of its UTF-8 bytes. */
export const sha256 = (data: Uint8Array | string): string => createHash('sha256').update(data).digest('hex');
/** The same of pieces, one after the other. */
export function sha256Of(pieces: Iterable<Uint8Array>): string {
  const hash = createHash('sha256');
  for (const piece of pieces) hash.update(piece);
  return hash.digest('hex');
}
