/** @file SD3Transformer2DModel: Stable Diffusion 3 and 3.5. Esser et al. 2024, arXiv:2403.03206. */
import * as z from 'zod';
import { add, mul } from '../../../engine/graph/ops/elementwise.ts';
import { reshape, slice } from '../../../engine/graph/ops/movement.ts';
import { ShapeError, show, type Tensor } from '../../../engine/graph/tensor.ts';
import { InputError } from '../../../engine/io/errors.ts';
import type { Init, Scope } from '../../../engine/train/network.ts';
import type { RawPrediction } from '../../precondition.ts';
import * as key from './config.ts';
import { adaContinuous, adaZero, attendJointly, combined, gatedFeedForward, mixAlone } from './joint.ts';
import { dense, type Inputs, needed, stepsOf, within } from './layers.ts';
import { checkWidth, type Grid, gridOf, modulated, modulation, patchEmbed, places, tokenFeatures, unpatch } from './tokens.ts';

export const sd3Schema = z.strictObject({
  sample_size: key.count(128),
  patch_size: key.count(2),
  in_channels: key.count(16),
  num_layers: key.layers(18),
  attention_head_dim: key.count(64),
  num_attention_heads: key.count(18),
  joint_attention_dim: key.count(4096),
  caption_projection_dim: key.count(1152),
  pooled_projection_dim: key.count(2048),
  out_channels: key.countOrNull(16),
  pos_embed_max_size: key.count(96),
  dual_attention_layers: z.array(z.int().min(0)).default([]).describe('a list of whole numbers from 0'),
  qk_norm: key.wordOrNull(['rms_norm']),
});
export type SD3Config = key.Config<typeof sd3Schema>;

/** Errors: InputError as in `readConfig`, and widths that do not fit. */
export function readSD3(where: string, json: unknown): SD3Config {
  const c = key.readConfig(where, sd3Schema, [], json);
  const width = c.num_attention_heads * c.attention_head_dim;
  checkWidth(where, width);
  if (c.caption_projection_dim !== width)
    throw new InputError(
      `${where}: caption_projection_dim is ${c.caption_projection_dim}; it must be the width, ${c.num_attention_heads} heads of ${c.attention_head_dim}`,
    );
  return c;
}

/** The whole table of places, worked out when it is asked for: it has hundreds of millions of values in large models, whose checkpoints hold it. */
const allPlaces = (width: number, c: SD3Config): Init => ({
  kind: 'values',
  get values() {
    const most = c.pos_embed_max_size;
    return places({ rows: most, columns: most }, width, Math.floor(c.sample_size / c.patch_size), 1);
  },
});

/** The centre of the stored table of places, [1,T,width]. */
function cropped(scope: Scope, grid: Grid, width: number, c: SD3Config): Tensor {
  const most = c.pos_embed_max_size;
  if (grid.rows > most || grid.columns > most)
    throw new ShapeError(`SD3: ${grid.rows}x${grid.columns} patches are more than the ${most}x${most} that pos_embed_max_size allows`);
  const table = reshape(scope.buffer('pos_embed.pos_embed', [1, most * most, width], allPlaces(width, c)), [1, most, most, width]);
  const [top, left] = [Math.floor((most - grid.rows) / 2), Math.floor((most - grid.columns) / 2)];
  const cut = slice(slice(table, 1, top, top + grid.rows), 2, left, left + grid.columns);
  return reshape(cut, [1, grid.rows * grid.columns, width]);
}

interface Streams {
  readonly image: Tensor;
  readonly text: Tensor | null;
}
/** SD35AdaLayerNormZeroX: as `adaZero`, with a second modulation for attention of the image alone. */
function adaTwice(scope: Scope, image: Tensor, condition: Tensor, width: number) {
  const parts = modulation(scope, 'norm1.linear', condition, width, 9);
  const [shift, scale, gate, shift2, scale2, gate2, shift3, scale3, gate3] = parts as [
    Tensor,
    Tensor,
    Tensor,
    Tensor,
    Tensor,
    Tensor,
    Tensor,
    Tensor,
    Tensor,
  ];
  return { hat: modulated(image, shift, scale), gate, shift2, scale2, gate2, alone: modulated(image, shift3, scale3), gate3 };
}

function block(scope: Scope, image: Tensor, text: Tensor, condition: Tensor, i: number, c: SD3Config): Streams {
  const width = c.num_attention_heads * c.attention_head_dim;
  const last = i === c.num_layers - 1;
  const o = { heads: c.num_attention_heads, norm: c.qk_norm !== null };
  const twice = c.dual_attention_layers.includes(i) ? adaTwice(scope, image, condition, width) : null;
  const m = twice ?? adaZero(scope, 'norm1', image, condition);
  const mt = last ? null : adaZero(scope, 'norm1_context', text, condition);
  const hatText = mt ? mt.hat : adaContinuous(scope, 'norm1_context', text, condition);
  const seen = attendJointly(within(scope, 'attn.'), m.hat, hatText, { ...o, first: 'image', textOut: !last });
  let x = add(image, mul(m.gate, seen.image));
  if (twice) {
    const inside = within(scope, 'attn2.');
    x = add(x, mul(twice.gate3, dense(inside, 'to_out.0', mixAlone(inside, twice.alone, o), width)));
  }
  x = gatedFeedForward(scope, 'ff', x, m);
  if (!mt) return { image: x, text: null };
  return { image: x, text: gatedFeedForward(scope, 'ff_context', add(text, mul(mt.gate, seen.text!)), mt) };
}

/**
 * SD3Transformer2DModel(hidden_states [N,C,H,W], encoder_hidden_states [N,T,D], pooled_projections [N,P], timestep [] or [N]): the output, the image's tokens
 * after each block as maps, `bottleneck`.
 */
export function sd3Transformer(scope: Scope, c: SD3Config): (inputs: Inputs) => RawPrediction {
  const width = c.num_attention_heads * c.attention_head_dim;
  return (inputs) => {
    const sample = needed('SD3', inputs, 'hidden_states');
    const grid = gridOf('SD3', sample, c.patch_size);
    let image = add(patchEmbed(within(scope, 'pos_embed.'), sample, c.patch_size, width), cropped(scope, grid, width, c));
    const pooled = needed('SD3', inputs, 'pooled_projections');
    if (pooled.shape[1] !== c.pooled_projection_dim)
      throw new ShapeError(`SD3: pooled_projections ${show(pooled)} are not ${c.pooled_projection_dim} wide`);
    const condition = combined(within(scope, 'time_text_embed.'), width, { time: stepsOf(needed('SD3', inputs, 'timestep')), pooled });
    let text: Tensor | null = dense(scope, 'context_embedder', needed('SD3', inputs, 'encoder_hidden_states'), c.caption_projection_dim);
    const after: Tensor[] = [];
    for (let i = 0; i < c.num_layers; i++) {
      ({ image, text } = block(within(scope, `transformer_blocks.${i}.`), image, text!, condition, i, c));
      after.push(image);
    }
    const channels = c.out_channels ?? c.in_channels;
    const patches = dense(scope, 'proj_out', adaContinuous(scope, 'norm_out', image, condition), c.patch_size ** 2 * channels);
    return { output: unpatch(patches, grid.rows, c.patch_size, channels), features: tokenFeatures(after, grid) };
  };
}
