/** @file SanaTransformer2DModel: linear attention, and convolutions as hidden layers. Xie et al. 2024, arXiv:2410.10629. */
import * as z from 'zod';
import { add, div, mul, relu, silu } from '../../../engine/graph/ops/elementwise.ts';
import { constant } from '../../../engine/graph/ops/leaf.ts';
import { matmul } from '../../../engine/graph/ops/linalg.ts';
import { reshape, split, swapLast } from '../../../engine/graph/ops/movement.ts';
import { reduceSum } from '../../../engine/graph/ops/reduce.ts';
import type { Tensor } from '../../../engine/graph/tensor.ts';
import type { Scope } from '../../../engine/train/network.ts';
import type { RawPrediction } from '../../precondition.ts';
import * as key from './config.ts';
import {
  type Against,
  againstOf,
  conv,
  dense,
  embedNumber,
  fromHeads,
  type Inputs,
  keyBias,
  layerNorm,
  needed,
  projectText,
  rmsNorm,
  stepsOf,
  toHeads,
  toMap,
  toTokens,
  turned,
  within,
} from './layers.ts';
import {
  checkWidth,
  type Grid,
  gridOf,
  modulated,
  patchEmbed,
  places,
  shifted,
  tableModulation,
  tokenFeatures,
  unpatch,
} from './tokens.ts';

export const sanaSchema = z.strictObject({
  in_channels: key.count(32),
  out_channels: key.countOrNull(32),
  num_attention_heads: key.count(70),
  attention_head_dim: key.count(32),
  num_layers: key.layers(20),
  num_cross_attention_heads: key.count(20),
  cross_attention_head_dim: key.count(112),
  cross_attention_dim: key.count(2240),
  caption_channels: key.count(2304),
  mlp_ratio: z.number().positive().default(2.5).describe('a number above 0'),
  attention_bias: key.flag(false),
  sample_size: key.count(32),
  patch_size: key.count(1),
  norm_elementwise_affine: key.flag(false),
  norm_eps: key.real(1e-6),
  interpolation_scale: z.number().positive().nullable().default(null).describe('a number above 0 or null'),
  guidance_embeds: key.flag(false),
  guidance_embeds_scale: key.real(0.1),
  qk_norm: key.wordOrNull(['rms_norm_across_heads']),
  timestep_scale: key.real(1),
});
export type SanaConfig = key.Config<typeof sanaSchema>;

/** Errors: InputError as in `readConfig`, and a width that has no places where they are asked for. */
export function readSana(where: string, json: unknown): SanaConfig {
  const c = key.readConfig(where, sanaSchema, ['dropout'], json);
  if (c.interpolation_scale !== null) checkWidth(where, c.num_attention_heads * c.attention_head_dim);
  return c;
}

const QK_EPS = 1e-5;
const CAPTION_EPS = 1e-5;
const TINY = 1e-15;

/** Queries, keys and values as [N,heads,T,d], the first two after a norm over all heads where there is one. */
function project(scope: Scope, tokens: Tensor, context: Tensor, heads: number, inner: number, bias: boolean, norm: boolean) {
  const [q, k, v] = [
    dense(scope, 'to_q', tokens, inner, bias),
    dense(scope, 'to_k', context, inner, bias),
    dense(scope, 'to_v', context, inner, bias),
  ];
  const [nq, nk] = norm ? [rmsNorm(scope, 'norm_q', q!, QK_EPS), rmsNorm(scope, 'norm_k', k!, QK_EPS)] : [q!, k!];
  return { q: toHeads(nq, heads), k: toHeads(nk, heads), v: toHeads(v!, heads) };
}

/** Attention whose weights are relu(q)·relu(k) over their sum: linear in the number of tokens. Katharopoulos et al. 2020, arXiv:2006.16236. */
function linearAttention(scope: Scope, tokens: Tensor, width: number, c: SanaConfig): Tensor {
  const { q, k, v } = project(scope, tokens, tokens, c.num_attention_heads, width, c.attention_bias, c.qk_norm !== null);
  const [rq, rk] = [relu(q), relu(k)];
  const sums = matmul(rq, matmul(swapLast(rk), v)); // [N,heads,T,d]
  const total = matmul(rq, swapLast(reduceSum(rk, [2]))); // [N,heads,T,1]
  return dense(scope, 'to_out.0', fromHeads(div(sums, add(total, TINY))), width);
}

function crossAttention(scope: Scope, tokens: Tensor, text: Text, width: number, c: SanaConfig): Tensor {
  const inner = c.num_cross_attention_heads * c.cross_attention_head_dim;
  const of = (context: Tensor) => project(scope, tokens, context, c.num_cross_attention_heads, inner, true, c.qk_norm !== null);
  const mixed = turned(
    of(text.context).q,
    text,
    (from) => of(from).k,
    (from) => of(from).v,
  );
  return dense(scope, 'to_out.0', fromHeads(mixed), width);
}

