/** @file The autoencoder: diffusers' AutoencoderKL of a small size, 32×32 pixels to 8×8 latents of 4 channels. */
import '../../engine/graph/fluent.ts';
import { constant } from '../../engine/graph/ops/leaf.ts';
import { concat, reshape } from '../../engine/graph/ops/movement.ts';
import { reduceMean, reduceSum } from '../../engine/graph/ops/reduce.ts';
import type { Tensor } from '../../engine/graph/tensor.ts';
import { fillUniform, streamKey } from '../../engine/random/philox.ts';
import { type SingleCheckpoints, type SingleTask, type SingleTraining, trainSingle } from '../../engine/train/single.ts';
import type { Weights } from '../../engine/train/weights.ts';
import { autoencoderKL, readAutoencoderKL } from '../../models/foreign/diffusers/autoencoder-kl.ts';
import { type Drawings, floats, PIXELS, SIZE } from './drawings.ts';
import { chosen } from './judge.ts';

/** Its `config.json`; `scaling_factor` is set to one over the latents' deviation once it is trained. */
export const AUTOENCODER = {
  _class_name: 'AutoencoderKL',
  ...{ in_channels: 3, out_channels: 3, latent_channels: 4, sample_size: SIZE, block_out_channels: [12, 24, 48], layers_per_block: 1 },
  down_block_types: ['DownEncoderBlock2D', 'DownEncoderBlock2D', 'DownEncoderBlock2D'],
  up_block_types: ['UpDecoderBlock2D', 'UpDecoderBlock2D', 'UpDecoderBlock2D'],
  ...{ norm_num_groups: 4, mid_block_add_attention: false },
} as const;
export const LATENT = { channels: 4, side: SIZE / 4 } as const;
export const autoencoderConfig = () => readAutoencoderKL('autoencoder', AUTOENCODER);

/** Weight of the divergence to a unit normal beside absolute differences of pixels. */
const KL_WEIGHT = 1e-5;
export const AUTOENCODER_TRAINING: SingleTraining = {
  ...{ steps: 2500, batch: 32, seed: 0, rate: 1e-3, warmup: 100 },
  ...{ average: 'constant:0.999', weightDecay: 0, threads: 2 },
};

/** ½ Σ (μ² + σ² − 1 − ln σ²) per sample, [N]. Kingma & Welling 2013, appendix B. */
export const divergence = (mean: Tensor, logvar: Tensor): Tensor =>
  reduceSum(mean.square().add(logvar.exp()).sub(1).sub(logvar), [1, 2, 3]).mul(0.5);

/** Of so many of the images the colours are changed, so that the autoencoder serves other styles of drawing too. */
const RECOLOURED = 0.25;
/** Gives some of the images another contrast and brightness in each channel, in place; all values stay in −1…1. */
function recolour(images: Float32Array, seed: number, step: number): void {
  const n = images.length / PIXELS;
  const chance = new Float32Array(7 * n);
  fillUniform(chance, streamKey(seed, step, 'autoencoder.colours'), 7);
  for (let i = 0; i < n; i++) {
    if (chance[7 * i]! >= RECOLOURED) continue;
    for (let c = 0; c < 3; c++) {
      const gain = 0.4 + 0.6 * chance[7 * i + 1 + c]!;
      const shift = (1 - gain) * (2 * chance[7 * i + 4 + c]! - 1);
      const first = i * PIXELS + c * SIZE * SIZE;
      for (let p = first; p < first + SIZE * SIZE; p++) images[p] = gain * images[p]! + shift;
    }
  }
}

export function trainAutoencoder(
  train: Drawings,
  training = AUTOENCODER_TRAINING,
  onLoss?: (step: number, loss: number) => void,
  checkpoints?: SingleCheckpoints,
): Promise<Weights> {
  const config = autoencoderConfig();
  const task: SingleTask = {
    ...{ name: 'autoencoder', title: 'absolute differences and divergence', reference: '2112.10752' },
    ...{ shape: [3, SIZE, SIZE], beside: 0 },
    // What a head gives is one tensor: difference and divergence of each sample, [N, 2].
    build:
      (scope) =>
      ({ image, noise }) => {
        const model = autoencoderKL(scope, config);
        const posterior = model.encode(image!);
        const difference = reduceMean(model.decode(posterior.sample(noise!)).sub(image!).abs(), [1, 2, 3]);
        const column = (t: Tensor): Tensor => reshape(t, [image!.shape[0]!, 1]);
        return concat([column(difference), column(divergence(posterior.mean, posterior.logvar))], 1);
      },
    terms({ head, data, draw }) {
      const noise = draw.normal('latent', { shape: [data.shape[0]!, LATENT.channels, LATENT.side, LATENT.side] });
      const both = reduceMean(head({ image: data, noise }, constant(0)), [0]);
      const weights = constant(Float64Array.of(1, KL_WEIGHT), [2]);
      return { loss: both.mul(weights).sum() };
    },
  };
  const batchOf = (step: number) => {
    const images = floats(train, chosen(train.n, training.batch, training.seed, step, 'autoencoder.batch'));
    recolour(images, training.seed, step);
    return { images, labels: null };
  };
  return trainSingle(
    task,
    training,
    batchOf,
    ({ step, terms }) => onLoss?.(step, terms['autoencoder/loss']!),
    checkpoints ? { checkpoints } : {},
  );
}
