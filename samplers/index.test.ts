/** @file Samplers by name, guidance, and trajectories as graphs. */
import { describe, expect, test } from 'vitest';
import '../engine/graph/fluent.ts';
import { constant, input } from '../engine/graph/ops/leaf.ts';
import { evaluate } from '../engine/graph/reference.ts';
import { deviation } from '../engine/testing/golden-tensors.ts';
import type { Denoiser } from '../engine/train/network.ts';
import { facts } from '../engine/train/options.ts';
import { gaussian } from '../models/gaussian.ts';
import { mixture } from '../models/mixture.ts';
import { guided } from './guidance.ts';
import { sampler, samplers } from './index.ts';
import { placeOf } from './steps.ts';
import { silent, stored } from './testing/trajectories.ts';
import { unroll } from './unroll.ts';

describe.each(Object.keys(samplers))('%s', (name) => {
  const family = samplers[name]!;
  test('says what it is and helps with its options', () => {
    expect(family.name).toBe(name);
    expect(sampler(name).name).toBe(name);
    expect(family.reference).toMatch(/^\d{4}\.\d{5}$/);
    for (const fact of facts(family.options)) expect(fact.help.length).toBeGreaterThan(10);
  });
  test('counts its evaluations', () => {
    let calls = 0;
    const counting: Denoiser = (x, sigma) => {
      calls++;
      return gaussian({ mean: 0, std: 1 }).denoise(x, sigma);
    };
    const levels = [10, 3, 1, 0.3];
    const noise = levels.map(() => new Float64Array(2));
    unroll(sampler(name), counting, input('x', [1, 2]), levels, stored(noise));
    const expected = levels.reduce((n, _, i) => n + sampler(name).evaluations(placeOf(i, levels[i + 1] ?? 0, sampler(name).opening)), 0);
    expect(calls).toBe(expected);
    expect(sampler(name).evaluations('only')).toBe(1);
  });
  test('one level gives the denoised sample itself', () => {
    const { denoise } = gaussian({ mean: 1, std: 0.5 });
    const x = input('x', ['N', 2]);
    const [one, direct] = evaluate([unroll(sampler(name), denoise, x, [80], silent), denoise(x, constant(80))], { x: [1, 2, 3, 4] }, 2);
    expect([...one!.data]).toEqual([...direct!.data]);
  });
});
test('unknown names and options are told', () => {
  expect(() => sampler('eular')).toThrow('sampler: there is no eular; there are euler, heun, ddim, ddpm, euler-ancestral, ');
  expect(() => sampler('toString')).toThrow('there is no toString');
  expect(() => sampler('ddim', { eta: 2 })).toThrow('ddim.eta: 2 is not a number in [0, 1]');
});
test('levels must fall', () => {
  const x = input('x', [1, 1]);
  expect(() => unroll(sampler('euler'), gaussian({ mean: 0, std: 1 }).denoise, x, [1, 2], silent)).toThrow('level 1 is followed by 2');
  expect(() => unroll(sampler('euler'), gaussian({ mean: 0, std: 1 }).denoise, x, [1, 0.5], silent, 0.5)).toThrow(
    'level 0.5 is followed by 0.5',
  );
});
describe('guidance', () => {
  const { denoise } = mixture({ weights: [0.5, 0.5], means: [[-1], [1]], variances: [0.1, 0.1] });
  const x = constant(Float64Array.of(0.2, -0.4), [2, 1]);
  const label = constant(Float64Array.of(1, 0, 0, 1), [2, 2]);
  const sigma = constant(0.8);
  const values = (d: Denoiser, condition = {}) => evaluate([d(x, sigma, condition)])[0]!.data;
  const [free, bound] = [values(denoise), values(denoise, { label })];
  test.each([0, 0.5, 1, 3])('scale %f', (scale) => {
    const expected = free.map((v, i) => v + scale * (bound[i]! - v));
    expect(deviation(values(guided(denoise, scale), { label }), expected)).toBeLessThan(1e-14);
    expect(deviation(values(guided(denoise, constant(scale)), { label }), expected)).toBeLessThan(1e-14);
  });
  test('against another condition', () => {
    const against = { label: constant(Float64Array.of(0, 1, 1, 0), [2, 2]) };
    const other = values(denoise, against);
    expect(
      deviation(
        values(guided(denoise, 2, against), { label }),
        other.map((v, i) => 2 * bound[i]! - v),
      ),
    ).toBeLessThan(1e-14);
  });
  test('scales 0 and 1 cost one evaluation', () => {
    let calls = 0;
    const counting: Denoiser = (a, b, c) => {
      calls++;
      return denoise(a, b, c);
    };
    for (const scale of [0, 1]) guided(counting, scale)(x, sigma, { label });
    expect(calls).toBe(2);
  });
});
