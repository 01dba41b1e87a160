/** @file Follows the log of a run: reads what was added since the last time. */
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode, fileFailure } from '../../engine/io/failures.ts';
import { LOG_NAME, type LogLine } from '../../engine/train/logs.ts';

export interface LogFollower {
  /** All whole lines so far. Only what is new is read; a log that was cut or replaced, as when a run is resumed, is read again from its start. */
  lines(): Promise<readonly LogLine[]>;
}

const PIECE = 2 ** 20;

export function followLog(folder: string): LogFollower {
  const path = join(folder, LOG_NAME);
  let lines: LogLine[] = [];
  let place = { file: 0, offset: 0, rest: Buffer.alloc(0) as Buffer };
  const readNew = async (handle: FileHandle): Promise<void> => {
    const { ino, size } = await handle.stat();
    if (ino !== place.file || size < place.offset) {
      lines = [];
      place = { file: ino, offset: 0, rest: Buffer.alloc(0) };
    }
    while (place.offset < size) {
      const piece = Buffer.alloc(Math.min(PIECE, size - place.offset));
      const { bytesRead } = await handle.read(piece, 0, piece.length, place.offset);
      if (bytesRead === 0) return;
      const bytes = Buffer.concat([place.rest, piece.subarray(0, bytesRead)]);
      const end = bytes.lastIndexOf(10) + 1;
      lines.push(...parseLines(bytes.subarray(0, end)));
      place = { ...place, offset: place.offset + bytesRead, rest: bytes.subarray(end) };
    }
  };
  return {
    async lines() {
      const handle = await open(path, 'r').catch((error: unknown) => {
        if (errorCode(error) === 'ENOENT') return null;
        throw fileFailure('read', path, error);
      });
      if (!handle) return [];
      await readNew(handle).finally(() => handle.close());
      return lines;
    },
  };
}

/** What is no line of a log is left out. */
function parseLines(bytes: Buffer): LogLine[] {
  return bytes
    .toString('utf8')
    .split('\n')
    .flatMap((text) => {
      try {
        const line = JSON.parse(text) as LogLine | null;
        return typeof line?.step === 'number' ? [line] : [];
      } catch {
        return [];
      }
    });
}
