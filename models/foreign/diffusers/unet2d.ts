/** @file UNet2DModel: the UNets of DDPM, improved DDPM and score-based models. Ho et al. 2020, arXiv:2006.11239; Song et al. 2021, arXiv:2011.13456. */

import * as z from 'zod';
import { add, cast, cos, div, log, mul, silu, sin, sub } from '../../../engine/graph/ops/elementwise.ts';
import { concat, reshape } from '../../../engine/graph/ops/movement.ts';
import { embedding } from '../../../engine/graph/ops/select.ts';
import type { Tensor } from '../../../engine/graph/tensor.ts';
import { InputError } from '../../../engine/io/errors.ts';
import type { Scope } from '../../../engine/train/network.ts';
import type { RawPrediction } from '../../precondition.ts';
import * as key from './config.ts';
import { activations, conv, embedClass, embedVector, groupNorm, type Inputs, needed, stepsOf, waves, within } from './layers.ts';
import { middle, type ResidualStyle } from './residual.ts';
import { SKIP_DOWN, SKIP_UP, skipDown, skipUp } from './skip-blocks.ts';
import { DOWN_KINDS, down, type Level, mapName, plainName, UP_KINDS, up } from './unet-blocks.ts';

export const unet2dSchema = z.strictObject({
  sample_size: key.size(),
  in_channels: key.count(3),
  out_channels: key.count(3),
  center_input_sample: key.flag(false),
  time_embedding_type: key.word(['positional', 'fourier', 'learned'], 'positional'),
  time_embedding_dim: key.countOrNull(),
  freq_shift: key.real(0),
  flip_sin_to_cos: key.flag(true),
  down_block_types: key.names(['DownBlock2D', 'AttnDownBlock2D', 'AttnDownBlock2D', 'AttnDownBlock2D']),
  mid_block_type: key.wordOrNull(['UNetMidBlock2D'], 'UNetMidBlock2D'),
  up_block_types: key.names(['AttnUpBlock2D', 'AttnUpBlock2D', 'AttnUpBlock2D', 'UpBlock2D']),
  block_out_channels: key.counts([224, 448, 672, 896]),
  layers_per_block: key.perBlock(2),
  mid_block_scale_factor: key.real(1),
  downsample_padding: key.count(1, 0),
  downsample_type: key.word(['conv', 'resnet'], 'conv'),
  upsample_type: key.word(['conv', 'resnet'], 'conv'),
  act_fn: key.word(activations, 'silu'),
  attention_head_dim: key.countOrNull(8),
  norm_num_groups: key.count(32),
  attn_norm_num_groups: key.countOrNull(),
  norm_eps: key.real(1e-5),
  resnet_time_scale_shift: key.word(['default', 'scale_shift'], 'default'),
  add_attention: key.flag(true),
  class_embed_type: key.wordOrNull(['timestep', 'identity']),
  num_class_embeds: key.manyOrNull(),
  num_train_timesteps: key.manyOrNull(),
});
export type UNet2DConfig = key.Config<typeof unet2dSchema>;

/** Errors: InputError for unknown keys, values that are wrong or not supported, blocks that do not exist, lists of different lengths. */
export function readUNet2D(where: string, json: unknown): UNet2DConfig {
  const c = key.readConfig(where, unet2dSchema, ['dropout'], json);
  const fail = (text: string): never => {
    throw new InputError(`${where}: ${text}`);
  };
  const n = c.block_out_channels.length;
  checkBlocks(where, 'down_block_types', c.down_block_types, n, [...POSITIONAL_DOWN, ...SKIP_DOWN]);
  checkBlocks(where, 'up_block_types', c.up_block_types, n, [...POSITIONAL_UP, ...SKIP_UP]);
  if (c.time_embedding_type === 'learned' && c.num_train_timesteps === null)
    fail('num_train_timesteps is null; time_embedding_type learned needs it');
  return c;
}
const POSITIONAL_DOWN = Object.keys(DOWN_KINDS).filter((type) => !/Cross/.test(type));
const POSITIONAL_UP = Object.keys(UP_KINDS).filter((type) => !/Cross/.test(type));

/** Errors: a number of blocks that is not n, and blocks that are not among `known`. */
export function checkBlocks(where: string, name: string, types: readonly string[], n: number, known: readonly string[]): void {
  if (types.length !== n) throw new InputError(`${where}: ${name} has ${types.length} entries, block_out_channels has ${n}`);
  const wrong = types.find((type) => !known.includes(plainName(type)));
  if (wrong !== undefined) throw new InputError(`${where}: ${name}: block ${wrong} is not supported; supported are ${known.join(', ')}`);
}

/** [n] → [n, 2·width]: sines then cosines (or the reverse) of 2π w times the number. */
export function fourier(scope: Scope, values: Tensor, width: number, flip = false): Tensor {
  const weight = scope.buffer('time_proj.weight', [width], { kind: 'normal', std: 16 });
  const angles = mul(mul(reshape(values, [-1, 1]), weight), 2 * Math.PI);
  return concat(flip ? [cos(angles), sin(angles)] : [sin(angles), cos(angles)], 1);
}

