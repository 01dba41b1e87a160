/** @file Products by ONNX Runtime against sums written out, in both types and all layouts. */
import { expect, test } from 'vitest';
import { product } from './ort-products.ts';

const values = (length: number, seed: number): Float64Array => Float64Array.from({ length }, (_, i) => Math.sin(seed + 1.7 * i));
const transposed = (a: Float64Array, rows: number, columns: number): Float64Array =>
  Float64Array.from(a, (_, i) => a[(i % rows) * columns + Math.floor(i / rows)]!);

test.each([
  [5, 7, 3],
  [1, 1, 1],
  [33, 65, 129],
])('[%i,%i] from %i terms', async (m, n, k) => {
  const [a, b] = [values(m * k, 1), values(k * n, 2)];
  const want = Float64Array.from({ length: m * n }, (_, i) => {
    let sum = 0;
    for (let p = 0; p < k; p++) sum += a[Math.floor(i / n) * k + p]! * b[p * n + (i % n)]!;
    return sum;
  });
  for (const transposeA of [false, true]) {
    for (const transposeB of [false, true]) {
      const [x, y] = [transposeA ? transposed(a, m, k) : a, transposeB ? transposed(b, k, n) : b];
      const wide = await product(x, y, { m, n, k }, { transposeA, transposeB, threads: 1 });
      const narrow = await product(Float32Array.from(x), Float32Array.from(y), { m, n, k }, { transposeA, transposeB });
      want.forEach((value, i) => {
        expect(Math.abs(wide[i]! - value)).toBeLessThan(1e-15 * k * 4);
        expect(Math.abs(narrow[i]! - value)).toBeLessThan(1e-6 * k);
      });
    }
  }
});

test('shared memory is taken, nothing gives nothing, and wrong lengths are refused', async () => {
  const shared = new Float64Array(new SharedArrayBuffer(32));
  shared.set([1, 2, 3, 4]);
  expect([...(await product(shared, shared, { m: 2, n: 2, k: 2 }))]).toEqual([7, 10, 15, 22]);
  expect([...(await product(new Float64Array(0), new Float64Array(0), { m: 2, n: 2, k: 0 }))]).toEqual([0, 0, 0, 0]);
  await expect(product(shared, shared, { m: 2, n: 2, k: 3 })).rejects.toThrow('product: lengths are 4 and 4; [2,3] and [3,2] take 6 and 6');
});
