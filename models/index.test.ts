/** @file The table of network families. */
import { expect, test } from 'vitest';
import { input } from '../engine/graph/ops/leaf.ts';
import { facts, resolve } from '../engine/train/options.ts';
import { recordingScope } from '../engine/train/weights.ts';
import { networkFamilies, networkFamily } from './index.ts';

test('families are found by name', () => {
  expect(Object.keys(networkFamilies)).toEqual(['song-unet', 'dhariwal-unet', 'edm2-unet', 'dit', 'mlp']);
  for (const [name, family] of Object.entries(networkFamilies)) {
    expect(networkFamily(name)).toBe(family);
    expect(family.name).toBe(name);
  }
});

test.each(Object.keys(networkFamilies))('%s: options have help, the defaults are valid, and every network has a bottleneck map', (name) => {
  const family = networkFamily(name);
  for (const fact of facts(family.options)) expect(fact.help, fact.name).not.toBe('');
  const { scope } = recordingScope('net');
  const network = family.build(scope, resolve(name, family.options, {}), { shape: [3, 32, 32], classes: 10 });
  const { denoised, features } = network.predict(input('x', ['N', 3, 32, 32]), input('sigma', ['N', 1, 1, 1]), {});
  expect(denoised.shape).toEqual(['N', 3, 32, 32]);
  expect(features['bottleneck']!.shape).toHaveLength(4);
});

test.each([
  ['songunet', 'network: there is no songunet (did you mean song-unet?); there are song-unet, dhariwal-unet, edm2-unet, dit, mlp'],
  ['DiT-', 'network: there is no DiT- (did you mean dit?); there are song-unet, dhariwal-unet, edm2-unet, dit, mlp'],
  ['resnet', 'network: there is no resnet; there are song-unet, dhariwal-unet, edm2-unet, dit, mlp'],
  ['toString', 'network: there is no toString; there are song-unet, dhariwal-unet, edm2-unet, dit, mlp'],
])('%s is refused', (name, message) => {
  expect(() => networkFamily(name)).toThrow(expect.objectContaining({ name: 'InputError', message }));
});
