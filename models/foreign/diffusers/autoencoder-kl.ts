/** @file AutoencoderKL: the autoencoders of latent diffusion. Rombach et al. 2022, arXiv:2112.10752. */
import * as z from 'zod';
import { add, clamp, exp, mul, silu } from '../../../engine/graph/ops/elementwise.ts';
import { split } from '../../../engine/graph/ops/movement.ts';
import type { Tensor } from '../../../engine/graph/tensor.ts';
import { InputError } from '../../../engine/io/errors.ts';
import type { Scope } from '../../../engine/train/network.ts';
import * as key from './config.ts';
import { activations, conv, groupNorm, within } from './layers.ts';
import { attendMap, enlarged, middle, type PositionalAttention, type ResidualStyle, residual, strided } from './residual.ts';

const DOWN = ['DownEncoderBlock2D', 'AttnDownEncoderBlock2D'] as const;
const UP = ['UpDecoderBlock2D', 'AttnUpDecoderBlock2D'] as const;
export const autoencoderKLSchema = z.strictObject({
  in_channels: key.count(3),
  out_channels: key.count(3),
  down_block_types: key.words(DOWN, ['DownEncoderBlock2D']),
  up_block_types: key.words(UP, ['UpDecoderBlock2D']),
  block_out_channels: key.counts([64]),
  layers_per_block: key.perBlock(1),
  act_fn: key.word(activations, 'silu'),
  latent_channels: key.count(4),
  norm_num_groups: key.count(32),
  sample_size: key.size(32),
  scaling_factor: key.real(0.18215),
  shift_factor: key.realOrNull(),
  latents_mean: key.realsOrNull(),
  latents_std: key.realsOrNull(),
  use_quant_conv: key.flag(true),
  use_post_quant_conv: key.flag(true),
  mid_block_add_attention: key.flag(true),
});
export type AutoencoderKLConfig = key.Config<typeof autoencoderKLSchema>;

/** The precision of half-precision runs. */
const IDLE = ['force_upcast'];

/** Errors: InputError as in `readConfig`, and lists of different lengths. */
export function readAutoencoderKL(where: string, json: unknown): AutoencoderKLConfig {
  const c = key.readConfig(where, autoencoderKLSchema, IDLE, json);
  const n = c.block_out_channels.length;
  for (const name of ['down_block_types', 'up_block_types'] as const)
    if (c[name].length !== n) throw new InputError(`${where}: ${name} has ${c[name].length} entries, block_out_channels has ${n}`);
  for (const name of ['latents_mean', 'latents_std'] as const) {
    const given = c[name];
    if (given !== null && given.length !== c.latent_channels)
      throw new InputError(`${where}: ${name} has ${given.length} entries, latent_channels is ${c.latent_channels}`);
  }
  return c;
}

const EPS = 1e-6;
const styleOf = (c: AutoencoderKLConfig): ResidualStyle => ({ groups: c.norm_num_groups, eps: EPS, act: c.act_fn, shift: 'default' });
const attentionOf = (c: AutoencoderKLConfig, width: number): PositionalAttention => ({
  heads: 1,
  headDim: width,
  groups: c.norm_num_groups,
  eps: EPS,
});

/** The residual layers of a block, each followed by attention in some of them. */
function layers(scope: Scope, x: Tensor, out: number, count: number, attention: boolean, c: AutoencoderKLConfig): Tensor {
  let y = x;
  for (let i = 0; i < count; i++) {
    y = residual(within(scope, `resnets.${i}.`), y, null, styleOf(c), { out });
    if (attention) y = attendMap(within(scope, `attentions.${i}.`), y, attentionOf(c, out));
  }
  return y;
}
const between = (scope: Scope, x: Tensor, c: AutoencoderKLConfig): Tensor => {
  const width = c.block_out_channels.at(-1)!;
  return middle(within(scope, 'mid_block.'), x, null, styleOf(c), {
    attention: c.mid_block_add_attention ? attentionOf(c, width) : null,
  });
};
const finish = (scope: Scope, x: Tensor, out: number, c: AutoencoderKLConfig): Tensor =>
  conv(scope, 'conv_out', silu(groupNorm(scope, 'conv_norm_out', x, c.norm_num_groups, EPS)), out, 3);

export interface Posterior {
  /** Mean and logarithm of the variance of the latents, [N,latent_channels,h,w]; the latter within −30…20. */
  readonly mean: Tensor;
  readonly logvar: Tensor;
  /** mean + σ·noise. */
  sample(noise: Tensor): Tensor;
}

export interface Autoencoder {
  /** Images [N,C,H,W] in −1…1. */
  encode(image: Tensor): Posterior;
  /** Latents as `encode` gives them: without the pipeline's scaling. */
  decode(latent: Tensor): Tensor;
}

/** AutoencoderKL with the checkpoint's names under the scope. */
export function autoencoderKL(scope: Scope, c: AutoencoderKLConfig): Autoencoder {
  const last = c.block_out_channels.length - 1;
  return {
    encode(image) {
      const inside = within(scope, 'encoder.');
      let x = conv(inside, 'conv_in', image, c.block_out_channels[0]!, 3);
      c.block_out_channels.forEach((out, i) => {
        const block = within(inside, `down_blocks.${i}.`);
        x = layers(block, x, out, c.layers_per_block, c.down_block_types[i] === 'AttnDownEncoderBlock2D', c);
        if (i < last) x = strided(within(block, 'downsamplers.0.'), x, 0);
      });
      const both = finish(inside, between(inside, x, c), 2 * c.latent_channels, c);
      const moments = c.use_quant_conv ? conv(scope, 'quant_conv', both, 2 * c.latent_channels, 1) : both;
      const [mean, raw] = split(moments, [c.latent_channels, c.latent_channels], 1) as [Tensor, Tensor];
      const logvar = clamp(raw, -30, 20);
      return { mean, logvar, sample: (noise) => add(mean, mul(exp(mul(logvar, 0.5)), noise)) };
    },
    decode(latent) {
      const inside = within(scope, 'decoder.');
      const z = c.use_post_quant_conv ? conv(scope, 'post_quant_conv', latent, c.latent_channels, 1) : latent;
      let x = between(inside, conv(inside, 'conv_in', z, c.block_out_channels[last]!, 3), c);
      c.block_out_channels.toReversed().forEach((out, i) => {
        const block = within(inside, `up_blocks.${i}.`);
        x = layers(block, x, out, c.layers_per_block + 1, c.up_block_types[i] === 'AttnUpDecoderBlock2D', c);
        if (i < last) x = enlarged(within(block, 'upsamplers.0.'), x);
      });
      return finish(inside, x, c.out_channels, c);
    },
  };
}
