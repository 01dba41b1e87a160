/** @file The transformers of diffusers against stored outputs and gradients. */
import { join } from 'node:path';
import type { Scope } from '../../../engine/train/network.ts';
import type { RawPrediction } from '../../precondition.ts';
import { ditTransformer, readDiT } from './dit.ts';
import { fluxTransformer, readFlux } from './flux.ts';
import type { Inputs } from './layers.ts';
import { pixartTransformer, readPixArt } from './pixart.ts';
import { readSana, sanaTransformer } from './sana.ts';
import { readSD3, sd3Transformer } from './sd3.ts';
import { readJson, testCases } from './testing/stored.ts';

function testTransformer<C>(
  name: string,
  read: (where: string, json: unknown) => C,
  build: (scope: Scope, c: C) => (inputs: Inputs) => RawPrediction,
): void {
  testCases(name, (folder) => {
    const config = read(name, readJson(join(folder, 'config.json')));
    return (scope, inputs) => build(scope, config)(inputs).output;
  });
}
testTransformer('dit', readDiT, ditTransformer);
testTransformer('sd3', readSD3, sd3Transformer);
testTransformer('sana', readSana, sanaTransformer);
testTransformer('flux', readFlux, fluxTransformer);
testTransformer('variants/pixart', readPixArt, pixartTransformer);
testTransformer('variants/sd3-dual', readSD3, sd3Transformer);
testTransformer('variants/sana-guided', readSana, sanaTransformer);
testTransformer('variants/flux-guided', readFlux, fluxTransformer);
