/** @file Layers that keep magnitudes: closed forms, and unit variance through each of them on random values. */
import { describe, expect, test } from 'vitest';
import { constant, input } from '../engine/graph/ops/leaf.ts';
import { evaluate } from '../engine/graph/reference.ts';
import type { Tensor } from '../engine/graph/tensor.ts';
import { fillNormal, streamKey } from '../engine/random/philox.ts';
import { constantScope, initialise, recordingScope } from '../engine/train/weights.ts';
import { forcedNormalisation, mpConcat, mpConv, mpFourier, mpLinear, mpSilu, mpSum, normalise } from './magnitude.ts';

function normals(name: string, count: number): Float64Array {
  const out = new Float32Array(count);
  fillNormal(out, streamKey(0, 0, name), count);
  return Float64Array.from(out);
}
const valuesOf = (y: Tensor, feeds: Readonly<Record<string, Float64Array>> = {}): Float64Array => evaluate([y], feeds)[0]!.data;
const rms = (v: Float64Array): number => Math.sqrt(v.reduce((s, x) => s + x * x, 0) / v.length);
const at = (values: readonly number[], shape: readonly number[]): Tensor => constant(Float64Array.from(values), shape);

describe('closed forms', () => {
  test('a vector is divided by its root mean square plus 1e-4', () => {
    // rms of (3, 4) is √12.5.
    const [a, b] = valuesOf(normalise(at([3, 4], [1, 2]), [1]));
    const divisor = Math.sqrt(12.5) + 1e-4;
    expect(a).toBeCloseTo(3 / divisor, 12);
    expect(b).toBeCloseTo(4 / divisor, 12);
    expect([...valuesOf(normalise(at([0, 0], [1, 2]), [1]))]).toEqual([0, 0]);
  });
  test('sum: t = 0.3 of (2, 7)', () => {
    expect(valuesOf(mpSum(at([2], [1]), at([7], [1]), 0.3))[0]).toBeCloseTo((0.7 * 2 + 0.3 * 7) / Math.sqrt(0.49 + 0.09), 12);
  });
  test('concatenation: one channel beside three, half and half', () => {
    const y = valuesOf(mpConcat(at([1], [1, 1]), at([1, 1, 1], [1, 3]), 0.5));
    // √(4/½)·½/√1 and √(4/½)·½/√3: both sides weigh 2 in the sum of squares.
    expect([...y].map((v) => v * v)).toEqual([2, 2 / 3, 2 / 3, 2 / 3].map((v) => expect.closeTo(v, 12)));
  });
  test('SiLU at 1', () => {
    expect(valuesOf(mpSilu(at([1], [1])))[0]).toBeCloseTo(1 / (1 + Math.exp(-1)) / 0.596, 12);
  });
});

describe('unit variance stays, to a few percent of the sampling error', () => {
  const n = 40_000;
  test('SiLU', () => {
    expect(rms(valuesOf(mpSilu(input('x', [n])), { x: normals('x', n) }))).toBeCloseTo(1, 1.7);
  });
  test.each([0, 0.3, 0.5, 1])('sum with t = %d', (t) => {
    expect(rms(valuesOf(mpSum(input('a', [n]), input('b', [n]), t), { a: normals('a', n), b: normals('b', n) }))).toBeCloseTo(1, 1.5);
  });
  test.each([0.3, 0.5])('concatenation with t = %d', (t) => {
    const y = mpConcat(input('a', [n / 8, 2]), input('b', [n / 8, 6]), t);
    expect(rms(valuesOf(y, { a: normals('a', n / 4), b: normals('b', (6 * n) / 8) }))).toBeCloseTo(1, 1.5);
  });
  const build = (
    f: (scope: ReturnType<typeof recordingScope>['scope']) => Tensor,
    feeds: Readonly<Record<string, Float64Array>>,
    scale = 1,
  ) => {
    const { scope, declared } = recordingScope('net');
    f(scope);
    const weights = initialise(declared.values(), 0, 'net');
    const scaled = new Map([...weights].map(([k, w]) => [k, k.endsWith('.weight') ? { ...w, data: w.data.map((v) => v * scale) } : w]));
    return valuesOf(f(constantScope(scaled)), feeds);
  };
  test('a layer, whatever the magnitude of its weights', () => {
    const layer = (scale: number) => build((scope) => mpLinear(scope, 'l', input('x', [200, 50]), 80), { x: normals('x', 10_000) }, scale);
    expect(rms(layer(1))).toBeCloseTo(1, 1.5);
    const [a, b] = [layer(1), layer(100)];
    expect(Math.max(...a.map((v, i) => Math.abs(v - b[i]!)))).toBeLessThan(1e-3); // the constant in the divisor
  });
  test('a convolution of one pixel, where no padding is seen', () => {
    expect(rms(build((scope) => mpConv(scope, 'c', input('x', [20, 32, 5, 5]), 16, 1), { x: normals('x', 16_000) }))).toBeCloseTo(1, 1.3);
  });
  test('Fourier features', () => {
    expect(rms(build((scope) => mpFourier(scope, 'f', input('x', [50]), 400), { x: normals('x', 50) }))).toBeCloseTo(1, 1.5);
  });
});

test('forced normalisation: rows of unit magnitude, the same function, gains and buffers left alone', () => {
  const data = Float32Array.from(normals('w', 12), (v) => 5 * v);
  const weights = new Map([
    ['a.weight', { shape: [3, 4], data }],
    ['emb_gain', { shape: [], data: Float32Array.of(7) }],
    ['f.freqs', { shape: [2], data: Float32Array.of(3, 4) }],
  ]);
  const forced = forcedNormalisation(weights);
  for (let row = 0; row < 3; row++)
    expect(rms(Float64Array.from(forced.get('a.weight')!.data.subarray(4 * row, 4 * row + 4)))).toBeCloseTo(1, 3);
  expect([forced.get('emb_gain'), forced.get('f.freqs')]).toEqual([weights.get('emb_gain'), weights.get('f.freqs')]);
  const apply = (w: typeof forced) =>
    valuesOf(mpLinear(constantScope(w), 'a', input('x', [1, 4]), 3), { x: Float64Array.of(1, -2, 3, 0.5) });
  const [a, b] = [apply(weights), apply(forced)];
  for (const [i, v] of a.entries()) expect(b[i]).toBeCloseTo(v, 3);
});
