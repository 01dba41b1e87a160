/**
 * @file DINOv2's image tower as transformers computes it, with or without registers: layer scale, a class token, positions interpolated to the image's size.
 * Oquab et al. 2023, arXiv:2304.07193; Darcet et al. 2023, arXiv:2309.16588.
 */
import * as z from 'zod';
import { add, mul, silu } from '../../engine/graph/ops/elementwise.ts';
import { concat, reshape, slice, split, transpose } from '../../engine/graph/ops/movement.ts';
import { resizeBicubic } from '../../engine/graph/ops/resize.ts';
import { fixed, ShapeError, show, type Tensor } from '../../engine/graph/tensor.ts';
import { InputError } from '../../engine/io/errors.ts';
import { type Scope, within } from '../../engine/train/network.ts';
import { ones, zeros } from '../layers.ts';
import { resizeAntialiased } from './antialias.ts';
import { count, flag, real, sides, size, word } from './diffusers/config.ts';
import { ACTIVATIONS, activation, type Config, checkHeads, readHfConfig } from './hf-config.ts';
import { attendHeads, dense, layerNorm, ledBy, patches, small } from './vit.ts';

const schema = z.object({
  model_type: word(['dinov2', 'dinov2_with_registers'], 'dinov2'),
  hidden_size: count(768),
  num_hidden_layers: count(12, 0),
  num_attention_heads: count(12),
  mlp_ratio: real(4),
  hidden_act: activation('gelu'),
  layer_norm_eps: real(1e-6),
  image_size: size(224),
  patch_size: size(14),
  num_channels: count(3),
  qkv_bias: flag(true),
  use_swiglu_ffn: flag(false),
  num_register_tokens: z.int().min(0).nullable().default(null).describe('a whole number from 0'),
});
/** About classification and backbones; about training. */
const IDLE = ['layerscale_value', 'apply_layernorm', 'reshape_hidden_states', 'use_mask_token', 'out_features', 'out_indices'].concat([
  'stage_names',
  '_out_features',
  '_out_indices',
]);
export type Dinov2Config = Config<typeof schema>;

/** Errors: InputError for unknown keys and values that are not supported. */
export function readDinov2(where: string, json: unknown): Dinov2Config {
  const config = readHfConfig(where, schema, json, IDLE);
  checkHeads(where, config.hidden_size, config.num_attention_heads);
  const [[height, width], [p, q]] = [sides(config.image_size)!, sides(config.patch_size)!];
  if (Math.floor(height / p) !== Math.floor(width / q))
    throw new InputError(`${where}: image_size ${height}x${width} has patches of ${p}x${q} that are no square; it must have`);
  return config;
}

/** Names of one kind of checkpoint: the published ones, and those inside transformers 5. */
export interface Dinov2Names {
  readonly query: string;
  readonly key: string;
  readonly value: string;
  readonly out: string;
  /** One fused layer, or a gate and a value on their own. */
  readonly gated: readonly [string] | readonly [string, string];
  readonly down: string;
}
const PUBLISHED: Dinov2Names = {
  query: 'attention.attention.query',
  key: 'attention.attention.key',
  value: 'attention.attention.value',
  out: 'attention.output.dense',
  gated: ['mlp.weights_in'],
  down: 'mlp.weights_out',
};
const RENAMED: Dinov2Names = {
  query: 'attention.q_proj',
  key: 'attention.k_proj',
  value: 'attention.v_proj',
  out: 'attention.o_proj',
  gated: ['mlp.gate_proj', 'mlp.up_proj'],
  down: 'mlp.down_proj',
};
/** The naming of a checkpoint, told by its names. */
export const dinov2Names = (names: Iterable<string>): Dinov2Names =>
  [...names].some((name) => name.includes('.attention.q_proj.')) ? RENAMED : PUBLISHED;

/** SwiGLU's width: two thirds of the hidden layer, rounded up to a multiple of 8. Shazeer 2020, arXiv:2002.05202. */
const gatedWidth = (hidden: number): number => Math.ceil(Math.floor((hidden * 2) / 3) / 8) * 8;

