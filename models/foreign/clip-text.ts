/**
 * @file CLIP's text tower as transformers computes it: CLIPTextModel and CLIPTextModelWithProjection, alone as text encoder of a diffusion pipeline or as half of a CLIP.
 * Radford et al. 2021, arXiv:2103.00020.
 */
import * as z from 'zod';
import { add, and, cast, equal, mul, sub } from '../../engine/graph/ops/elementwise.ts';
import { constant } from '../../engine/graph/ops/leaf.ts';
import { matmul } from '../../engine/graph/ops/linalg.ts';
import { reshape, slice } from '../../engine/graph/ops/movement.ts';
import { cumsum, reduceMax } from '../../engine/graph/ops/reduce.ts';
import { embedding } from '../../engine/graph/ops/select.ts';
import { fixed, ShapeError, show, type Tensor } from '../../engine/graph/tensor.ts';
import { type Scope, within } from '../../engine/train/network.ts';
import { count, real, record, word } from './diffusers/config.ts';
import { activation, type Config, checkHeads, readHfConfig, subConfig } from './hf-config.ts';
import { dense, encoder, lastToken, layerNorm, small } from './vit.ts';

export const clipTextSchema = z.object({
  model_type: word(['clip_text_model'], 'clip_text_model'),
  vocab_size: count(49408),
  hidden_size: count(512),
  intermediate_size: count(2048),
  projection_dim: count(512),
  num_hidden_layers: count(12, 0),
  num_attention_heads: count(8),
  max_position_embeddings: count(77),
  hidden_act: activation('quick_gelu'),
  layer_norm_eps: real(1e-5),
  eos_token_id: count(49407, 0),
});
export type ClipTextConfig = Config<typeof clipTextSchema>;

/** A `config.json` of CLIPTextModel, or the text half of a CLIPModel's. Errors: InputError for unknown keys and values that are not supported. */
export function readClipText(where: string, json: unknown): ClipTextConfig {
  const whole = record(where, json);
  const config = readHfConfig(where, clipTextSchema, 'text_config' in whole ? subConfig(where, whole, 'text_config') : whole);
  checkHeads(where, config.hidden_size, config.num_attention_heads);
  return config;
}

/** bool [1,1,T,T]: true where a token may look, at itself and at those before it. */
export const causal = (length: number): Tensor =>
  constant(
    Uint8Array.from({ length: length * length }, (_, i) => Number(i % length <= Math.floor(i / length))),
    [1, 1, length, length],
  );

/** bool [N,1,1,T] from a mask int64 [N,T] of ones and zeros. */
export function keyMask(mask: Tensor): Tensor {
  if (mask.shape.length !== 2) throw new ShapeError(`attention_mask: needs [N,T], got ${show(mask)}`);
  return reshape(cast(mask, 'bool'), [mask.shape[0]!, 1, 1, mask.shape[1]!]);
}

/** Where `hits` (float [N,T] of ones and zeros) is first 1, as weights: one 1 per row; at the first place where nothing hits. */
export function firstHit(hits: Tensor): Tensor {
  const first = mul(hits, cast(equal(cumsum(hits, 1), 1), 'float32'));
  const length = fixed('pooling', hits.shape[1]);
  const seen = slice(cumsum(first, 1), 1, length - 1, length); // [N,1], 0 where nothing hits
  const start = constant(
    Float64Array.from({ length }, (_, i) => Number(i === 0)),
    [1, length],
  );
  return add(first, mul(sub(1, seen), start));
}
/** Tokens [N,T,C] weighted by [N,T] → [N,C]. */
export const picked = (weights: Tensor, tokens: Tensor): Tensor =>
  reshape(matmul(reshape(weights, [weights.shape[0]!, 1, weights.shape[1]!]), tokens), [tokens.shape[0]!, tokens.shape[2]!]);

/** Where the largest id stands first, as `firstHit`. Ids below 2²⁴ are exact in float32. */
export function largestId(ids: Tensor): Tensor {
  const values = cast(ids, 'float32');
  return firstHit(cast(equal(values, reduceMax(values, [1])), 'float32'));
}
/** Where the id `eos` stands first. An `eos` of 2 is that of OpenAI's configurations, which do not say where the end is: there the largest id is meant. */
const LEGACY_EOS = 2;
const endOf = (ids: Tensor, eos: number): Tensor =>
  eos === LEGACY_EOS ? largestId(ids) : firstHit(cast(equal(ids, constant(BigInt64Array.of(BigInt(eos)), [1, 1])), 'float32'));

