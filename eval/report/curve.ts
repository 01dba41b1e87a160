/** @file The points of a curve: where it breaks, and how few of them draw it. */

export type Point = readonly [x: number, y: number];

/** Beyond these, steps and powers of an axis would overflow. */
const [LARGEST, SMALLEST] = [1e100, 1e-100] as const;

/** Whether a value has a place on its axis. */
export const drawable = (value: number, logarithmic = false): boolean => Math.abs(value) <= LARGEST && (!logarithmic || value >= SMALLEST);

/** Runs of points without a gap. */
export function piecesOf(
  points: readonly Point[],
  { logX = false, logY = false }: { readonly logX?: boolean; readonly logY?: boolean } = {},
): readonly (readonly Point[])[] {
  const pieces: Point[][] = [[]];
  for (const point of points) {
    if (drawable(point[0], logX) && drawable(point[1], logY)) pieces.at(-1)!.push(point);
    else if (pieces.at(-1)!.length) pieces.push([]);
  }
  return pieces.filter(({ length }) => length > 0);
}

/**
 * Of points in pixels at most two for each pixel across, the lowest and the highest: the same picture from a fraction of the text.
 * Runs of fewer than `enough` points stay as they are.
 */
export function thinned(piece: readonly Point[], enough: number): readonly Point[] {
  if (piece.length < enough) return piece;
  const columns = new Map<number, readonly [low: Point, high: Point]>();
  for (const point of piece) {
    const key = Math.round(point[0]);
    const [low, high] = columns.get(key) ?? [point, point];
    columns.set(key, [point[1] < low[1] ? point : low, point[1] > high[1] ? point : high]);
  }
  return [...columns.values()].flatMap(([low, high]) => (low === high ? [low] : low[0] <= high[0] ? [low, high] : [high, low]));
}
