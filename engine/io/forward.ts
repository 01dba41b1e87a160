/** @file Bytes that are read from front to back, from a file whose unwanted parts are passed over or from a stream. */
import type { RangeFile } from './range-file.ts';

export interface Forward {
  /** Bytes that were read or skipped. */
  position(): number;
  /** The next bytes; fewer where the end is reached. */
  read(length: number): Promise<Uint8Array>;
  /** @returns the number of bytes skipped, which is less where the end is reached */
  skip(length: number): Promise<number>;
}

/** Small reads are served from a window of this many bytes. */
const WINDOW = 2 ** 16;

/** A file from its beginning; what is skipped is not read. */
export function forwardFile(file: RangeFile): Forward {
  let position = 0;
  let window: { readonly begin: number; readonly bytes: Uint8Array } = { begin: 0, bytes: new Uint8Array(0) };
  return {
    position: () => position,
    async read(length) {
      const wanted = Math.min(length, file.size - position);
      const begin = position;
      position += wanted;
      if (wanted > WINDOW / 2) return file.read(begin, wanted);
      if (begin < window.begin || position > window.begin + window.bytes.length)
        window = { begin, bytes: await file.read(begin, Math.min(WINDOW, file.size - begin)) };
      return window.bytes.subarray(begin - window.begin, position - window.begin);
    },
    async skip(length) {
      const skipped = Math.min(length, file.size - position);
      position += skipped;
      return skipped;
    },
  };
}

/** A stream from its beginning; what is skipped is read and forgotten. */
export function forwardStream(stream: AsyncIterable<Uint8Array>): Forward {
  const chunks = stream[Symbol.asyncIterator]();
  let rest = new Uint8Array(0) as Uint8Array;
  let position = 0;
  /** Gives the next `length` bytes in pieces. */
  async function* take(length: number): AsyncGenerator<Uint8Array, void> {
    for (let left = length; left > 0; ) {
      if (rest.length === 0) {
        const next = await chunks.next();
        if (next.done) return;
        rest = next.value;
      }
      const piece = rest.subarray(0, left);
      rest = rest.subarray(piece.length);
      left -= piece.length;
      position += piece.length;
      yield piece;
    }
  }
  return {
    position: () => position,
    async read(length) {
      const parts: Uint8Array[] = [];
      for await (const piece of take(length)) parts.push(piece);
      return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
    },
    async skip(length) {
      let skipped = 0;
      for await (const piece of take(length)) skipped += piece.length;
      return skipped;
    },
  };
}
