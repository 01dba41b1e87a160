/** @file DiTTransformer2DModel: the diffusion transformer for classes. Peebles and Xie 2023, arXiv:2212.09748. */
import * as z from 'zod';
import { add, mul, silu } from '../../../engine/graph/ops/elementwise.ts';
import { constant } from '../../../engine/graph/ops/leaf.ts';
import { reshape, split } from '../../../engine/graph/ops/movement.ts';
import { ShapeError, show, type Tensor } from '../../../engine/graph/tensor.ts';
import { InputError } from '../../../engine/io/errors.ts';
import type { Scope } from '../../../engine/train/network.ts';
import type { RawPrediction } from '../../precondition.ts';
import * as key from './config.ts';
import {
  attend,
  dense,
  embedClass,
  embedNumber,
  feedForward,
  feedForwards,
  type Inputs,
  layerNorm,
  needed,
  stepsOf,
  within,
} from './layers.ts';
import { checkWidth, gridOf, modulated, modulation, patchEmbed, places, shifted, tokenFeatures, unpatch } from './tokens.ts';

export const ditSchema = z.strictObject({
  num_attention_heads: key.count(16),
  attention_head_dim: key.count(72),
  in_channels: key.count(4),
  out_channels: key.countOrNull(),
  num_layers: key.layers(28),
  attention_bias: key.flag(true),
  sample_size: key.count(32),
  patch_size: key.count(2),
  activation_fn: key.word(feedForwards, 'gelu-approximate'),
  num_embeds_ada_norm: key.many(1000),
  norm_type: key.word(['ada_norm_zero'], 'ada_norm_zero'),
  norm_elementwise_affine: key.flag(false),
  norm_eps: key.real(1e-5),
});
export type DiTConfig = key.Config<typeof ditSchema>;

/** Groups of a norm that only maps have; the precision of half-precision runs. */
const IDLE = ['dropout', 'norm_num_groups', 'upcast_attention'];
/** Keys of the older class for other uses, at what they must be here. */
const OLDER: Readonly<Record<string, unknown>> = {
  attention_type: 'default',
  caption_channels: null,
  cross_attention_dim: null,
  double_self_attention: false,
  interpolation_scale: null,
  num_vector_embeds: null,
  only_cross_attention: false,
  use_additional_conditions: null,
  use_linear_projection: false,
};
/** The keys of Transformer2DModel without those that say nothing here. Errors: InputError for a use that is another network's. */
export function withoutOlderKeys(
  where: string,
  json: unknown,
  older: Readonly<Record<string, unknown>>,
): Readonly<Record<string, unknown>> {
  const entries = Object.entries(key.record(where, json)).filter(([name, value]) => {
    if (!Object.hasOwn(older, name)) return true;
    if (value !== older[name])
      throw new InputError(`${where}: ${name} is ${key.shown(value)}; only ${key.shown(older[name])} is supported`);
    return false;
  });
  return Object.fromEntries(entries);
}

/** Errors: InputError as in `readConfig`, and a width that has no places. */
export function readDiT(where: string, json: unknown): DiTConfig {
  const c = key.readConfig(where, ditSchema, IDLE, withoutOlderKeys(where, json, OLDER));
  checkWidth(where, c.num_attention_heads * c.attention_head_dim);
  return c;
}

/** Time and class, [N,width]; the table's last row is the null class. */
function condition(scope: Scope, inputs: Inputs, width: number, c: DiTConfig): Tensor {
  const time = embedNumber(within(scope, 'timestep_embedder.'), stepsOf(needed('DiT', inputs, 'timestep')), width, 1);
  const label = needed('DiT', inputs, 'class_labels');
  return add(time, embedClass(scope, 'class_embedder.embedding_table', label, c.num_embeds_ada_norm + 1, width));
}

function block(scope: Scope, tokens: Tensor, inputs: Inputs, width: number, c: DiTConfig): Tensor {
  const told = condition(within(scope, 'norm1.emb.'), inputs, width, c);
  const [shift, scale, gate, shift2, scale2, gate2] = modulation(scope, 'norm1.linear', told, width, 6) as [
    Tensor,
    Tensor,
    Tensor,
    Tensor,
    Tensor,
    Tensor,
  ];
  const heads = { heads: c.num_attention_heads, headDim: c.attention_head_dim, bias: c.attention_bias };
  const x = add(tokens, mul(gate, attend(within(scope, 'attn1.'), modulated(tokens, shift, scale), heads)));
  const hat = shifted(layerNorm(scope, 'norm3', x, c.norm_eps, c.norm_elementwise_affine), shift2, scale2);
  return add(x, mul(gate2, feedForward(within(scope, 'ff.'), hat, c.activation_fn)));
}

/**
 * DiTTransformer2DModel(hidden_states [N,C,S,S], timestep [] or [N], class_labels int64 [N] or weights over the classes and the null class): the output
 * [N,out,S,S], the tokens after each block as maps, `bottleneck`.
 */
export function ditTransformer(scope: Scope, c: DiTConfig): (inputs: Inputs) => RawPrediction {
  const width = c.num_attention_heads * c.attention_head_dim;
  return (inputs) => {
    const image = needed('DiT', inputs, 'hidden_states');
    const grid = gridOf('DiT', image, c.patch_size);
    if (grid.rows !== grid.columns) throw new ShapeError(`DiT: ${show(image)} is not square`);
    const table = places(grid, width, Math.floor(c.sample_size / c.patch_size), 1);
    let x = add(patchEmbed(within(scope, 'pos_embed.'), image, c.patch_size, width), constant(table, [1, grid.rows * grid.columns, width]));
    const after: Tensor[] = [];
    for (let i = 0; i < c.num_layers; i++) {
      x = block(within(scope, `transformer_blocks.${i}.`), x, inputs, width, c);
      after.push(x);
    }
    const told = condition(within(scope, 'transformer_blocks.0.norm1.emb.'), inputs, width, c);
    const both = dense(scope, 'proj_out_1', silu(told), 2 * width);
    const [shift, scale] = split(reshape(both, [both.shape[0]!, 1, 2 * width]), [width, width], 2) as [Tensor, Tensor];
    const channels = c.out_channels ?? c.in_channels;
    const patches = dense(scope, 'proj_out_2', modulated(x, shift, scale), c.patch_size ** 2 * channels);
    return { output: unpatch(patches, grid.rows, c.patch_size, channels), features: tokenFeatures(after, grid) };
  };
}
