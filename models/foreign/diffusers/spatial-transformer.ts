/** @file What lets a UNet see its text: a transformer over the positions of a map (Rombach et al. 2022), and attention with added keys (Saharia et al. 2022). */
import { attention } from '../../../engine/graph/ops/attention.ts';
import { add, mul } from '../../../engine/graph/ops/elementwise.ts';
import { concat, transpose } from '../../../engine/graph/ops/movement.ts';
import { reduceMean } from '../../../engine/graph/ops/reduce.ts';
import { fixed, ShapeError, type Tensor } from '../../../engine/graph/tensor.ts';
import type { Scope } from '../../../engine/train/network.ts';
import {
  type Against,
  attend,
  conv,
  dense,
  feedForward,
  fromHeads,
  groupNorm,
  layerNorm,
  sidesOf,
  toHeads,
  toMap,
  toTokens,
  within,
} from './layers.ts';

/** What is attended to. */
export interface Context {
  /** [N,T,D] */
  readonly text: Tensor;
  /** [N,1,1,T], added to the scores. */
  readonly bias: Tensor | undefined;
  readonly against?: Against | undefined;
}

export interface TransformerOptions {
  readonly heads: number;
  readonly depth: number;
  readonly groups: number;
  /** Linear layers in and out instead of 1×1 convolutions. */
  readonly linear: boolean;
  /** Both attentions look at the text. */
  readonly onlyCross: boolean;
}

/** LayerNorm of the blocks, whatever the network's own eps. */
const ROW_EPS = 1e-5;
const GROUP_EPS = 1e-6;

function block(scope: Scope, tokens: Tensor, { text, bias, against }: Context, { heads, onlyCross }: TransformerOptions): Tensor {
  const headDim = Math.floor(fixed('transformer', tokens.shape[2]) / heads);
  const self = onlyCross ? { context: text } : {};
  let x = add(tokens, attend(within(scope, 'attn1.'), layerNorm(scope, 'norm1', tokens, ROW_EPS), { heads, headDim, ...self }));
  x = add(
    x,
    attend(within(scope, 'attn2.'), layerNorm(scope, 'norm2', x, ROW_EPS), { heads, headDim, context: text, mask: bias, against }),
  );
  return add(x, feedForward(within(scope, 'ff.'), layerNorm(scope, 'norm3', x, ROW_EPS), 'geglu'));
}

/** Transformer2DModel over a map [N,C,H,W], with a residual sum. */
export function spatialTransformer(scope: Scope, x: Tensor, context: Context, o: TransformerOptions): Tensor {
  const c = fixed('transformer', x.shape[1]);
  const inner = o.heads * Math.floor(c / o.heads);
  const hat = groupNorm(scope, 'norm', x, o.groups, GROUP_EPS);
  let tokens = o.linear ? dense(scope, 'proj_in', toTokens(hat), inner) : toTokens(conv(scope, 'proj_in', hat, inner, 1));
  for (let i = 0; i < o.depth; i++) tokens = block(within(scope, `transformer_blocks.${i}.`), tokens, context, o);
  const sides = sidesOf(x);
  const back = o.linear ? toMap(dense(scope, 'proj_out', tokens, c), sides) : conv(scope, 'proj_out', toMap(tokens, sides), c, 1);
  return add(back, x);
}

export interface AddedKeysOptions {
  readonly headDim: number;
  readonly groups: number;
  /** Keys and values come from the text alone. */
  readonly onlyCross: boolean;
  readonly norm: 'layer_norm' | 'group_norm' | null;
}

function normaliseText(scope: Scope, text: Tensor, norm: AddedKeysOptions['norm']): Tensor {
  if (norm === null) return text;
  if (norm === 'layer_norm') return layerNorm(scope, 'norm_cross', text, ROW_EPS);
  return transpose(groupNorm(scope, 'norm_cross', transpose(text, [0, 2, 1]), 32, ROW_EPS), [0, 2, 1]);
}

/** Attention over positions with the text's keys and values before the map's own, and a residual sum. */
export function attendWithAddedKeys(scope: Scope, x: Tensor, { text, bias, against }: Context, o: AddedKeysOptions): Tensor {
  if (against) throw new ShapeError('attention with added keys: negative attention needs cross attention; leave the negative text out');
  const heads = Math.floor(fixed('attention', x.shape[1]) / o.headDim);
  const inner = heads * o.headDim;
  const c = fixed('attention', x.shape[1]);
  const told = normaliseText(scope, text, o.norm);
  const tokens = toTokens(groupNorm(scope, 'group_norm', x, o.groups, ROW_EPS));
  const own = (name: string): Tensor => toHeads(dense(scope, name, tokens, inner), heads);
  const added = (name: string): Tensor => toHeads(dense(scope, name, told, inner), heads);
  const q = own('to_q');
  const join = (added: Tensor, name: string): Tensor => (o.onlyCross ? added : concat([added, own(name)], 2));
  const k = join(added('add_k_proj'), 'to_k');
  const v = join(added('add_v_proj'), 'to_v');
  // The map's own keys are never masked.
  const rest = bias && concat([bias, mul(tokenZeros(q), 0)], 3);
  const mixed = attention(q, k, v, { mask: o.onlyCross ? bias : rest });
  return add(toMap(dense(scope, 'to_out.0', fromHeads(mixed), c), sidesOf(x)), x);
}
/** [N,1,1,T] out of queries [N,heads,T,d]. */
const tokenZeros = (q: Tensor): Tensor => transpose(reduceMean(q, [1, 3]), [0, 1, 3, 2]);