function timeFeatures(scope: Scope, steps: Tensor, c: UNet2DConfig): Tensor {
  const width = c.block_out_channels[0]!;
  if (c.time_embedding_type === 'fourier') return fourier(scope, log(cast(steps, 'float32')), width);
  if (c.time_embedding_type === 'positional') return waves(steps, width, { flip: c.flip_sin_to_cos, shift: c.freq_shift });
  const table = scope('time_proj.weight', [c.num_train_timesteps!, width], { kind: 'normal', std: 1 });
  return embedding(table, cast(steps, 'int64'));
}

/** The vector that every block is told: time and class. */
function told(scope: Scope, steps: Tensor, inputs: Inputs, c: UNet2DConfig): Tensor {
  const width = c.time_embedding_dim ?? c.block_out_channels[0]! * 4;
  const time = embedVector(within(scope, 'time_embedding.'), timeFeatures(scope, steps, c), width);
  const label = (): Tensor => needed('UNet2DModel', inputs, 'class_labels');
  if (c.class_embed_type === 'identity') return add(time, label());
  if (c.class_embed_type === 'timestep')
    return add(time, embedVector(within(scope, 'class_embedding.'), timeFeatures(scope, stepsOf(label()), c), width));
  return c.num_class_embeds === null ? time : add(time, embedClass(scope, 'class_embedding', label(), c.num_class_embeds, width));
}

const styleOf = (c: UNet2DConfig): ResidualStyle => ({
  groups: c.norm_num_groups,
  eps: c.norm_eps,
  act: c.act_fn,
  shift: c.resnet_time_scale_shift,
});

function levelsOf(c: UNet2DConfig): readonly Level[] {
  const style = styleOf(c);
  return c.block_out_channels.map((out, i) => ({
    out,
    layers: c.layers_per_block,
    last: i === c.block_out_channels.length - 1,
    style,
    resnetStyle: style,
    headDim: c.attention_head_dim ?? out,
    padding: c.downsample_padding,
    resampler: c.downsample_type,
  }));
}

/**
 * UNet2DModel(sample [N,C,H,W], timestep [] or [N], class_labels): the output [N,out,H,W], hidden maps `encoder.HxW`, `decoder.HxW` and `bottleneck`.
 * With the Fourier embedding the timestep is σ, and the output is divided by it.
 */
export function unet2d(scope: Scope, c: UNet2DConfig): (inputs: Inputs) => RawPrediction {
  return (inputs) => {
    const steps = stepsOf(needed('UNet2DModel', inputs, 'timestep'));
    const given = needed('UNet2DModel', inputs, 'sample');
    const image = c.center_input_sample ? sub(mul(given, 2), 1) : given;
    const time = told(scope, steps, inputs, c);
    const features: Record<string, Tensor> = {};
    let x = conv(scope, 'conv_in', image, c.block_out_channels[0]!, 3);
    const skips = [x];
    let side: Tensor | null = image;
    const levels = levelsOf(c);
    levels.forEach((level, i) => {
      const inside = within(scope, `down_blocks.${i}.`);
      const type = plainName(c.down_block_types[i]!);
      const after = SKIP_DOWN.includes(type)
        ? skipDown(inside, type, x, side!, level, time)
        : { ...down(inside, type, x, level, { time, context: null }), side };
      skips.push(...after.skips);
      features[mapName('encoder', after.inner)] = after.inner;
      ({ x, side } = after);
    });
    if (c.mid_block_type !== null) x = middle(within(scope, 'mid_block.'), x, time, middleStyle(c), { attention: middleAttention(c) });
    features['bottleneck'] = x;
    side = null;
    levels.toReversed().forEach((level, i) => {
      const inside = within(scope, `up_blocks.${i}.`);
      const type = plainName(c.up_block_types[i]!);
      const rising = { ...level, layers: c.layers_per_block + 1, last: i === levels.length - 1, resampler: c.upsample_type };
      const after = SKIP_UP.includes(type)
        ? skipUp(inside, type, x, skips, rising, time, side)
        : { ...up(inside, type, x, skips, rising, { time, context: null }), side };
      features[mapName('decoder', after.inner)] = after.inner;
      ({ x, side } = after);
    });
    const hat = silu(groupNorm(scope, 'conv_norm_out', x, c.norm_num_groups, c.norm_eps));
    let output = conv(scope, 'conv_out', hat, c.out_channels, 3);
    if (side) output = add(output, side);
    if (c.time_embedding_type === 'fourier') output = div(output, reshape(cast(steps, 'float32'), [steps.shape[0]!, 1, 1, 1]));
    return { output, features };
  };
}

const middleStyle = (c: UNet2DConfig): ResidualStyle => ({ ...styleOf(c), divisor: c.mid_block_scale_factor });
function middleAttention(c: UNet2DConfig) {
  if (!c.add_attention) return null;
  const width = c.block_out_channels.at(-1)!;
  const headDim = c.attention_head_dim ?? width;
  // Without a number of its own, attention has a norm only where the time is added, not where it scales.
  const groups = c.attn_norm_num_groups ?? (c.resnet_time_scale_shift === 'default' ? c.norm_num_groups : null);
  return { heads: Math.floor(width / headDim), headDim, groups, eps: c.norm_eps, divisor: c.mid_block_scale_factor };
}
