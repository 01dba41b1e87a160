/** @file Experts: every sample is denoised by its own one, wherever the choice is made. */
import '../engine/graph/fluent.ts';
import { expect, test } from 'vitest';
import { constant, input } from '../engine/graph/ops/leaf.ts';
import { evaluate } from '../engine/graph/reference.ts';
import { topological } from '../engine/graph/tensor.ts';
import { networkOf, type Scope } from '../engine/train/network.ts';
import { constantScope } from '../engine/train/weights.ts';
import { experts, together } from './experts.ts';

const factors = [2, 3, 5].map((k) => new Map([['w', { shape: [1], data: Float32Array.of(k) }]]));
const times = (scope: Scope) => networkOf((x) => x.mul(scope('w', [1])));
const scope = constantScope(together(factors));
const byLevel = experts(scope, times, [{ above: 10 }, { above: 1 }, { above: 0 }]);
const x = constant(Float32Array.of(1, 1, 1, 1, 1, 1), [3, 2]);

test('by level, one a sample: bounds belong to the expert below', () => {
  const sigma = constant(Float32Array.of(80, 10, 1), [3, 1]);
  expect([...evaluate([byLevel.denoise(x, sigma)])[0]!.data]).toEqual([2, 2, 3, 3, 5, 5]);
});
test('by level, the same for all: at a constant only its expert is computed', () => {
  const values = [80, 10.1, 10, 1.5, 1, 0.002].map((sigma) => evaluate([byLevel.denoise(x, constant(sigma))])[0]!.data[0]);
  expect(values).toEqual([2, 2, 3, 3, 5, 5]);
  const fed = byLevel.denoise(x, input('sigma', []));
  expect([80, 10, 1].map((sigma) => evaluate([fed], { sigma: [sigma] })[0]!.data[0])).toEqual([2, 3, 5]);
  expect(topological([byLevel.denoise(x, constant(5))]).length).toBeLessThan(topological([fed]).length / 2);
});
test('by class, also where images have more axes; without a label there is no choice', () => {
  const byClass = experts(scope, times, [{ classes: [0, 2] }, { classes: [1] }]);
  const label = constant(Float32Array.of(1, 0, 0, 0, 1, 0, 0, 0, 1), [3, 3]);
  expect([...evaluate([byClass.denoise(x, constant(1), { label })])[0]!.data]).toEqual([2, 2, 3, 3, 2, 2]);
  const image = constant(new Float32Array(12).fill(1), [3, 1, 2, 2]);
  const of3 = evaluate([byClass.denoise(image, constant(1), { label })])[0]!;
  expect([of3.shape, [...of3.data].filter((_, i) => i % 4 === 0)]).toEqual([
    [3, 1, 2, 2],
    [2, 3, 2],
  ]);
  expect(() => byClass.denoise(x, constant(1))).toThrow('needs a label for every sample');
});
