/** @file UNet2DConditionModel: the UNets of Stable Diffusion 1, 2 and XL. Rombach et al. 2022, arXiv:2112.10752; Podell et al. 2023, arXiv:2307.01952. */
import * as z from 'zod';
import { add, cast, mul, sub } from '../../../engine/graph/ops/elementwise.ts';
import { concat, reshape } from '../../../engine/graph/ops/movement.ts';
import { fixed, type Tensor } from '../../../engine/graph/tensor.ts';
import { InputError } from '../../../engine/io/errors.ts';
import type { Scope } from '../../../engine/train/network.ts';
import type { RawPrediction } from '../../precondition.ts';
import * as key from './config.ts';
import {
  ACTIVATIONS,
  activations,
  againstOf,
  conv,
  dense,
  embedClass,
  embedVector,
  groupNorm,
  type Inputs,
  keyBias,
  needed,
  stepsOf,
  waves,
  within,
} from './layers.ts';
import { poolText } from './pool-text.ts';
import { middle, type ResidualStyle, residual } from './residual.ts';
import { attendWithAddedKeys, type Context, spatialTransformer } from './spatial-transformer.ts';
import { DOWN_KINDS, down, type Level, mapName, plainName, UP_KINDS, up } from './unet-blocks.ts';
import { checkBlocks, fourier } from './unet2d.ts';

const CROSS_DOWN = ['CrossAttnDownBlock2D', 'CrossAttnDownBlock2D', 'CrossAttnDownBlock2D', 'DownBlock2D'];
const CROSS_UP = ['UpBlock2D', 'CrossAttnUpBlock2D', 'CrossAttnUpBlock2D', 'CrossAttnUpBlock2D'];
export const unet2dConditionSchema = z.strictObject({
  sample_size: key.size(),
  in_channels: key.count(4),
  out_channels: key.count(4),
  center_input_sample: key.flag(false),
  flip_sin_to_cos: key.flag(true),
  freq_shift: key.real(0),
  down_block_types: key.names(CROSS_DOWN),
  mid_block_type: key.wordOrNull(['UNetMidBlock2DCrossAttn', 'UNetMidBlock2DSimpleCrossAttn', 'UNetMidBlock2D'], 'UNetMidBlock2DCrossAttn'),
  up_block_types: key.names(CROSS_UP),
  only_cross_attention: key.flagEach(false),
  block_out_channels: key.counts([320, 640, 1280, 1280]),
  layers_per_block: key.layersEach(2),
  downsample_padding: key.count(1, 0),
  mid_block_scale_factor: key.real(1),
  act_fn: key.word(activations, 'silu'),
  norm_num_groups: key.count(32),
  norm_eps: key.real(1e-5),
  cross_attention_dim: key.countEach(1280),
  transformer_layers_per_block: key.depths().default(1),
  reverse_transformer_layers_per_block: key.depths().nullable().default(null),
  encoder_hid_dim: key.countOrNull(),
  encoder_hid_dim_type: key.wordOrNull(['text_proj']),
  attention_head_dim: key.countEach(8),
  num_attention_heads: key.only(null),
  dual_cross_attention: key.only(false),
  use_linear_projection: key.flag(false),
  class_embed_type: key.wordOrNull(['timestep', 'identity', 'projection', 'simple_projection']),
  addition_embed_type: key.wordOrNull(['text', 'text_time']),
  addition_time_embed_dim: key.countOrNull(),
  addition_embed_type_num_heads: key.count(64),
  num_class_embeds: key.manyOrNull(),
  resnet_time_scale_shift: key.word(['default', 'scale_shift'], 'default'),
  resnet_skip_time_act: key.flag(false),
  resnet_out_scale_factor: key.real(1),
  time_embedding_type: key.word(['positional', 'fourier'], 'positional'),
  time_embedding_dim: key.countOrNull(),
  time_embedding_act_fn: key.wordOrNull(activations),
  timestep_post_act: key.wordOrNull(activations),
  time_cond_proj_dim: key.countOrNull(),
  conv_in_kernel: key.count(3),
  conv_out_kernel: key.count(3),
  projection_class_embeddings_input_dim: key.countOrNull(),
  attention_type: key.word(['default'], 'default'),
  class_embeddings_concat: key.flag(false),
  mid_block_only_cross_attention: z.boolean().nullable().default(null).describe('true, false or null'),
  cross_attention_norm: key.wordOrNull(['layer_norm', 'group_norm']),
});
export type UNet2DConditionConfig = key.Config<typeof unet2dConditionSchema>;

