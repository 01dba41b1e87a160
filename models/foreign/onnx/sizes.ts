/**
 * @file Sizes as numbers while a graph is imported. Files compute shapes by ordinary operators on whole numbers; the batch size N takes part in
 * that as a number so large that no size is, so that what comes out says how many N it is.
 */
import { type Dim, isSymbolic, multipleOf, type Shape, symbolic } from '../../../engine/graph/tensor.ts';

/** N. A power of two: products and quotients with sizes are exact in float64. */
const N = 2 ** 40;
/** Above it a number depends on N: no size of a tensor is so large. */
const LARGEST_SIZE = 2 ** 31;

export const encodeSize = (dim: Dim): number => (isSymbolic(dim) ? multipleOf(dim) * N : dim);

/** A size, −1 or 0 as they stand in shapes; undefined for what is no whole multiple of N. */
export function decodeSize(value: number): Dim | -1 | undefined {
  if (!Number.isInteger(value)) return Math.abs(value) < LARGEST_SIZE ? value : undefined;
  if (value <= LARGEST_SIZE) return value;
  return value % N === 0 ? symbolic(value / N) : undefined;
}

/** Whether a value computed from sizes depends on N. */
export const hangsOnBatch = (values: ArrayLike<number | bigint>): boolean => {
  for (let i = 0; i < values.length; i++) if (Math.abs(Number(values[i])) > LARGEST_SIZE) return true;
  return false;
};

export const showShape = (shape: Shape): string => `[${shape.join(',')}]`;
