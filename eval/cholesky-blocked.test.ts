/** @file Factors of large semidefinite matrices: Rᵀ R gives them back at any rank, and what is none is refused. */
import { expect, test } from 'vitest';
import { pivotedCholeskyBlocked } from './cholesky-blocked.ts';
import { addGram, matmulTransposed, mirrorLower, pivotedCholesky, transpose } from './linalg.ts';
import { largestDifference, noise } from './testing/values.ts';

const gramOf = (n: number, rank: number): Float64Array => {
  const c = new Float64Array(n * n);
  addGram(c, noise(n * rank, n + rank), n, rank);
  return mirrorLower(c, n);
};

test.each([
  [3, 3],
  [129, 129],
  [200, 300],
  [260, 5],
  [300, 128],
  [300, 129],
])('[%i] of rank at most %i', async (n, rank) => {
  const a = gramOf(n, rank);
  const factor = await pivotedCholeskyBlocked(a, n);
  expect(factor.rank).toBe(Math.min(n, rank));
  const columns = transpose(factor.rows, factor.rank, n);
  expect(largestDifference(matmulTransposed(columns, columns, n, n, factor.rank), a)).toBeLessThan(1e-12 * n);
  expect(factor.rank).toBe(pivotedCholesky(a, n).rank);
});

test('zeros have no rows; an indefinite and an infinite matrix are refused', async () => {
  expect((await pivotedCholeskyBlocked(new Float64Array(9), 3)).rank).toBe(0);
  await expect(pivotedCholeskyBlocked(Float64Array.of(1, 2, 2, 1), 2)).rejects.toThrow(
    'a positive semidefinite [2,2] matrix leaves at most',
  );
  await expect(pivotedCholeskyBlocked(Float64Array.of(0, 1, 1, 0), 2)).rejects.toThrow('positive semidefinite');
  await expect(pivotedCholeskyBlocked(Float64Array.of(Infinity, 0, 0, 1), 2)).rejects.toThrow('the diagonal is not finite');
  await expect(pivotedCholeskyBlocked(new Float64Array(3), 2)).rejects.toThrow('length is 3; [2,2] takes 4');
});
