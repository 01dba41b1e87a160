/** @file Weights of denoising by noise level against reference values and their limits. */
import { expect, test } from 'vitest';
import { input } from '../engine/graph/ops/leaf.ts';
import { evaluate } from '../engine/graph/reference.ts';
import type { Tensor } from '../engine/graph/tensor.ts';
import { readGolden } from '../engine/testing/golden-tensors.ts';
import { edmWeight } from './terms.ts';
import { denoisingWeights, minSnrWeight, p2Weight, sigmoidWeight, snrOf, softMinSnrWeight } from './weight-terms.ts';

const golden = readGolden('schedules/loss_weights');
const at = (weight: (sigma: Tensor) => Tensor, sigma: readonly number[]): number[] => [
  ...evaluate([weight(input('sigma', [sigma.length]))], { sigma: Float64Array.from(sigma) })[0]!.data,
];
const largest = (found: readonly number[], wanted: ArrayLike<number>): number =>
  Math.max(...found.map((v, i) => Math.abs(v / wanted[i]! - 1)));

test.skipIf(!golden)('equal the reference on errors of the sample, the noise and the velocity', () => {
  const values = (name: string): number[] => [...golden!.tensor(name).data];
  const levels = values('alphas_cumprod').map((a) => Math.sqrt((1 - a) / a));
  const snr = at(snrOf, levels);
  const onEps = (weight: (sigma: Tensor) => Tensor): number[] => at(weight, levels).map((w, i) => w / snr[i]!);
  expect(largest(at(minSnrWeight, levels), values('min_snr_x0'))).toBeLessThan(1e-10);
  expect(largest(onEps(minSnrWeight), values('min_snr_epsilon'))).toBeLessThan(1e-10);
  const onV = at(minSnrWeight, levels).map((w, i) => w / (snr[i]! + 1));
  expect(largest(onV, values('min_snr_v'))).toBeLessThan(1e-10);
  expect(largest(at(softMinSnrWeight, levels), values('soft_min_snr_x0'))).toBeLessThan(1e-10);
  expect(largest(onEps(softMinSnrWeight), values('soft_min_snr_epsilon'))).toBeLessThan(1e-10);
  expect(
    largest(
      onEps((s) => p2Weight(s)),
      values('p2_epsilon'),
    ),
  ).toBeLessThan(1e-10);
  expect(
    largest(
      onEps((s) => sigmoidWeight(s)),
      values('sigmoid_epsilon'),
    ),
  ).toBeLessThan(1e-10);
  const sigma = values('sigma');
  expect(
    largest(
      at((s) => edmWeight(s, 0.5), sigma),
      values('edm'),
    ),
  ).toBeLessThan(1e-10);
  expect(
    largest(
      at((s) => edmWeight(s, 0.5), sigma),
      values('dmd2_fake_critic'),
    ),
  ).toBeLessThan(1e-10);
  expect(largest(at(snrOf, sigma), values('snr_of_ve'))).toBeLessThan(1e-10);
});

test('at both ends', () => {
  const [low, high] = [1e-3, 1e3];
  // As the noise vanishes: γ, γ, 1 with k = γ = 1, and e^b/(1 + e^b σ²) → e^b.
  expect(at(minSnrWeight, [low])[0]).toBe(5);
  expect(at(softMinSnrWeight, [low])[0]).toBeCloseTo(5, 4);
  expect(at((s) => p2Weight(s), [low])[0]).toBeCloseTo(1, 5);
  expect(at((s) => sigmoidWeight(s), [low])[0]).toBeCloseTo(Math.exp(-1), 5);
  // Under much noise all but EDM's, which stays at 1/σ_d², fall like the ratio itself.
  for (const [name, weight] of Object.entries(denoisingWeights))
    if (name !== 'edm') expect(at((s) => weight(s, 0.5), [high])[0]! * high ** 2, name).toBeCloseTo(1, 5);
  expect(at((s) => denoisingWeights.edm(s, 0.5), [high])[0]).toBeCloseTo(4, 5);
});
