/** @file Methods see denoisers: whatever a network says itself, noise, sample, v or the velocity of a flow, they work with it. */
import '../engine/graph/fluent.ts';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { constant } from '../engine/graph/ops/leaf.ts';
import { evaluate } from '../engine/graph/reference.ts';
import type { Loss } from '../engine/train/loss.ts';
import { resolve } from '../engine/train/options.ts';
import { consistencyPrecondition, preconditioned, preconditioningOptions, type RawNetwork } from '../models/precondition.ts';
import { boundary } from '../samplers/forms.ts';
import ct from './ct.ts';
import { pretrained, samplesOf, trained } from './testing/distil.ts';

const KINDS = ['edm', 'vp', 've', 'sample', 'v', 'flow', 'trigflow'] as const;
const CONSISTENCY = { sigmaMin: 0.002, sigmaData: 0.5 };
const raw: RawNetwork = (x) => ({ output: x.mul(1.3).add(0.2), features: {} });
const of = (preconditioning: (typeof KINDS)[number]) =>
  preconditioned(raw, resolve('network', preconditioningOptions, { preconditioning }));

test('every parametrisation is tried', () => {
  expect(() => resolve('network', preconditioningOptions, { preconditioning: 'other' })).toThrow(KINDS.join(', '));
});

test('no method looks at what a network says itself', () => {
  const folder = dirname(fileURLToPath(import.meta.url));
  const files = readdirSync(folder).filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'));
  expect(files.filter((file) => readFileSync(join(folder, file), 'utf8').includes('extras'))).toEqual([]);
});

test("the consistency function of EDM's denoiser is that of the network inside it", () => {
  const [x, sigma] = [
    [0.3, -0.7, 4, -60],
    [0.002, 0.1, 3, 80],
  ].map((v) => constant(Float64Array.from(v), [4, 1]));
  const [ours, theirs] = evaluate([
    boundary(of('edm'), CONSISTENCY).denoise(x!, sigma!),
    consistencyPrecondition(raw, CONSISTENCY).denoise(x!, sigma!),
  ]).map(({ data }) => [...data]);
  ours!.forEach((value, i) => {
    expect(value).toBeCloseTo(theirs![i]!, 9);
  });
});

describe.each(KINDS)('%s', (preconditioning) => {
  test('its consistency function is the identity at the lowest level', () => {
    const x = constant(Float64Array.of(0.3), [1, 1]);
    const said = boundary(of(preconditioning), CONSISTENCY).denoise(x, constant(CONSISTENCY.sigmaMin));
    expect(evaluate([said])[0]!.data[0]).toBeCloseTo(0.3, 12);
  });
});

// What the network predicts at the highest level is the sample's mean for v and flow, and noise for vp and ve, from which no small network of points
// can take a sample: there x − σ ε cancels to a thousandth part.
describe.each(['sample', 'v', 'flow', 'trigflow'] as const)('%s', (preconditioning) => {
  test('is trained, and distilled by consistency to one step', { timeout: 120_000 }, async () => {
    const target = { weights: [1], means: [[0.3]], variances: [0.16] };
    const plan = { seed: 1, batch: 64, lr: 2e-3, network: { width: 32, layers: 2, preconditioning }, target };
    const start = await pretrained({ ...plan, steps: 1000 });
    const long = { ...plan, steps: 2500 };
    const samples = await samplesOf(long, ct as unknown as Loss, await trained(long, ct as unknown as Loss, {}, start), 10_000);
    const mean = samples.reduce((a, b) => a + b) / samples.length;
    const spread = Math.sqrt(samples.reduce((sum, v) => sum + (v - mean) ** 2, 0) / samples.length);
    expect(Math.abs(mean - 0.3)).toBeLessThan(0.12);
    expect(Math.abs(spread / 0.4 - 1)).toBeLessThan(0.3);
  });
});