/** `upcast_attention` chooses the precision of half-precision runs. */
const IDLE = ['dropout', 'upcast_attention'];

/** Errors: InputError for unknown keys, values that are wrong or not supported, blocks that do not exist, and lists or sizes that do not fit. */
export function readUNet2DCondition(where: string, json: unknown): UNet2DConditionConfig {
  const c = key.readConfig(where, unet2dConditionSchema, IDLE, json);
  const n = c.block_out_channels.length;
  checkBlocks(where, 'down_block_types', c.down_block_types, n, Object.keys(DOWN_KINDS));
  checkBlocks(where, 'up_block_types', c.up_block_types, n, Object.keys(UP_KINDS));
  for (const name of ['only_cross_attention', 'layers_per_block', 'cross_attention_dim', 'attention_head_dim'] as const)
    key.each<unknown>(where, name, c[name], n);
  checkDepths(where, c, n);
  const needs = (name: keyof UNet2DConditionConfig, because: keyof UNet2DConditionConfig): void => {
    if (c[name] === null) throw new InputError(`${where}: ${name} is null; ${because} ${key.shown(c[because])} needs it`);
  };
  if (c.addition_embed_type === 'text_time') needs('addition_time_embed_dim', 'addition_embed_type');
  if (c.addition_embed_type === 'text_time') needs('projection_class_embeddings_input_dim', 'addition_embed_type');
  if (/projection/.test(c.class_embed_type ?? '')) needs('projection_class_embeddings_input_dim', 'class_embed_type');
  if (c.encoder_hid_dim_type !== null) needs('encoder_hid_dim', 'encoder_hid_dim_type');
  if (new Set([c.cross_attention_dim].flat()).size > 1 && (c.encoder_hid_dim !== null || c.addition_embed_type === 'text'))
    throw new InputError(`${where}: cross_attention_dim has several widths, but the text is projected to one`);
  return c;
}

function checkDepths(where: string, c: UNet2DConditionConfig, n: number): void {
  const given = c.transformer_layers_per_block;
  if (typeof given !== 'number' && given.some((d) => typeof d !== 'number') && c.reverse_transformer_layers_per_block === null)
    throw new InputError(`${where}: transformer_layers_per_block has lists; reverse_transformer_layers_per_block is needed then`);
  for (const [name, lists, more] of [
    ['transformer_layers_per_block', key.each(where, 'transformer_layers_per_block', given, n), 0],
    [
      'reverse_transformer_layers_per_block',
      key.each(where, 'reverse_transformer_layers_per_block', c.reverse_transformer_layers_per_block ?? 1, n),
      1,
    ],
  ] as const) {
    const layers = key.each(where, 'layers_per_block', c.layers_per_block, n);
    lists.forEach((depth, i) => {
      const wanted = (more === 0 ? layers[i]! : layers.at(-1 - i)!) + more;
      if (typeof depth !== 'number' && depth.length < wanted)
        throw new InputError(`${where}: ${name}: block ${i} has ${depth.length} depths for ${wanted} layers`);
    });
  }
}

/** The class, in the width of the time. */
function embedLabel(
  scope: Scope,
  inputs: Inputs,
  width: number,
  c: UNet2DConditionConfig,
  features: (steps: Tensor) => Tensor,
): Tensor | null {
  if (c.class_embed_type === null && c.num_class_embeds === null) return null;
  const label = needed('UNet2DConditionModel', inputs, 'class_labels');
  const inside = within(scope, 'class_embedding.');
  if (c.class_embed_type === null) return embedClass(scope, 'class_embedding', label, c.num_class_embeds!, width);
  if (c.class_embed_type === 'identity') return label;
  if (c.class_embed_type === 'timestep') return embedVector(inside, features(stepsOf(label)), width, { act: c.act_fn });
  if (c.class_embed_type === 'projection') return embedVector(inside, label, width);
  return dense(scope, 'class_embedding', label, width);
}

