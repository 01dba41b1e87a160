/** @file Our own networks exported, imported and exported again: the same graph, with the same weights; and from then on the same bytes. */
import { dirname } from 'node:path';
import { describe, expect, test } from 'vitest';
import '../../../engine/graph/fluent.ts';
import { toOnnx } from '../../../engine/graph/onnx.ts';
import { input } from '../../../engine/graph/ops/leaf.ts';
import { simplify } from '../../../engine/graph/simplify.ts';
import type { Tensor } from '../../../engine/graph/tensor.ts';
import { goldenPath } from '../../../engine/testing/golden.ts';
import type { Scope } from '../../../engine/train/network.ts';
import { resolve } from '../../../engine/train/options.ts';
import { constantScope, initialise, recordingScope, type Weights } from '../../../engine/train/weights.ts';
import { classifier } from '../../classifier.ts';
import { networkFamilies } from '../../index.ts';
import { loadAutoencoder, loadNetwork } from '../diffusers/folder.ts';
import { importOnnxBytes } from './import.ts';
import { canonical, missing } from './testing/canonical.ts';

type Build = (scope: Scope) => Readonly<Record<string, Tensor>>;

/** Weights that no two of them share, so that a swapped one shows. */
function withWeights(build: Build, weights?: Weights): Readonly<Record<string, Tensor>> {
  const { scope, declared } = recordingScope('net');
  build(scope);
  const own =
    weights ??
    new Map(
      [...initialise(declared.values(), 5, 'net')].map(([name, w], i) => [
        name,
        { shape: w.shape, data: w.data.map((v, k) => v + 0.01 * Math.sin(k + 7 * i)) },
      ]),
    );
  return build(constantScope(own));
}

function roundTrip(outputs: Readonly<Record<string, Tensor>>): void {
  const keys = Object.keys(outputs);
  const made = simplify(Object.values(outputs));
  const first = toOnnx(Object.fromEntries(keys.map((key, i) => [key, made[i]!])));
  const again = (bytes: Uint8Array): Uint8Array => {
    const { network, inputs, weights } = importOnnxBytes(bytes);
    const given = Object.fromEntries(inputs.map((p) => [p.name, input(p.name, p.shape, p.dtype)]));
    return toOnnx(network(constantScope(weights), given));
  };
  const second = again(first);
  expect({ lost: missing(first, second), made: missing(second, first) }).toEqual({ lost: [], made: [] });
  expect(canonical(second).outputs).toEqual(canonical(first).outputs);
  expect(Buffer.from(again(second)).equals(Buffer.from(second))).toBe(true);
}

const OPTIONS: readonly (readonly [string, Readonly<Record<string, unknown>>])[] = [
  ['song-unet', { channels: 8, multipliers: [1, 2], blocks: 1, attention: [4] }],
  ['dhariwal-unet', { channels: 8, multipliers: [1, 2], blocks: 1, attention: [4] }],
  ['edm2-unet', { channels: 8, multipliers: [1, 2], blocks: 1, attention: [4], headChannels: 8 }],
  ['dit', { width: 16, depth: 2, heads: 2, patch: 2 }],
  ['mlp', { width: 16, layers: 2 }],
];
describe('families of networks', () => {
  test('all of them are here', () => {
    expect(OPTIONS.map(([name]) => name)).toEqual(Object.keys(networkFamilies));
  });
  test.each(OPTIONS)('%s', (name, options) => {
    const family = networkFamilies[name]!;
    const sample = { shape: [3, 8, 8], classes: 3 };
    for (const preconditioning of ['edm', 'vp', 've', 'sample', 'v', 'flow', 'trigflow']) {
      const chosen = resolve(name, family.options, { ...options, ...('preconditioning' in family.options ? { preconditioning } : {}) });
      roundTrip(
        withWeights((scope) => ({
          image: family
            .build(scope, chosen, sample)
            .denoise(input('noise', ['N', ...sample.shape]), input('sigma', ['N', 1, 1, 1]), { label: input('label', ['N', 3]) }),
        })),
      );
    }
  });
  test('classifier', () => {
    roundTrip(
      withWeights((scope) => {
        const { features, logits } = classifier(scope)(input('image', ['N', 1, 28, 28]));
        return { features, logits };
      }),
    );
  });
});

const FOLDERS = ['dit', 'unet-condition-sd', 'unet-condition-sdxl', 'unet2d-class', 'unet2d-ddpm', 'unet2d-fourier', 'sana', 'sd3', 'flux'];
describe('networks of diffusers folders', () => {
  test.each(FOLDERS)('%s', async (name) => {
    const path = goldenPath(`diffusers/${name}/config.json`);
    if (!path) return;
    const { network, weights } = await loadNetwork(dirname(path));
    const side = 2 * network.unit;
    const conditions = Object.fromEntries(Object.entries(network.conditions).map(([key, shape]) => [key, input(key, ['N', ...shape])]));
    roundTrip(
      withWeights(
        (scope) => ({ out: network.raw(scope)(input('x', ['N', network.channels, side, side]), input('time', ['N']), conditions).output }),
        weights,
      ),
    );
  });
  test.each(['autoencoder-kl', 'autoencoder-tiny'])('%s', async (name) => {
    const path = goldenPath(`diffusers/${name}/config.json`);
    if (!path) return;
    const { encode, decode, latentChannels, weights } = await loadAutoencoder(dirname(path));
    const scope = constantScope(weights);
    roundTrip({ latent: encode(scope, input('picture', ['N', 3, 16, 16])), image: decode(scope, input('z', ['N', latentChannels, 4, 4])) });
  });
});
