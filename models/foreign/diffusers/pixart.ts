/** @file PixArtTransformer2DModel: PixArt-α and -Σ. Chen et al. 2023, arXiv:2310.00426; 2024, arXiv:2403.04692. */
import * as z from 'zod';
import { add, mul, silu } from '../../../engine/graph/ops/elementwise.ts';
import { constant } from '../../../engine/graph/ops/leaf.ts';
import { concat, reshape } from '../../../engine/graph/ops/movement.ts';
import type { Tensor } from '../../../engine/graph/tensor.ts';
import { InputError } from '../../../engine/io/errors.ts';
import type { Scope } from '../../../engine/train/network.ts';
import type { RawPrediction } from '../../precondition.ts';
import * as key from './config.ts';
import { withoutOlderKeys } from './dit.ts';
import {
  type Against,
  againstOf,
  attend,
  dense,
  embedNumber,
  feedForward,
  feedForwards,
  type Inputs,
  keyBias,
  layerNorm,
  needed,
  projectText,
  stepsOf,
  within,
} from './layers.ts';
import { checkWidth, gridOf, modulated, patchEmbed, places, shifted, tableModulation, tokenFeatures, unpatch } from './tokens.ts';

export const pixartSchema = z.strictObject({
  num_attention_heads: key.count(16),
  attention_head_dim: key.count(72),
  in_channels: key.count(4),
  out_channels: key.countOrNull(8),
  num_layers: key.layers(28),
  cross_attention_dim: key.countOrNull(1152),
  attention_bias: key.flag(true),
  sample_size: key.count(128),
  patch_size: key.count(2),
  activation_fn: key.word(feedForwards, 'gelu-approximate'),
  norm_type: key.word(['ada_norm_single'], 'ada_norm_single'),
  norm_elementwise_affine: key.flag(false),
  norm_eps: key.real(1e-6),
  interpolation_scale: z.number().positive().nullable().default(null).describe('a number above 0 or null'),
  use_additional_conditions: z.boolean().nullable().default(null).describe('true, false or null'),
  caption_channels: key.countOrNull(),
  attention_type: key.word(['default'], 'default'),
});
export type PixArtConfig = key.Config<typeof pixartSchema>;

const IDLE = ['dropout', 'norm_num_groups', 'upcast_attention', 'num_embeds_ada_norm'];
/** Keys of the older class for other uses, at what they must be here. */
const OLDER = { double_self_attention: false, num_vector_embeds: null, only_cross_attention: false, use_linear_projection: false };
/** The size of samples whose networks are told of resolution and aspect ratio unless the configuration says. */
const TOLD_SIZE = 128;

const widthOf = (c: PixArtConfig): number => c.num_attention_heads * c.attention_head_dim;
const toldOfSizes = (c: PixArtConfig): boolean => c.use_additional_conditions ?? c.sample_size === TOLD_SIZE;

/** Errors: InputError as in `readConfig`, and widths that do not split. */
export function readPixArt(where: string, json: unknown): PixArtConfig {
  const c = key.readConfig(where, pixartSchema, IDLE, withoutOlderKeys(where, json, OLDER));
  checkWidth(where, widthOf(c));
  if (toldOfSizes(c) && widthOf(c) % 3 !== 0)
    throw new InputError(`${where}: a width of ${widthOf(c)} does not split into height, width and aspect ratio; use a multiple of 3`);
  return c;
}

/** AdaLayerNormSingle: the vector of time and sizes [N,width], and the six modulations of every block [N, 6·width]. */
function condition(scope: Scope, inputs: Inputs, c: PixArtConfig): { readonly vector: Tensor; readonly all: Tensor } {
  const width = widthOf(c);
  const time = embedNumber(within(scope, 'emb.timestep_embedder.'), stepsOf(needed('PixArt', inputs, 'timestep')), width);
  const each = (name: string, input: string): Tensor => {
    const values = needed('PixArt', inputs, `added_cond_kwargs.${input}`);
    return reshape(embedNumber(within(scope, `emb.${name}.`), values, width / 3), [values.shape[0]!, -1]);
  };
  const sizes = toldOfSizes(c)
    ? concat([each('resolution_embedder', 'resolution'), each('aspect_ratio_embedder', 'aspect_ratio')], 1)
    : null;
  const vector = sizes ? add(time, sizes) : time;
  return { vector, all: dense(scope, 'linear', silu(vector), 6 * width) };
}

interface Text {
  readonly context: Tensor | undefined;
  readonly mask: Tensor | undefined;
  readonly against: Against | undefined;
}
function block(scope: Scope, tokens: Tensor, all: Tensor, text: Text, c: PixArtConfig): Tensor {
  const parts = tableModulation(scope, all, widthOf(c), 6);
  const [shift, scale, gate, shift2, scale2, gate2] = parts as [Tensor, Tensor, Tensor, Tensor, Tensor, Tensor];
  const heads = { heads: c.num_attention_heads, headDim: c.attention_head_dim, bias: c.attention_bias };
  const norm = (name: string, x: Tensor): Tensor => layerNorm(scope, name, x, c.norm_eps, c.norm_elementwise_affine);
  let x = add(tokens, mul(gate, attend(within(scope, 'attn1.'), shifted(norm('norm1', tokens), shift, scale), heads)));
  if (c.cross_attention_dim !== null) x = add(x, attend(within(scope, 'attn2.'), x, { ...heads, ...text }));
  return add(x, mul(gate2, feedForward(within(scope, 'ff.'), shifted(norm('norm2', x), shift2, scale2), c.activation_fn)));
}

/**
 * PixArtTransformer2DModel(hidden_states [N,C,H,W], timestep [] or [N], encoder_hidden_states [N,T,D], encoder_attention_mask [N,T],
 * added_cond_kwargs.resolution [N,2], added_cond_kwargs.aspect_ratio [N,1]): the output, the tokens after each block as maps, `bottleneck`.
 */
export function pixartTransformer(scope: Scope, c: PixArtConfig): (inputs: Inputs) => RawPrediction {
  const width = widthOf(c);
  return (inputs) => {
    const image = needed('PixArt', inputs, 'hidden_states');
    const grid = gridOf('PixArt', image, c.patch_size);
    const stretch = c.interpolation_scale ?? Math.max(Math.floor(c.sample_size / 64), 1);
    const table = places(grid, width, Math.floor(c.sample_size / c.patch_size), stretch);
    let x = add(patchEmbed(within(scope, 'pos_embed.'), image, c.patch_size, width), constant(table, [1, grid.rows * grid.columns, width]));
    const { vector, all } = condition(within(scope, 'adaln_single.'), inputs, c);
    const given = c.cross_attention_dim === null ? undefined : needed('PixArt', inputs, 'encoder_hidden_states');
    const project = (t: Tensor): Tensor => (c.caption_channels !== null ? projectText(within(scope, 'caption_projection.'), t, width) : t);
    const text = { context: given && project(given), mask: keyBias(inputs['encoder_attention_mask']), against: againstOf(inputs, project) };
    const after: Tensor[] = [];
    for (let i = 0; i < c.num_layers; i++) {
      x = block(within(scope, `transformer_blocks.${i}.`), x, all, text, c);
      after.push(x);
    }
    const [shift, scale] = tableModulation(scope, vector, width, 2) as [Tensor, Tensor];
    const channels = c.out_channels ?? c.in_channels;
    const patches = dense(scope, 'proj_out', modulated(x, shift, scale), c.patch_size ** 2 * channels);
    return { output: unpatch(patches, grid.rows, c.patch_size, channels), features: tokenFeatures(after, grid) };
  };
}
