/** @file Which points no other one beats in both coordinates. */
import type { Point } from './curve.ts';

/**
 * The Pareto front where less is better in both coordinates: points for which no other one is as small in both and smaller in one.
 * Of equal points all stay. What is not finite is on no front.
 * @returns indices in the order of the first coordinate, of equal ones in theirs of the list
 */
export function paretoFront(points: readonly Point[]): readonly number[] {
  const order = [...points.keys()]
    .filter((i) => points[i]!.every(Number.isFinite))
    .sort((a, b) => points[a]![0] - points[b]![0] || points[a]![1] - points[b]![1] || a - b);
  const front: number[] = [];
  for (const i of order) {
    const last = points[front.at(-1) ?? i]!;
    const [x, y] = points[i]!;
    if (front.length === 0 || y < last[1] || (x === last[0] && y === last[1])) front.push(i);
  }
  return front;
}
