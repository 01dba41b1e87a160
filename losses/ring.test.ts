/** @file A proof in two dimensions: from the exact denoiser of a ring of eight Gaussians DMD2 makes a one-step student that has all eight. */
import { expect, test } from 'vitest';
import type { Loss } from '../engine/train/loss.ts';
import dmd2 from './dmd2.ts';
import edm from './edm.ts';
import { draws, modes, pretrained, samplesOf, totalVariation, trained } from './testing/distil.ts';
import { checkerboard, DMD2_IN_THE_PLANE, ring } from './testing/planes.ts';

const SAMPLES = 40_000; // a share of 1/8 has a standard error of 0.17 %
const seeds = process.env['ONESTEP_PROOF'] ? [1, 2, 3] : [1];

test.each([
  ['ring', ring, Math.sqrt(0.7 ** 2 / 2 + 0.1 ** 2)],
  ['checkerboard', checkerboard, Math.sqrt((5 / 4) * 0.438 ** 2 + 0.1 ** 2)],
])('the %s itself has eight equal modes and the spread that networks expect', (_, target, spread) => {
  const samples = draws(target, SAMPLES, 1, 0);
  const { shares, stray } = modes(target, samples);
  expect(shares).toHaveLength(8);
  expect(totalVariation(shares, target.weights)).toBeLessThan(0.01);
  expect(stray).toBeLessThan(1e-3); // five standard deviations
  const [x, y] = [0, 1].map((d) => Math.sqrt(samples.reduce((sum, v, i) => (i % 2 === d ? sum + v * v : sum), 0) / SAMPLES));
  for (const found of [x, y]) expect(found).toBeCloseTo(spread, 2); // a standard error of about 0.001
  expect(spread).toBeCloseTo(0.5, 1);
});

test.each(seeds)('seed %i: all eight modes, their weights within 5 percent', { timeout: 300_000 }, async (seed) => {
  const plan = { target: ring, seed, batch: 256, steps: 1000, lr: 3e-3, network: { width: 32, layers: 2 } };
  const start = await pretrained(plan);
  const before = modes(ring, await samplesOf(plan, edm as unknown as Loss, start, SAMPLES));
  expect(before.stray).toBeGreaterThan(0.15); // a denoiser does not give samples in one step
  const student = await trained({ ...plan, steps: 4000 }, dmd2 as unknown as Loss, DMD2_IN_THE_PLANE, start);
  const { shares, stray } = modes(ring, await samplesOf(plan, dmd2 as unknown as Loss, student, SAMPLES));
  expect(totalVariation(shares, ring.weights), `shares ${shares}`).toBeLessThan(0.05);
  // A continuous map of one blob of noise onto eight islands leaves a few samples between them.
  expect(stray).toBeLessThan(0.05);
});
