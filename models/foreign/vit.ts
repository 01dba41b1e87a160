/** @file What transformers over image patches and tokens share: patches as one product, attention by heads, layers that normalise first. Names are those of Hugging Face's CLIP. */
import { attention } from '../../engine/graph/ops/attention.ts';
import { add, div } from '../../engine/graph/ops/elementwise.ts';
import { linear as product } from '../../engine/graph/ops/linalg.ts';
import { pad, reshape, slice, transpose } from '../../engine/graph/ops/movement.ts';
import { norm } from '../../engine/graph/ops/reduce.ts';
import { fixed, ShapeError, show, type Tensor } from '../../engine/graph/tensor.ts';
import { type Init, type Scope, within } from '../../engine/train/network.ts';
import { xavier, zeros } from '../layers.ts';
import { dense, fromHeads, layerNorm, toHeads } from './diffusers/layers.ts';
import { ACTIVATIONS, type Activation } from './hf-config.ts';

export { dense, fromHeads, layerNorm, toHeads };

/** How tokens, classes and positions start. */
export const small: Init = { kind: 'normal', std: 0.02 };
type Pair = readonly [number, number];

/**
 * [N,C,H,W] → [N, ⌊H/p⌋·⌊W/p⌋, width]: a convolution whose stride is its kernel, as one product. What does not fill a patch is left out.
 * NAME.weight [width, C, p, p] and, where there is a bias, NAME.bias.
 */
export function patches(scope: Scope, name: string, pixels: Tensor, patch: Pair, width: number, bias: boolean): Tensor {
  if (pixels.shape.length !== 4) throw new ShapeError(`${name}: needs images [N,C,H,W], got ${show(pixels)}`);
  const [c, h, w] = pixels.shape.slice(1).map((d) => fixed(name, d)) as [number, number, number];
  const [rows, columns] = [Math.floor(h / patch[0]), Math.floor(w / patch[1])];
  const inside = c * patch[0] * patch[1];
  const whole = slice(slice(pixels, 2, 0, rows * patch[0]), 3, 0, columns * patch[1]);
  const cut = transpose(reshape(whole, [pixels.shape[0]!, c, rows, patch[0], columns, patch[1]]), [0, 2, 4, 1, 3, 5]); // [N, rows, columns, C, p, p]
  const weight = reshape(scope(`${name}.weight`, [width, c, ...patch], xavier(inside, width)), [width, inside]);
  const y = product(reshape(cut, [-1, inside]), weight, bias ? scope(`${name}.bias`, [width], zeros) : undefined);
  return reshape(y, [pixels.shape[0]!, rows * columns, width]);
}

/** Tokens [N,T,C] led by the tokens of `first` [K,C], the same for every sample. */
export function ledBy(first: Tensor, tokens: Tensor): Tensor {
  const [k, width, length] = [first.shape[0], tokens.shape[2], tokens.shape[1]].map((d) => fixed('tokens', d)) as [number, number, number];
  return add(pad(tokens, 1, k, 0), pad(reshape(first, [1, k, width]), 1, 0, length)); // no batch size is written down
}

/** softmax(q kᵀ/√d) v by heads; q [N,L,C], k and v [N,S,C]. */
export const attendHeads = (q: Tensor, k: Tensor, v: Tensor, heads: number, mask?: Tensor): Tensor =>
  fromHeads(attention(toHeads(q, heads), toHeads(k, heads), toHeads(v, heads), { mask }));

/** `q_proj`, `k_proj`, `v_proj`, `out_proj`, all with biases. @param from which tokens ask; default all */
export function selfAttention(scope: Scope, x: Tensor, heads: number, mask?: Tensor, from: Tensor = x): Tensor {
  const width = fixed('attention', x.shape[2]);
  const [q, k, v] = [['q_proj', from] as const, ['k_proj', x] as const, ['v_proj', x] as const].map(([name, tokens]) =>
    dense(scope, name, tokens, width),
  ) as [Tensor, Tensor, Tensor];
  return dense(scope, 'out_proj', attendHeads(q, k, v, heads, mask), width);
}

/** `fc1`, `fc2`. */
export const mlp = (scope: Scope, x: Tensor, hidden: number, act: Activation): Tensor =>
  dense(scope, 'fc2', ACTIVATIONS[act](dense(scope, 'fc1', x, hidden)), fixed('mlp', x.shape.at(-1)));

export interface EncoderOptions {
  readonly layers: number;
  readonly heads: number;
  /** Width of the hidden layers. */
  readonly hidden: number;
  readonly act: Activation;
  readonly eps: number;
  /** bool, broadcasts to [N, heads, T, T]: true keeps. */
  readonly mask?: Tensor | undefined;
}
/** One of some tokens of every sample: [N,T,C] → [N,1,C]. */
export type Pick = (tokens: Tensor) => Tensor;

/** `layers.K.{layer_norm1, self_attn, layer_norm2, mlp}`, after which all tokens or one are wanted. */
function layerOf(scope: Scope, i: number, x: Tensor, o: EncoderOptions, pick: Pick = (tokens) => tokens): Tensor {
  const layer = within(scope, `layers.${i}.`);
  const normed = layerNorm(layer, 'layer_norm1', x, o.eps);
  const mixed = add(pick(x), selfAttention(within(layer, 'self_attn.'), normed, o.heads, o.mask, pick(normed)));
  return add(mixed, mlp(within(layer, 'mlp.'), layerNorm(layer, 'layer_norm2', mixed, o.eps), o.hidden, o.act));
}

/** Tokens [N,T,C] → the tokens before the first layer and after each. */
export function encoder(scope: Scope, tokens: Tensor, o: EncoderOptions): readonly [Tensor, ...Tensor[]] {
  const states: [Tensor, ...Tensor[]] = [tokens];
  for (let i = 0; i < o.layers; i++) states.push(layerOf(scope, i, states.at(-1)!, o));
  return states;
}

/**
 * One token of each sample after the last layer, [N,1,C]: of that layer the queries and the perceptron of this token alone are computed.
 * @param states what `encoder` gives
 * @param o its options; the mask broadcasts to [N, heads, 1, T]
 */
export const lastToken = (scope: Scope, states: readonly Tensor[], o: EncoderOptions, pick: Pick): Tensor =>
  o.layers === 0 ? pick(states[0]!) : layerOf(scope, o.layers - 1, states[o.layers - 1]!, o, pick);

/** Rows of length 1: [N,d] / ‖·‖₂. */
export const unitRows = (x: Tensor): Tensor => div(x, norm(x, [-1]));