/** What is added to the time beside the class: pooled text, or pooled text and sizes. */
function embedAddition(scope: Scope, inputs: Inputs, text: Tensor | undefined, width: number, c: UNet2DConditionConfig): Tensor | null {
  if (c.addition_embed_type === null) return null;
  const inside = within(scope, 'add_embedding.');
  if (c.addition_embed_type === 'text') return poolText(inside, text!, width, c.addition_embed_type_num_heads);
  const pooled = needed('UNet2DConditionModel', inputs, 'added_cond_kwargs.text_embeds');
  const sizes = needed('UNet2DConditionModel', inputs, 'added_cond_kwargs.time_ids');
  const each = waves(sizes, c.addition_time_embed_dim!, { flip: c.flip_sin_to_cos, shift: c.freq_shift });
  const all = fixed('time_ids', sizes.shape[1]) * c.addition_time_embed_dim!;
  return embedVector(inside, concat([pooled, reshape(each, [sizes.shape[0]!, all])], 1), width);
}

/** The vector that every block is told. */
function told(scope: Scope, steps: Tensor, inputs: Inputs, c: UNet2DConditionConfig): Tensor {
  const first = c.block_out_channels[0]!;
  const byFourier = c.time_embedding_type === 'fourier';
  const width = c.time_embedding_dim ?? first * (byFourier ? 2 : 4);
  const features = (values: Tensor): Tensor =>
    byFourier
      ? fourier(scope, cast(values, 'float32'), width / 2, c.flip_sin_to_cos)
      : waves(values, first, { flip: c.flip_sin_to_cos, shift: c.freq_shift });
  const extra = c.time_cond_proj_dim === null ? undefined : inputs['timestep_cond'];
  let time = embedVector(within(scope, 'time_embedding.'), features(steps), width, { act: c.act_fn, post: c.timestep_post_act, extra });
  if (c.time_cond_proj_dim !== null && !extra)
    scope('time_embedding.cond_proj.weight', [fixed('time', features(steps).shape[1]), c.time_cond_proj_dim]);
  const label = embedLabel(scope, inputs, width, c, features);
  // A sum with zeros gives both one leading size where the time is [1].
  if (label) time = c.class_embeddings_concat ? concat([add(time, mul(label, 0)), add(label, mul(time, 0))], 1) : add(time, label);
  const addition = embedAddition(scope, inputs, inputs['encoder_hidden_states'], width, c);
  if (addition) time = add(time, addition);
  return c.time_embedding_act_fn === null ? time : ACTIVATIONS[c.time_embedding_act_fn](time);
}

function contextOf(scope: Scope, inputs: Inputs, c: UNet2DConditionConfig): Context | null {
  const text = inputs['encoder_hidden_states'];
  if (!text) return null;
  const project = (t: Tensor): Tensor =>
    c.encoder_hid_dim === null ? t : dense(scope, 'encoder_hid_proj', t, [c.cross_attention_dim].flat()[0]!);
  return { text: project(text), bias: keyBias(inputs['encoder_attention_mask']), against: againstOf(inputs, project) };
}

/** Levels on the way down and, with one more layer each, on the way up. */
export function levelsOf(c: UNet2DConditionConfig): { readonly falling: readonly Level[]; readonly rising: readonly Level[] } {
  const n = c.block_out_channels.length;
  const all = <T>(value: T | readonly T[]): readonly T[] => (Array.isArray(value) ? value : new Array<T>(n).fill(value as T));
  const style: ResidualStyle = { groups: c.norm_num_groups, eps: c.norm_eps, act: c.act_fn, shift: c.resnet_time_scale_shift };
  const heads = all<number>(c.attention_head_dim);
  const [layers, onlyCross] = [all<number>(c.layers_per_block), all<boolean>(c.only_cross_attention)];
  const depthsDown = all<number | readonly number[]>(c.transformer_layers_per_block as number);
  const depthsUp =
    c.reverse_transformer_layers_per_block === null
      ? depthsDown.toReversed()
      : all<number | readonly number[]>(c.reverse_transformer_layers_per_block as number);
  const level = (i: number, at: number, more: number, depth: number | readonly number[]): Level => ({
    out: c.block_out_channels[at]!,
    layers: layers[at]! + more,
    last: i === n - 1,
    style,
    resnetStyle: { ...style, divisor: c.resnet_out_scale_factor, plainTime: c.resnet_skip_time_act },
    headDim: heads[i]!, // in the order of the blocks on both ways, unlike the numbers of heads
    padding: c.downsample_padding,
    resampler: 'conv',
    transformer: { heads: heads[at]!, linear: c.use_linear_projection, onlyCross: onlyCross[at]!, depths: depth },
    addedKeys: { onlyCross: onlyCross[at]!, norm: c.cross_attention_norm },
  });
  return {
    falling: layers.map((_, i) => level(i, i, 0, depthsDown[i]!)),
    rising: layers.map((_, i) => level(i, n - 1 - i, 1, depthsUp[i]!)),
  };
}

