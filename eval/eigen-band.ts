/** @file Symmetric band matrices in float64, and their reduction to three diagonals by plane rotations (Schwarz, Tridiagonalization of a symmetric band matrix, 1968). */
import type { Tridiagonal } from './eigen.ts';

export interface Band {
  readonly n: number;
  /** Diagonals below the main one that hold values. */
  readonly width: number;
  /** Row i holds the columns i − width − 1 … i: one more than the width, for the value that a rotation pushes out. */
  readonly values: Float64Array;
  /** Sets entry [row, column], row ≥ column. */
  set(row: number, column: number, value: number): void;
}

export function emptyBand(n: number, width: number): Band {
  const values = new Float64Array(n * (width + 2));
  return {
    n,
    width,
    values,
    set(row, column, value) {
      values[row * (width + 2) + column - row + width + 1] = value;
    },
  };
}

/** Reduces in place: every value beside the three diagonals is rotated away, and what that pushes out below is chased to the end. */
export function bandToTridiagonal({ n, width, values }: Band): Tridiagonal {
  const stride = width + 2;
  const at = (row: number, column: number): number => row * stride + column - row + width + 1;
  for (let column = 0; column < n - 2; column++) {
    for (let row = Math.min(n - 1, column + width); row > column + 1; row--) {
      // Entry [q, from] goes; the rotation of p = q − 1 and q fills [q + width, p], which goes next.
      for (let [q, from] = [row, column]; q < n; [q, from] = [q + width, q - 1]) {
        const target = values[at(q, from)]!;
        if (target === 0) break;
        rotate(values, n, width, stride, q, from, target);
      }
    }
  }
  const diagonal = Float64Array.from({ length: n }, (_, i) => values[at(i, i)]!);
  const offDiagonal = Float64Array.from({ length: n }, (_, i) => (i + 1 < n ? values[at(i + 1, i)]! : 0));
  return { diagonal, offDiagonal };
}

/** Rotates rows and columns q − 1 and q so that entry [q, from], which is `target`, vanishes. */
function rotate(values: Float64Array, n: number, width: number, stride: number, q: number, from: number, target: number): void {
  const p = q - 1;
  // Of row r, column c stands at r·stride + c − r + width + 1.
  const [rowP, rowQ] = [p * stride - p + width + 1, q * stride - q + width + 1];
  const kept = values[rowP + from]!;
  const r = Math.sqrt(kept * kept + target * target) || Math.hypot(kept, target);
  const [c, s] = [kept / r, target / r];
  values[rowP + from] = r;
  values[rowQ + from] = 0;
  for (let k = from + 1; k < p; k++) {
    const [x, y] = [values[rowP + k]!, values[rowQ + k]!];
    values[rowP + k] = c * x + s * y;
    values[rowQ + k] = c * y - s * x;
  }
  const [pp, qp, qq] = [values[rowP + p]!, values[rowQ + p]!, values[rowQ + q]!];
  const both = 2 * c * s * qp;
  values[rowP + p] = c * c * pp + both + s * s * qq;
  values[rowQ + q] = s * s * pp - both + c * c * qq;
  values[rowQ + p] = c * s * (qq - pp) + (c * c - s * s) * qp;
  const last = Math.min(n - 1, q + width);
  for (let k = q + 1, i = k * stride - k + width + 1 + p; k <= last; k++, i += stride - 1) {
    const [x, y] = [values[i]!, values[i + 1]!];
    values[i] = c * x + s * y;
    values[i + 1] = c * y - s * x;
  }
}
