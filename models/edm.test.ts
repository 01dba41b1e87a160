/** @file Constructor arguments of NVlabs/edm: what they map to and what is refused. That the networks compute the same is tested in song-unet.test.ts. */
import { expect, test } from 'vitest';
import { input } from '../engine/graph/ops/leaf.ts';
import { goldenPath } from '../engine/testing/golden.ts';
import { recordingScope } from '../engine/train/weights.ts';
import { edmModel } from './edm.ts';
import { readFacts } from './testing/golden.ts';

interface Checkpoint {
  readonly made_by: { readonly class: string };
  readonly init_kwargs: Readonly<Record<string, unknown>>;
  readonly sigma_min: number;
  readonly sigma_max: number | null;
  readonly parameters: number;
}
const size = { img_resolution: 32, img_channels: 3 };
const song = { ...size, model_type: 'SongUNet' };

test('without further arguments it is SongUNet as its constructor makes it: DDPM++ for 32x32', () => {
  const { options, sample, sigmaMin, sigmaMax, family } = edmModel('EDMPrecond', { ...song, label_dim: 10 });
  expect(options).toEqual({
    channels: 128,
    multipliers: [1, 2, 2, 2],
    embeddingMultiplier: 4,
    blocks: 4,
    attention: [16],
    heads: 1,
    embedding: 'positional',
    noiseMultiplier: 1,
    encoder: 'standard',
    decoder: 'standard',
    filter: [1, 1],
    patch: 1,
    augmentations: 0,
    preconditioning: 'edm',
    sigmaData: 0.5,
  });
  expect(sample).toEqual({ shape: [3, 32, 32], classes: 10 });
  expect([family, sigmaMin, sigmaMax]).toEqual(['song-unet', 0, Number.POSITIVE_INFINITY]);
});

test('the published CIFAR-10 DDPM++ has 56 million parameters', () => {
  // Karras et al. 2022, table 7 (DDPM++, CIFAR-10): 56 million.
  const { scope, declared } = recordingScope('net');
  const kwargs = { ...song, model_channels: 128, channel_mult: [2, 2, 2], augment_dim: 9, dropout: 0.13, use_fp16: true, sigma_max: null };
  const { network } = edmModel('EDMPrecond', kwargs).build(scope);
  network.denoise(input('x', [1, 3, 32, 32]), input('sigma', [1, 1, 1, 1]));
  const count = [...declared.values()].filter((d) => d.trained).reduce((n, d) => n + d.shape.reduce((a, b) => a * b, 1), 0);
  expect(Math.round(count / 1e6)).toBe(56);
});

const stored = ['edm-ddpmpp', 'edm-ncsnpp', 'vp-ddpmpp', 've-ncsnpp', 'edm-adm', 'iddpm-adm'];
test.skipIf(!stored.every((name) => goldenPath(`edm/${name}.json`))).each(stored)('%s: noise levels and number of parameters', (name) => {
  const facts = readFacts<Checkpoint>(goldenPath(`edm/${name}.json`)!);
  const { sigmaMin, sigmaMax, sample, build } = edmModel(facts.made_by.class, facts.init_kwargs);
  // The stored σ(1e-5) of VP is a root of the float32 difference 1.00000095 - 1: a step of 2^-23 is 6% of its square.
  expect(Math.abs(sigmaMin - facts.sigma_min)).toBeLessThanOrEqual(0.06 * facts.sigma_min);
  if (facts.sigma_max === null) expect(sigmaMax).toBe(Number.POSITIVE_INFINITY);
  else expect(Math.abs(sigmaMax - facts.sigma_max)).toBeLessThanOrEqual(1e-6 * facts.sigma_max); // stored in float32
  const { scope, declared } = recordingScope('net');
  build(scope).network.denoise(input('x', [1, ...sample.shape]), input('sigma', [1, 1, 1, 1]));
  expect([...declared.values()].filter((d) => d.trained).reduce((n, d) => n + d.shape.reduce((a, b) => a * b, 1), 0)).toBe(
    facts.parameters,
  );
});

test.each([
  ['EDMPrecon', size, 'edm: class EDMPrecon is not supported; supported are EDMPrecond, VPPrecond, VEPrecond, iDDPMPrecond, Precond'],
  ['constructor', size, 'edm: class constructor is not supported'],
  ['EDMPrecond', { ...size, model_type: 'UNet' }, 'EDMPrecond: model_type UNet is not supported; supported are SongUNet, DhariwalUNet'],
  ['Precond', { ...size, model_type: 'UNet', chan: 3 }, 'Precond: unknown arguments model_type, chan; it takes img_resolution'],
  ['iDDPMPrecond', { ...size, model_type: 'SongUNet' }, 'iDDPMPrecond: model_type SongUNet is not supported; only DhariwalUNet is'],
  [
    'EDMPrecond',
    { ...song, chanel_mult: [1], beta_d: 19.9 },
    'EDMPrecond: unknown arguments chanel_mult, beta_d; it takes model_type, img_resolution',
  ],
  ['VEPrecond', { img_channels: 3 }, 'VEPrecond: the arguments img_resolution are missing'],
  ['VPPrecond', { ...size, num_blocks: 'four' }, 'VPPrecond.num_blocks: "four" is not a whole number in [1, ∞]'],
  ['VPPrecond', { ...size, beta_d: 20 }, 'VPPrecond.beta_d: 20 is not a number in [19.9, 19.9]'],
])('%s with %j is refused', (name, kwargs, message) => {
  expect(() => edmModel(name, kwargs)).toThrow(message);
  expect(() => edmModel(name, kwargs)).toThrow(expect.objectContaining({ name: 'InputError' }));
});