function middleBlock(scope: Scope, x: Tensor, time: Tensor, context: Context | null, level: Level, c: UNet2DConditionConfig): Tensor {
  const style = { ...level.style, divisor: c.mid_block_scale_factor };
  if (c.mid_block_type === null) return x;
  if (c.mid_block_type === 'UNetMidBlock2D') return middle(scope, x, time, style, { attention: null, layers: 0 });
  const simple = c.mid_block_type === 'UNetMidBlock2DSimpleCrossAttn';
  const o = { out: level.out };
  const inner = simple ? { ...style, plainTime: c.resnet_skip_time_act } : style;
  const y = residual(within(scope, 'resnets.0.'), x, time, inner, o);
  const inside = within(scope, 'attentions.0.');
  const { depths: depth, ...transformer } = level.transformer!;
  const { groups } = style;
  const onlyCross = c.mid_block_only_cross_attention ?? c.only_cross_attention === true;
  const seen = simple
    ? attendWithAddedKeys(inside, y, context!, { headDim: level.headDim, groups, onlyCross, norm: c.cross_attention_norm })
    : spatialTransformer(inside, y, context!, { ...transformer, onlyCross: false, groups, depth: [depth].flat()[0]! });
  return residual(within(scope, 'resnets.1.'), seen, time, inner, o);
}

const needsText = (c: UNet2DConditionConfig): boolean =>
  [...c.down_block_types, c.mid_block_type ?? '', ...c.up_block_types].some((type) => /Cross/.test(type)) ||
  c.addition_embed_type === 'text';

/**
 * UNet2DConditionModel(sample [N,C,H,W], timestep [] or [N], encoder_hidden_states [N,T,D], encoder_attention_mask, class_labels, timestep_cond,
 * added_cond_kwargs.text_embeds, added_cond_kwargs.time_ids): the output [N,out,H,W], hidden maps `encoder.HxW`, `decoder.HxW` and `bottleneck`.
 */
export function unet2dCondition(scope: Scope, c: UNet2DConditionConfig): (inputs: Inputs) => RawPrediction {
  const { falling, rising } = levelsOf(c);
  return (inputs) => {
    const steps = stepsOf(needed('UNet2DConditionModel', inputs, 'timestep'));
    const sample = needed('UNet2DConditionModel', inputs, 'sample');
    if (needsText(c)) needed('UNet2DConditionModel', inputs, 'encoder_hidden_states');
    const time = told(scope, steps, inputs, c);
    const context = contextOf(scope, inputs, c);
    const features: Record<string, Tensor> = {};
    let x = conv(scope, 'conv_in', c.center_input_sample ? sub(mul(sample, 2), 1) : sample, c.block_out_channels[0]!, c.conv_in_kernel);
    const skips = [x];
    falling.forEach((level, i) => {
      const after = down(within(scope, `down_blocks.${i}.`), plainName(c.down_block_types[i]!), x, level, { time, context });
      skips.push(...after.skips);
      features[mapName('encoder', after.inner)] = after.inner;
      x = after.x;
    });
    x = middleBlock(within(scope, 'mid_block.'), x, time, context, falling.at(-1)!, c);
    features['bottleneck'] = x;
    const uneven = [2, 3].some((axis) => fixed('sample', sample.shape[axis]) % 2 ** (falling.length - 1) !== 0);
    rising.forEach((level, i) => {
      const next = skips.at(-1 - level.layers);
      const size = uneven && next ? ([fixed('skip', next.shape[2]), fixed('skip', next.shape[3])] as const) : undefined;
      const after = up(within(scope, `up_blocks.${i}.`), plainName(c.up_block_types[i]!), x, skips, level, { time, context }, size);
      features[mapName('decoder', after.inner)] = after.inner;
      x = after.x;
    });
    const hat = ACTIVATIONS[c.act_fn](groupNorm(scope, 'conv_norm_out', x, c.norm_num_groups, c.norm_eps));
    return { output: conv(scope, 'conv_out', hat, c.out_channels, c.conv_out_kernel), features };
  };
}
