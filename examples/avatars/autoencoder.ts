/** @file The autoencoder: diffusers' AutoencoderKL of a small size, 32×32 pixels to 8×8 latents of 4 channels. */
import '../../engine/graph/fluent.ts';
import { constant } from '../../engine/graph/ops/leaf.ts';
import { concat, reshape } from '../../engine/graph/ops/movement.ts';
import { reduceMean, reduceSum } from '../../engine/graph/ops/reduce.ts';
import type { Tensor } from '../../engine/graph/tensor.ts';
import { fillUniform, streamKey } from '../../engine/random/philox.ts';
import type { Scope } from '../../engine/train/network.ts';
import { type SingleCheckpoints, type SingleTask, type SingleTraining, trainSingle } from '../../engine/train/single.ts';
import type { Weights } from '../../engine/train/weights.ts';
import { autoencoderKL, readAutoencoderKL } from '../../models/foreign/diffusers/autoencoder-kl.ts';
import { type Drawings, floats, PIXELS, SIZE } from './drawings.ts';
import { chosen } from './judge.ts';
import { reground, WHITE } from './style.ts';

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
  ...{ steps: 8000, batch: 8, seed: 0, rate: 1e-3, warmup: 100 },
  ...{ average: 'constant:0.999', weightDecay: 0, threads: 2 },
};

/** Of the decoder alone, which makes the teacher wait no longer. */
export const DECODER_TRAINING: SingleTraining = { ...AUTOENCODER_TRAINING, steps: 4000 };

/** ½ Σ (μ² + σ² − 1 − ln σ²) per sample, [N]. Kingma & Welling 2013, appendix B. */
export const divergence = (mean: Tensor, logvar: Tensor): Tensor =>
  reduceSum(mean.square().add(logvar.exp()).sub(1).sub(logvar), [1, 2, 3]).mul(0.5);

/** So many of the images stand on a ground of any colour, so that the autoencoder serves other styles of drawing too. */
const REGROUNDED = 0.15;
function onOtherGround(images: Float32Array, seed: number, step: number): void {
  const n = images.length / PIXELS;
  const chance = new Float32Array(4 * n);
  fillUniform(chance, streamKey(seed, step, 'autoencoder.ground'), 4);
  const colour = (i: number, c: number): number => 2 * chance[4 * i + 1 + c]! - 1;
  for (let i = 0; i < n; i++) if (chance[4 * i]! < REGROUNDED) reground(images, i, WHITE, [colour(i, 0), colour(i, 1), colour(i, 2)]);
}

/** Where an encoder is finished: its weights stay, those of the decoder are trained. */
const withFixedEncoder = (scope: Scope): Scope =>
  Object.assign(
    ((name, shape, init = { kind: 'constant', value: 0 }) =>
      /^(encoder|quant_conv)\./.test(name) ? scope.buffer(name, shape, init) : scope(name, shape, init)) as Scope,
    { buffer: scope.buffer },
  );

export interface AutoencoderRun {
  readonly training: SingleTraining;
  readonly onLoss?: (step: number, loss: number) => void;
  readonly checkpoints?: SingleCheckpoints;
  /** An autoencoder whose decoder alone goes on training; latents stay what they are. */
  readonly start?: Weights;
}
export function trainAutoencoder(train: Drawings, { training, onLoss, checkpoints, start }: AutoencoderRun): Promise<Weights> {
  const config = autoencoderConfig();
  const name = start ? 'decoder' : 'autoencoder';
  const task: SingleTask = {
    ...{ name, title: 'absolute differences and divergence', reference: '2112.10752' },
    ...{ shape: [3, SIZE, SIZE], beside: 0 },
    // What a head gives is one tensor: difference and divergence of each sample, [N, 2].
    build:
      (scope) =>
      ({ image, noise }) => {
        const model = autoencoderKL(start ? withFixedEncoder(scope) : scope, config);
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
    const images = floats(train, chosen(train.n, training.batch, training.seed, step, `${name}.batch`));
    onOtherGround(images, training.seed, step);
    return { images, labels: null };
  };
  return trainSingle(task, training, batchOf, ({ step, terms }) => onLoss?.(step, terms[`${name}/loss`]!), {
    ...(checkpoints ? { checkpoints } : {}),
    ...(start ? { start } : {}),
  });
}
