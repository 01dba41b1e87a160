/** @file FluxTransformer2DModel: FLUX.1. https://github.com/black-forest-labs/flux */
import * as z from 'zod';
import { add, cast, geluTanh, mul, sub } from '../../../engine/graph/ops/elementwise.ts';
import { concat, reshape, slice, split } from '../../../engine/graph/ops/movement.ts';
import { fixed, ShapeError, show, type Tensor } from '../../../engine/graph/tensor.ts';
import { InputError } from '../../../engine/io/errors.ts';
import type { Scope } from '../../../engine/train/network.ts';
import type { RawPrediction } from '../../precondition.ts';
import * as key from './config.ts';
import { adaContinuous, adaZero, attendJointly, combined, gatedFeedForward, mixAlone } from './joint.ts';
import { dense, type Inputs, needed, sineCosine, stepsOf, within } from './layers.ts';
import { modulated, modulation } from './tokens.ts';

export const fluxSchema = z.strictObject({
  patch_size: key.count(1),
  in_channels: key.count(64),
  out_channels: key.countOrNull(),
  num_layers: key.layers(19, 0),
  num_single_layers: key.layers(38, 0),
  attention_head_dim: key.count(128),
  num_attention_heads: key.count(24),
  joint_attention_dim: key.count(4096),
  pooled_projection_dim: key.count(768),
  guidance_embeds: key.flag(false),
  axes_dims_rope: key.counts([16, 56, 56]),
});
export type FluxConfig = key.Config<typeof fluxSchema>;

/** Errors: InputError as in `readConfig`, and axes that do not fill a head. */
export function readFlux(where: string, json: unknown): FluxConfig {
  const c = key.readConfig(where, fluxSchema, [], json);
  const total = c.axes_dims_rope.reduce((sum, d) => sum + d, 0);
  if (total !== c.attention_head_dim || c.axes_dims_rope.some((d) => d % 2 !== 0))
    throw new InputError(
      `${where}: axes_dims_rope is ${key.shown(c.axes_dims_rope)}; it must be even numbers whose sum is attention_head_dim, ${c.attention_head_dim}`,
    );
  return c;
}

const THETA = 1e4;
/** Cosines and sines [T, d/2] of the turn of every pair of channels at places [T, axes]. */
function turns(places: Tensor, axes: readonly number[]): { readonly cosine: Tensor; readonly sine: Tensor } {
  if (places.shape.length !== 2 || places.shape[1] !== axes.length)
    throw new ShapeError(`Flux: places ${show(places)} are not [tokens, ${axes.length}]`);
  const parts = axes.map((d, i) =>
    sineCosine(
      slice(cast(places, 'float32'), 1, i, i + 1),
      Array.from({ length: d / 2 }, (_, k) => THETA ** ((-2 * k) / d)),
    ),
  );
  const join = (name: 'cosine' | 'sine'): Tensor =>
    concat(
      parts.map((part) => part[name]),
      1,
    );
  return { cosine: join('cosine'), sine: join('sine') };
}
/** Turns neighbouring channels of x [N,heads,T,d] as pairs. Su et al. 2021, arXiv:2104.09864. */
function rotated(x: Tensor, { cosine, sine }: { readonly cosine: Tensor; readonly sine: Tensor }): Tensor {
  const [n, heads, length, d] = x.shape;
  const pairs = reshape(x, [n!, heads!, length!, fixed('rope', d) / 2, 2]);
  const [a, b] = split(pairs, [1, 1], 4).map((part) => reshape(part, part.shape.slice(0, 4))) as [Tensor, Tensor];
  const turned = [sub(mul(a, cosine), mul(b, sine)), add(mul(b, cosine), mul(a, sine))];
  return reshape(
    concat(
      turned.map((part) => reshape(part, [...part.shape, 1])),
      4,
    ),
    x.shape,
  );
}