/** `token_embedding`, `position_embedding`: ids int64 [N,T] → [N,T,C]. */
export function embedText(
  scope: Scope,
  ids: Tensor,
  o: { readonly vocab_size: number; readonly hidden_size: number; readonly max_position_embeddings: number },
): Tensor {
  const length = fixed('text', ids.shape[1]);
  if (length > o.max_position_embeddings)
    throw new ShapeError(`text: ${show(ids)} is longer than the ${o.max_position_embeddings} positions that the network knows`);
  const table = scope('token_embedding.weight', [o.vocab_size, o.hidden_size], small);
  const positions = scope('position_embedding.weight', [o.max_position_embeddings, o.hidden_size], small);
  return add(embedding(table, ids), slice(positions, 0, 0, length));
}

export interface TextStates {
  /** After the last norm: [N,T,C]. */
  readonly lastHiddenState: Tensor;
  /** Before the first layer and after each, not normalised; the last but one is what pipelines with clip skip take. */
  readonly hiddenStates: readonly Tensor[];
  /** What the end token is in `lastHiddenState`: [N,C]; costs a layer for this token alone. */
  readonly pooled: Tensor;
}
export type TextTower = (ids: Tensor, mask?: Tensor) => TextStates;

/** The tower under names without prefix. ids int64 [N,T], mask int64 [N,T] (1 keeps). */
export const clipText =
  (scope: Scope, o: ClipTextConfig): TextTower =>
  (ids, mask) => {
    const x = embedText(within(scope, 'embeddings.'), ids, o);
    const layers = within(scope, 'encoder.');
    const keys = mask && keyMask(mask);
    const masked = (seen: Tensor): Tensor => (keys ? and(seen, keys) : seen);
    const options = {
      layers: o.num_hidden_layers,
      heads: o.num_attention_heads,
      hidden: o.intermediate_size,
      act: o.hidden_act,
      eps: o.layer_norm_eps,
    };
    const hiddenStates = encoder(layers, x, { ...options, mask: masked(causal(fixed('text', ids.shape[1]))) });
    const normed = (tokens: Tensor): Tensor => layerNorm(scope, 'final_layer_norm', tokens, o.layer_norm_eps);
    const end = endOf(ids, o.eos_token_id);
    const [n, width] = [ids.shape[0]!, o.hidden_size];
    const seenByEnd = equal(sub(cumsum(end, 1), end), 0); // the end itself and what is before it
    const ended = { ...options, mask: masked(reshape(seenByEnd, [n, 1, 1, ids.shape[1]!])) };
    const last = lastToken(layers, hiddenStates, ended, (tokens) => reshape(picked(end, tokens), [n, 1, width]));
    return { lastHiddenState: normed(hiddenStates.at(-1)!), hiddenStates, pooled: normed(reshape(last, [n, width])) };
  };

export interface TextEncoding {
  readonly lastHiddenState: Tensor;
  /** The last layer but one: [N,T,C]. */
  readonly penultimate: Tensor;
  readonly hiddenStates: readonly Tensor[];
  /** [N,C]; with a projection [N,projection_dim]. */
  readonly pooled: Tensor;
}
/** How a folder names its tower, and whether a projection follows. */
export interface TextLayout {
  /** `text_model.` or nothing: transformers 5 writes CLIPTextModel without. */
  readonly prefix: string;
  readonly projection: boolean;
}
/** The layout of a folder's weights, told by their names. */
export function textLayout(names: Iterable<string>): TextLayout {
  const all = [...names];
  return {
    prefix: all.some((name) => name.startsWith('text_model.')) ? 'text_model.' : '',
    projection: all.includes('text_projection.weight'),
  };
}
/** A text encoder of a diffusion pipeline: CLIPTextModel, or CLIPTextModelWithProjection where the weights have `text_projection`. */
export const clipTextEncoder =
  (scope: Scope, o: ClipTextConfig, layout: TextLayout) =>
  (ids: Tensor, mask?: Tensor): TextEncoding => {
    const { lastHiddenState, hiddenStates, pooled } = clipText(within(scope, layout.prefix), o)(ids, mask);
    return {
      lastHiddenState,
      hiddenStates,
      penultimate: hiddenStates.at(-2) ?? hiddenStates[0]!,
      pooled: layout.projection ? dense(scope, 'text_projection', pooled, o.projection_dim, false) : pooled,
    };
  };