function feedForward(scope: Scope, x: Tensor, o: Dinov2Config, names: Dinov2Names): Tensor {
  const hidden = Math.floor(o.hidden_size * o.mlp_ratio);
  if (!o.use_swiglu_ffn) return dense(scope, 'mlp.fc2', ACTIVATIONS[o.hidden_act](dense(scope, 'mlp.fc1', x, hidden)), o.hidden_size);
  const width = gatedWidth(hidden);
  const [fused, up] = names.gated;
  const [gate, value] = (
    up ? [dense(scope, fused, x, width), dense(scope, up, x, width)] : split(dense(scope, fused, x, 2 * width), [width, width], 2)
  ) as [Tensor, Tensor];
  return dense(scope, names.down, mul(silu(gate), value), o.hidden_size);
}

function block(scope: Scope, x: Tensor, o: Dinov2Config, names: Dinov2Names): Tensor {
  const c = o.hidden_size;
  const scaled = (name: string, y: Tensor): Tensor => mul(y, scope(`${name}.lambda1`, [c], ones));
  const normed = layerNorm(scope, 'norm1', x, o.layer_norm_eps);
  const [q, k, v] = [names.query, names.key, names.value].map((name) => dense(scope, name, normed, c, o.qkv_bias)) as [
    Tensor,
    Tensor,
    Tensor,
  ];
  const attended = dense(scope, names.out, attendHeads(q, k, v, o.num_attention_heads), c);
  const mixed = add(x, scaled('layer_scale1', attended));
  return add(mixed, scaled('layer_scale2', feedForward(scope, layerNorm(scope, 'norm2', mixed, o.layer_norm_eps), o, names)));
}

/** The positions of the patches, [1, side², C], for a grid of another size: bicubic, smoothed where there are registers. */
function gridPositions(table: Tensor, side: number, grid: readonly [number, number], antialias: boolean): Tensor {
  if (grid[0] === side && grid[1] === side) return table;
  const c = fixed('dinov2', table.shape[2]);
  const map = transpose(reshape(table, [1, side, side, c]), [0, 3, 1, 2]);
  const resized = antialias ? resizeAntialiased(map, grid) : resizeBicubic(map, grid);
  return reshape(transpose(resized, [0, 2, 3, 1]), [1, grid[0] * grid[1], c]);
}

export interface Dinov2States {
  /** After the last norm: the class token, the registers, the patches row by row; [N,T,C]. */
  readonly lastHiddenState: Tensor;
  /** The class token: [N,C]. */
  readonly pooled: Tensor;
}

/** Dinov2Model. pixels [N,C,H,W] of any size from one patch on. */
export const dinov2 =
  (scope: Scope, o: Dinov2Config, names: Dinov2Names = PUBLISHED) =>
  (pixels: Tensor): Dinov2States => {
    const [c, patch] = [o.hidden_size, sides(o.patch_size)!];
    const side = Math.floor(sides(o.image_size)![0] / patch[0]);
    if (pixels.shape.length !== 4 || pixels.shape[1] !== o.num_channels)
      throw new ShapeError(`dinov2: needs images [N,${o.num_channels},H,W], got ${show(pixels)}`);
    const [h, w] = pixels.shape.slice(2).map((d) => fixed('dinov2', d)) as [number, number];
    const tokens = patches(scope, 'embeddings.patch_embeddings.projection', pixels, patch, c, true);
    const grid = [Math.floor(h / patch[0]), Math.floor(w / patch[1])] as const;
    const registers = o.model_type === 'dinov2_with_registers' ? (o.num_register_tokens ?? 4) : 0;
    const table = scope('embeddings.position_embeddings', [1, 1 + side * side, c], small);
    const positions = gridPositions(slice(table, 1, 1), side, grid, registers > 0 || o.model_type === 'dinov2_with_registers');
    const first = add(scope('embeddings.cls_token', [1, 1, c], small), slice(table, 1, 0, 1));
    const leading = registers > 0 ? concat([first, scope('embeddings.register_tokens', [1, registers, c], zeros)], 1) : first;
    let x = ledBy(reshape(leading, [1 + registers, c]), add(tokens, positions));
    for (let i = 0; i < o.num_hidden_layers; i++) x = block(within(scope, `encoder.layer.${i}.`), x, o, names);
    const lastHiddenState = layerNorm(scope, 'layernorm', x, o.layer_norm_eps);
    return { lastHiddenState, pooled: reshape(slice(lastHiddenState, 1, 0, 1), [pixels.shape[0]!, c]) };
  };

/** What a checkpoint holds beside the tower: the token that hides patches in training. */
export const isDinov2Weight = (name: string): boolean => name !== 'embeddings.mask_token';
