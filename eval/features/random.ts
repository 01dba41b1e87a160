/** @file Features of a network that nobody trained: convolutions with seeded random weights. They tell sets of images apart by colours, edges and textures, wherever no trained network is at hand. */
import { toOnnx } from '../../engine/graph/onnx.ts';
import { concat } from '../../engine/graph/ops/movement.ts';
import { input } from '../../engine/graph/ops/leaf.ts';
import { relu } from '../../engine/graph/ops/elementwise.ts';
import { reduceMean } from '../../engine/graph/ops/reduce.ts';
import { simplify } from '../../engine/graph/simplify.ts';
import type { Tensor } from '../../engine/graph/tensor.ts';
import { sha256 } from '../../engine/io/atomic.ts';
import { encodeSafetensors, fromFloat32 } from '../../engine/io/safetensors.ts';
import { fillNormal, streamKey } from '../../engine/random/philox.ts';
import { loadModel } from '../../engine/run/ort.ts';
import { float32 } from '../../engine/run/runtime.ts';
import type { Scope } from '../../engine/train/network.ts';
import { constantScope, recordingScope, type Weights } from '../../engine/train/weights.ts';
import { conv } from '../../models/layers.ts';
import type { PictureExtractor } from './extractor.ts';
import { preparer } from './inputs.ts';

export const RANDOM_NAME = 'random features';
const SIDE = 64;
const CHANNELS = [32, 64, 128] as const;
/** Antialiased both ways, as CLIP resizes. */
const RESIZE = 'pil_uint8_bicubic';

/** Mean over the positions of each map: of all three, because a random network forgets detail with depth. [N, 224] */
function network(scope: Scope, images: Tensor): Tensor {
  const maps: Tensor[] = [];
  for (const [i, channels] of CHANNELS.entries())
    maps.push(relu(conv(scope, `convs.${i}`, maps.at(-1) ?? images, channels, 3, { stride: 2 })));
  return concat(
    maps.map((map) => reduceMean(map, [2, 3])),
    1,
  );
}

/** Weights of variance 2/fan-in, which keeps the size of what passes ReLUs (He et al. 2015, arXiv:1502.01852); no biases. */
function randomWeights(seed: number): Weights {
  const { scope, declared } = recordingScope('random');
  network(scope, input('images', ['N', 3, SIDE, SIDE]));
  return new Map(
    [...declared.values()].map(({ name, shape }) => {
      const data = new Float32Array(shape.reduce((n, d) => n * d, 1));
      if (shape.length > 1) {
        fillNormal(data, streamKey(seed, 0, name), data.length);
        const deviation = Math.sqrt(2 / shape.slice(1).reduce((n, d) => n * d, 1));
        for (let i = 0; i < data.length; i++) data[i]! *= deviation;
      }
      return [name, { shape, data }];
    }),
  );
}

export async function openRandom({ seed, resize }: { readonly seed: number; readonly resize: string | null }): Promise<PictureExtractor> {
  const weights = randomWeights(seed);
  const [features] = simplify([network(constantScope(weights), input('images', ['N', 3, SIDE, SIDE]))]);
  const model = await loadModel(toOnnx({ features: features! }, { target: 'cpu' }), { threads: 1 });
  const rule = resize ?? RESIZE;
  return {
    name: RANDOM_NAME,
    checksum: sha256(encodeSafetensors([...weights].map(([name, { shape, data }]) => [name, fromFloat32(data, shape)] as const))),
    dimensions: CHANNELS.reduce((a, b) => a + b, 0),
    classes: 0,
    resize: rule,
    channels: 3,
    batch: 64,
    shard: 512,
    prepare: preparer({ channels: 3, side: SIDE, resize: rule, scale: '-1..1' }),
    run: async (values, n, shape) => ({
      features: (await model.run({ images: float32(values, [n, ...shape]) }))['features']!.data as Float32Array,
      logits: null,
    }),
    close: () => model.close(),
  };
}
