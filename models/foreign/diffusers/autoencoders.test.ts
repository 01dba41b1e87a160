/** @file The autoencoders of diffusers against stored outputs and gradients. */
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { constant } from '../../../engine/graph/ops/leaf.ts';
import { fill } from '../../../engine/graph/ops/movement.ts';
import { evaluate } from '../../../engine/graph/reference.ts';
import type { Tensor } from '../../../engine/graph/tensor.ts';
import { toFloat32 } from '../../../engine/io/safetensors.ts';
import { constantScope } from '../../../engine/train/weights.ts';
import { readGolden, readWeights } from '../../testing/golden.ts';
import { autoencoderKL, readAutoencoderKL } from './autoencoder-kl.ts';
import { autoencoderTiny, readAutoencoderTiny } from './autoencoder-tiny.ts';
import { readJson, storedFolder, testCases, weightsPath } from './testing/stored.ts';

testCases('autoencoder-kl', (folder, { name }) => {
  const config = readAutoencoderKL('autoencoder-kl', readJson(join(folder, 'config.json')));
  return (scope, inputs) => {
    const kl = autoencoderKL(scope, config);
    if (name === 'decode') {
      kl.encode(fill(0, [1, 3, 16, 16])); // for the names of its weights
      return kl.decode(inputs['latent']!);
    }
    kl.decode(fill(0, [1, 4, 4, 4]));
    const { mean, logvar } = kl.encode(inputs['image']!);
    return { mean, logvar };
  };
});

testCases('autoencoder-tiny', (folder, { name }) => {
  const config = readAutoencoderTiny('autoencoder-tiny', readJson(join(folder, 'config.json')));
  return (scope, inputs) => {
    const tiny = autoencoderTiny(scope, config);
    if (name === 'decode') {
      tiny.encode(fill(0, [1, 3, 8, 8]));
      return tiny.decode(inputs['latent']!);
    }
    tiny.decode(fill(0, [1, 4, 4, 4]));
    return tiny.encode(inputs['image']!);
  };
});

describe.skipIf(!storedFolder('autoencoder-kl'))('stored without gradients', () => {
  const load = async (name: string) => {
    const folder = storedFolder(name)!;
    const golden = await readGolden(join(folder, 'golden.json'));
    const value = (key: string): Tensor => {
      const stored = golden.tensors.get(key)!;
      return constant(toFloat32(stored), stored.shape);
    };
    const off = (got: Tensor, key: string): number => {
      const want = toFloat32(golden.tensors.get(key)!);
      return Math.max(...Array.from(evaluate([got])[0]!.data, (v, i) => Math.abs(v - want[i]!)));
    };
    const config = readJson(join(folder, 'config.json'));
    return { config, scope: constantScope(await readWeights(weightsPath(folder))), value, off, tolerance: golden.facts.tolerance };
  };
  test('a sample of the posterior is its mean plus its deviation times the noise', async () => {
    const { config, scope, value, off, tolerance } = await load('autoencoder-kl');
    const { sample } = autoencoderKL(scope, readAutoencoderKL('kl', config)).encode(value('encode.in.image'));
    expect(off(sample(value('sample.in.noise')), 'sample.out.latent')).toBeLessThan(tolerance['sample.out.latent'] as number);
  });
  test('latents that went through bytes', async () => {
    const { config, scope, value, off, tolerance } = await load('autoencoder-tiny');
    const tiny = autoencoderTiny(scope, readAutoencoderTiny('tiny', config));
    const image = tiny.decode(tiny.quantised(tiny.encode(value('roundtrip.in.image'))));
    expect(off(image, 'roundtrip.out.image')).toBeLessThan(tolerance['roundtrip.out.image'] as number);
  });
});