/** A gated depthwise convolution between two of 1×1. */
function mixedLayer(scope: Scope, tokens: Tensor, { rows, columns }: Grid, width: number, ratio: number): Tensor {
  const hidden = Math.floor(ratio * width);
  const wide = silu(conv(scope, 'conv_inverted', toMap(tokens, [rows, columns]), 2 * hidden, 1));
  const [value, gate] = split(conv(scope, 'conv_depth', wide, 2 * hidden, 3, { groups: 2 * hidden }), [hidden, hidden], 1) as [
    Tensor,
    Tensor,
  ];
  return toTokens(conv(scope, 'conv_point', mul(value, silu(gate)), width, 1, { bias: false }));
}

interface Text {
  readonly context: Tensor;
  readonly mask: Tensor | undefined;
  readonly against: Against | undefined;
}
function block(scope: Scope, tokens: Tensor, all: Tensor, text: Text, grid: Grid, c: SanaConfig): Tensor {
  const width = c.num_attention_heads * c.attention_head_dim;
  const parts = tableModulation(scope, all, width, 6);
  const [shift, scale, gate, shift2, scale2, gate2] = parts as [Tensor, Tensor, Tensor, Tensor, Tensor, Tensor];
  let x = add(tokens, mul(gate, linearAttention(within(scope, 'attn1.'), modulated(tokens, shift, scale, c.norm_eps), width, c)));
  x = add(crossAttention(within(scope, 'attn2.'), x, text, width, c), x);
  const hat = shifted(layerNorm(scope, 'norm2', x, c.norm_eps, c.norm_elementwise_affine), shift2, scale2);
  return add(x, mul(gate2, mixedLayer(within(scope, 'ff.'), hat, grid, width, c.mlp_ratio)));
}

/** The vector of time (and guidance) [N,width], and the six modulations of every block. */
function condition(scope: Scope, inputs: Inputs, width: number, c: SanaConfig): { readonly vector: Tensor; readonly all: Tensor } {
  const steps = stepsOf(needed('Sana', inputs, 'timestep'));
  const inside = c.guidance_embeds ? scope : within(scope, 'emb.');
  const time = embedNumber(within(inside, 'timestep_embedder.'), steps, width);
  const guidance = c.guidance_embeds
    ? embedNumber(within(inside, 'guidance_embedder.'), stepsOf(needed('Sana', inputs, 'guidance')), width)
    : null;
  const vector = guidance ? add(time, guidance) : time;
  return { vector, all: dense(scope, 'linear', silu(vector), 6 * width) };
}

/**
 * SanaTransformer2DModel(hidden_states [N,C,H,W], encoder_hidden_states [N,T,D], timestep [] or [N], guidance, encoder_attention_mask [N,T]): the output,
 * the tokens after each block as maps, `bottleneck`. Time and guidance come already scaled, as the pipeline gives them.
 */
export function sanaTransformer(scope: Scope, c: SanaConfig): (inputs: Inputs) => RawPrediction {
  const width = c.num_attention_heads * c.attention_head_dim;
  return (inputs) => {
    const image = needed('Sana', inputs, 'hidden_states');
    const grid = gridOf('Sana', image, c.patch_size);
    let x = patchEmbed(within(scope, 'patch_embed.'), image, c.patch_size, width);
    if (c.interpolation_scale !== null) {
      const table = places(grid, width, Math.floor(c.sample_size / c.patch_size), c.interpolation_scale);
      x = add(x, constant(table, [1, grid.rows * grid.columns, width]));
    }
    const { vector, all } = condition(within(scope, 'time_embed.'), inputs, width, c);
    const project = (t: Tensor): Tensor =>
      rmsNorm(scope, 'caption_norm', projectText(within(scope, 'caption_projection.'), t, width), CAPTION_EPS);
    const context = project(needed('Sana', inputs, 'encoder_hidden_states'));
    const text = { context, mask: keyBias(inputs['encoder_attention_mask']), against: againstOf(inputs, project) };
    const after: Tensor[] = [];
    for (let i = 0; i < c.num_layers; i++) {
      x = block(within(scope, `transformer_blocks.${i}.`), x, all, text, grid, c);
      after.push(x);
    }
    const [shift, scale] = tableModulation(scope, reshape(vector, [vector.shape[0]!, width]), width, 2) as [Tensor, Tensor];
    const channels = c.out_channels ?? c.in_channels;
    const patches = dense(scope, 'proj_out', modulated(x, shift, scale), c.patch_size ** 2 * channels);
    return { output: unpatch(patches, grid.rows, c.patch_size, channels), features: tokenFeatures(after, grid) };
  };
}