function doubleBlock(scope: Scope, image: Tensor, text: Tensor, condition: Tensor, heads: number, rotate: (x: Tensor) => Tensor) {
  const [m, mt] = [adaZero(scope, 'norm1', image, condition), adaZero(scope, 'norm1_context', text, condition)];
  const seen = attendJointly(within(scope, 'attn.'), m.hat, mt.hat, { heads, norm: true, rotate, first: 'text', textOut: true });
  return {
    image: gatedFeedForward(scope, 'ff', add(image, mul(m.gate, seen.image)), m),
    text: gatedFeedForward(scope, 'ff_context', add(text, mul(mt.gate, seen.text!)), mt),
  };
}

/** Attention and the hidden layer side by side, over text and image as one. */
function singleBlock(scope: Scope, tokens: Tensor, condition: Tensor, width: number, heads: number, rotate: (x: Tensor) => Tensor): Tensor {
  const [shift, scale, gate] = modulation(scope, 'norm.linear', condition, width, 3) as [Tensor, Tensor, Tensor];
  const hat = modulated(tokens, shift, scale);
  const hidden = geluTanh(dense(scope, 'proj_mlp', hat, 4 * width));
  const seen = mixAlone(within(scope, 'attn.'), hat, { heads, norm: true, rotate });
  return add(tokens, mul(gate, dense(scope, 'proj_out', concat([seen, hidden], 2), width)));
}

/** Rows and columns of a grid from the places of its tokens cannot be read off a graph: hidden features stay tokens, [N,T,width]. */
const featuresOf = (after: readonly Tensor[]): Record<string, Tensor> => {
  const middle = after[Math.floor((after.length - 1) / 2)];
  return { ...Object.fromEntries(after.map((tokens, i) => [`block${i}`, tokens])), ...(middle ? { bottleneck: middle } : {}) };
};

/**
 * FluxTransformer2DModel(hidden_states [N,T,C], encoder_hidden_states [N,L,D], pooled_projections [N,P], timestep [] or [N] in 0…1, guidance, img_ids [T,3],
 * txt_ids [L,3]): the output [N,T,out], the image's tokens after each block, `bottleneck`.
 */
export function fluxTransformer(scope: Scope, c: FluxConfig): (inputs: Inputs) => RawPrediction {
  const [heads, width] = [c.num_attention_heads, c.num_attention_heads * c.attention_head_dim];
  const thousandth = (inputs: Inputs, name: string): Tensor => mul(cast(stepsOf(needed('Flux', inputs, name)), 'float32'), 1000);
  return (inputs) => {
    let image = dense(scope, 'x_embedder', needed('Flux', inputs, 'hidden_states'), width);
    const condition = combined(within(scope, 'time_text_embed.'), width, {
      time: thousandth(inputs, 'timestep'),
      pooled: needed('Flux', inputs, 'pooled_projections'),
      guidance: c.guidance_embeds ? thousandth(inputs, 'guidance') : undefined,
    });
    let text = dense(scope, 'context_embedder', needed('Flux', inputs, 'encoder_hidden_states'), width);
    const turn = turns(concat([needed('Flux', inputs, 'txt_ids'), needed('Flux', inputs, 'img_ids')], 0), c.axes_dims_rope);
    const rotate = (x: Tensor): Tensor => rotated(x, turn);
    const after: Tensor[] = [];
    for (let i = 0; i < c.num_layers; i++) {
      ({ image, text } = doubleBlock(within(scope, `transformer_blocks.${i}.`), image, text, condition, heads, rotate));
      after.push(image);
    }
    const length = fixed('text', text.shape[1]);
    let all = concat([text, image], 1);
    for (let i = 0; i < c.num_single_layers; i++) {
      all = singleBlock(within(scope, `single_transformer_blocks.${i}.`), all, condition, width, heads, rotate);
      after.push(slice(all, 1, length));
    }
    const hat = adaContinuous(scope, 'norm_out', slice(all, 1, length), condition);
    return { output: dense(scope, 'proj_out', hat, c.patch_size ** 2 * (c.out_channels ?? c.in_channels)), features: featuresOf(after) };
  };
}
