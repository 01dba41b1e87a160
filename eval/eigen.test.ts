/** @file Symmetric eigenvalues against ml-matrix and closed forms. */
import { EigenvalueDecomposition, Matrix } from 'ml-matrix';
import { describe, expect, test } from 'vitest';
import { symmetricEigenvalues } from './eigen.ts';
import { matmulTransposed, mirrorLower } from './linalg.ts';
import { largestDifference, noise } from './testing/values.ts';

const symmetric = (n: number, seed: number) => mirrorLower(noise(n * n, seed), n);
const ascending = (values: readonly number[]) => Float64Array.from(values).sort();

describe('symmetricEigenvalues', () => {
  test.each([1, 2, 3, 4, 17, 64, 130])('agrees with ml-matrix at n = %i', (n) => {
    const a = symmetric(n, n);
    const expected = new EigenvalueDecomposition(Matrix.from1DArray(n, n, a), { assumeSymmetric: true }).realEigenvalues;
    expect(largestDifference(symmetricEigenvalues(a, n), ascending(expected))).toBeLessThan(1e-13 * n);
  });

  test('leaves its input alone and reads the lower triangle', () => {
    const a = Float64Array.of(2, 99, 1, 2);
    expect(largestDifference(symmetricEigenvalues(a, 2), [1, 3])).toBeLessThan(1e-15);
    expect(a).toEqual(Float64Array.of(2, 99, 1, 2));
  });

  test('second difference matrix: 2 − 2 cos(kπ/(n+1))', () => {
    const n = 100;
    const a = new Float64Array(n * n);
    for (let i = 0; i < n; i++) {
      a[i * n + i] = 2;
      if (i > 0) a[i * n + i - 1] = -1;
    }
    const expected = Array.from({ length: n }, (_, k) => 2 - 2 * Math.cos(((k + 1) * Math.PI) / (n + 1)));
    expect(largestDifference(symmetricEigenvalues(a, n), ascending(expected))).toBeLessThan(1e-13);
  });

  test('all ones: n once and zero otherwise; diagonal: itself; zero: zero', () => {
    const n = 30;
    const ones = symmetricEigenvalues(new Float64Array(n * n).fill(1), n);
    expect(largestDifference(ones, [...new Array<number>(n - 1).fill(0), n])).toBeLessThan(1e-13);
    expect(symmetricEigenvalues(Float64Array.of(3, 0, 0, 0, -1, 0, 0, 0, 2), 3)).toEqual(Float64Array.of(-1, 2, 3));
    expect(symmetricEigenvalues(new Float64Array(16), 4)).toEqual(new Float64Array(4));
  });

  test.each([1e-160, 1e160])('scales with the matrix, squares out of range notwithstanding: %d', (scale) => {
    const a = symmetric(12, 5);
    const scaled = symmetricEigenvalues(
      a.map((value) => value * scale),
      12,
    ).map((value) => value / scale);
    expect(largestDifference(scaled, symmetricEigenvalues(a, 12))).toBeLessThan(1e-13);
  });

  test('a semidefinite matrix of rank 5 has 15 eigenvalues that vanish', () => {
    const f = noise(20 * 5, 6);
    const values = symmetricEigenvalues(matmulTransposed(f, f, 20, 20, 5), 20);
    expect(largestDifference(values.subarray(0, 15), new Float64Array(15))).toBeLessThan(1e-13);
    expect(values[15]).toBeGreaterThan(0.1);
  });

  test('n = 512 takes far less than a cubic method that fights the cache; trace and squares are kept', () => {
    const n = 512;
    const a = symmetric(n, 7);
    const start = performance.now();
    const values = symmetricEigenvalues(a, n);
    expect(performance.now() - start).toBeLessThan(5000); // 0.2 s on an idle core
    const trace = Array.from({ length: n }, (_, i) => a[i * n + i]!).reduce((sum, x) => sum + x, 0);
    expect(Math.abs(values.reduce((sum, x) => sum + x, 0) - trace)).toBeLessThan(1e-9);
    const squares = a.reduce((sum, x) => sum + x * x, 0);
    expect(Math.abs(values.reduce((sum, x) => sum + x * x, 0) / squares - 1)).toBeLessThan(1e-12);
  });

  test('NaN is refused with its place', () => {
    expect(() => symmetricEigenvalues(Float64Array.of(1, 0, Number.NaN, 1), 2)).toThrow('symmetricEigenvalues: entry [1,0] is NaN');
  });
});

describe('matrices graded over many orders of magnitude', () => {
  // Entry [i, j] is small as √(s_i s_j) with s falling or rising by 16 or 20 orders.
  test.each([
    [16, 'down'],
    [16, 'up'],
    [20, 'down'],
    [20, 'up'],
  ] as const)('%i orders %s: it ends, and the trace and the largest value hold', (orders, way) => {
    const n = 100;
    const scale = Float64Array.from({ length: n }, (_, i) => 10 ** ((-orders / 2) * (way === 'down' ? i / n : 1 - i / n)));
    const random = noise(n * n, 1);
    const a = Float64Array.from({ length: n * n }, (_, at) => {
      const [i, j] = [Math.floor(at / n), at % n];
      return scale[i]! * scale[j]! * (i === j ? 1 : (0.3 * random[Math.min(i, j) * n + Math.max(i, j)]!) / Math.sqrt(n));
    });
    const values = symmetricEigenvalues(a, n);
    const trace = scale.reduce((sum, value) => sum + value * value, 0);
    expect(values.reduce((sum, value) => sum + value, 0) / trace).toBeCloseTo(1, 13);
    const oracle = new EigenvalueDecomposition(Matrix.from1DArray(n, n, a), { assumeSymmetric: true });
    expect(values.at(-1)! / Math.max(...oracle.realEigenvalues)).toBeCloseTo(1, 12);
  });
});
