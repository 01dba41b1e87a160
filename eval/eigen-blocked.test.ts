/** @file Eigenvalues by blocks and of band matrices against the plain reduction and closed forms. */
import { describe, expect, test } from 'vitest';
import { bandToTridiagonal, emptyBand } from './eigen-band.ts';
import { symmetricEigenvalues, tridiagonalEigenvalues } from './eigen.ts';
import { symmetricEigenvaluesBlocked } from './eigen-blocked.ts';
import { addGram, mirrorLower } from './linalg.ts';
import { largestDifference, noise } from './testing/values.ts';

function symmetric(n: number, seed: number): Float64Array {
  const values = noise(n * n, seed);
  return values.map((_, at) => values[Math.min(Math.floor(at / n), at % n) * n + Math.max(Math.floor(at / n), at % n)]!);
}

describe('by blocks', () => {
  test.each([1, 2, 31, 32, 33, 34, 64, 65, 100, 161])('%i rows: those of the plain reduction', async (n) => {
    const a = symmetric(n, n);
    const before = a.slice();
    expect(largestDifference(await symmetricEigenvaluesBlocked(a, n), symmetricEigenvalues(a, n))).toBeLessThan(1e-13 * Math.sqrt(n));
    expect(a).toEqual(before);
  });

  test('a matrix of low rank, one of zeros and a diagonal one', async () => {
    const [n, rank] = [90, 4];
    const gram = new Float64Array(n * n);
    addGram(gram, noise(n * rank, 1), n, rank);
    const values = await symmetricEigenvaluesBlocked(mirrorLower(gram, n), n);
    expect(Math.max(...values.subarray(0, n - rank).map(Math.abs))).toBeLessThan(1e-13);
    expect(values[n - rank]).toBeGreaterThan(1);
    expect(Math.max(...(await symmetricEigenvaluesBlocked(new Float64Array(n * n), n)))).toBe(0);
    const diagonal = Float64Array.from({ length: n * n }, (_, i) => (i % (n + 1) === 0 ? i / (n + 1) : 0));
    expect([...(await symmetricEigenvaluesBlocked(diagonal, n))]).toEqual(Array.from({ length: n }, (_, i) => i));
  });

  test('the second difference on 200 points: 2 − 2 cos(kπ/201)', async () => {
    const n = 200;
    const a = Float64Array.from({ length: n * n }, (_, at) => [2, -1][Math.abs(Math.floor(at / n) - (at % n))] ?? 0);
    const expected = Float64Array.from({ length: n }, (_, k) => 2 - 2 * Math.cos(((k + 1) * Math.PI) / (n + 1)));
    expect(largestDifference(await symmetricEigenvaluesBlocked(a, n), expected)).toBeLessThan(1e-13);
  });

  test('what is not finite or of another length is refused', async () => {
    await expect(symmetricEigenvaluesBlocked(Float64Array.of(1, NaN, NaN, 1), 2)).rejects.toThrow('entry [1,0] is NaN');
    await expect(symmetricEigenvaluesBlocked(new Float64Array(5), 2)).rejects.toThrow('length is 5; [2,2] takes 4');
  });
});

test.each([
  [12, 2],
  [40, 7],
  [9, 9],
  [5, 1],
])('a band matrix of %i rows and width %i', (n, width) => {
  const band = emptyBand(n, width);
  const full = new Float64Array(n * n);
  const values = noise(n * n, 3);
  for (let i = 0; i < n; i++) {
    for (let j = Math.max(0, i - width); j <= i; j++) {
      band.set(i, j, values[i * n + j]!);
      full[i * n + j] = values[i * n + j]!;
    }
  }
  expect(largestDifference(tridiagonalEigenvalues(bandToTridiagonal(band)), symmetricEigenvalues(full, n))).toBeLessThan(1e-14 * n);
});
