/** @file Work on a stream, several pieces at a time, whose results come in the order of the pieces. */

/**
 * Takes the next piece only while fewer than `limit` are at work, so that whoever is fast waits for whoever is slow.
 * @throws whatever the pieces or the work throw, at the place of the piece
 */
export async function* inOrder<T, R>(pieces: AsyncIterable<T>, limit: number, work: (piece: T) => Promise<R>): AsyncGenerator<R, void> {
  const waiting: Promise<R>[] = [];
  for await (const piece of pieces) {
    const result = work(piece);
    result.catch(() => {}); // it is thrown where it is waited for
    waiting.push(result);
    if (waiting.length >= limit) yield await waiting.shift()!;
  }
  for (const result of waiting) yield await result;
}
