/**
 * @file T5's encoder as transformers computes it, and UMT5's: relative position biases, RMS norm, plain or gated feed-forward.
 * Raffel et al. 2020, arXiv:1910.10683; Shazeer 2020, arXiv:2002.05202; Chung et al. 2023, arXiv:2304.09151.
 */
import * as z from 'zod';
import { attention } from '../../engine/graph/ops/attention.ts';
import { add, mul, where } from '../../engine/graph/ops/elementwise.ts';
import { constant } from '../../engine/graph/ops/leaf.ts';
import { reshape, transpose } from '../../engine/graph/ops/movement.ts';
import { embedding } from '../../engine/graph/ops/select.ts';
import { fixed, type Tensor } from '../../engine/graph/tensor.ts';
import { InputError } from '../../engine/io/errors.ts';
import { type Scope, within } from '../../engine/train/network.ts';
import { keyMask } from './clip-text.ts';
import { count, real, shown, word } from './diffusers/config.ts';
import { rmsNorm } from './diffusers/layers.ts';
import { ACTIVATIONS, type Activation, type Config, readHfConfig } from './hf-config.ts';
import { dense, fromHeads, small, toHeads } from './vit.ts';

const schema = z.object({
  model_type: word(['t5', 'umt5'], 't5'),
  vocab_size: count(32128),
  d_model: count(512),
  d_kv: count(64),
  d_ff: count(2048),
  num_layers: count(6),
  num_heads: count(8),
  relative_attention_num_buckets: count(32, 4),
  relative_attention_max_distance: count(128, 2),
  layer_norm_epsilon: real(1e-6),
  feed_forward_proj: z.string().default('relu').describe('the name of an activation, or gated- and the name'),
});
/** About the decoder, and what follows from other keys: `dense_act_fn` and `is_gated_act` repeat `feed_forward_proj`. */
const IDLE = [
  'num_decoder_layers',
  'n_positions',
  'eos_token_id',
  'output_past',
  'dense_act_fn',
  'is_gated_act',
  'scalable_attention',
].concat(['scale_decoder_outputs']);
/** A whole T5 for translation and its like; its encoder is what is read here. */
export type T5Config = Config<typeof schema> & { readonly gated: boolean; readonly act: Activation };

/** Errors: InputError for unknown keys and values that are not supported. */
export function readT5(where: string, json: unknown): T5Config {
  const config = readHfConfig(where, schema, json, IDLE);
  const [, gate, name] = /^(gated-)?(.+)$/.exec(config.feed_forward_proj) ?? [];
  // `gated-gelu` means the tanh approximation, whatever `gelu` means elsewhere.
  const act = gate && name === 'gelu' ? 'gelu_new' : name;
  if (act === undefined || !Object.hasOwn(ACTIVATIONS, act))
    throw new InputError(
      `${where}: feed_forward_proj is ${shown(config.feed_forward_proj)}; it must be one of ${Object.keys(ACTIVATIONS).join(', ')}, or gated- and one of them`,
    );
  return { ...config, gated: gate !== undefined, act: act as Activation };
}

/**
 * The bucket of the distance from a query to a key, both ways: half of the buckets for each direction, the first half of those exact, the rest
 * logarithmic up to `most`. In float32, as PyTorch computes it, because the logarithm meets whole numbers.
 */
export function relativeBucket(distance: number, buckets: number, most: number): number {
  const half = Math.floor(buckets / 2);
  const exact = Math.floor(half / 2);
  const far = Math.abs(distance);
  const ahead = distance > 0 ? half : 0;
  if (far < exact) return ahead + far;
  const ratio = Math.fround(Math.fround(Math.log(Math.fround(far / exact))) / Math.fround(Math.log(most / exact)));
  return ahead + Math.min(exact + Math.trunc(Math.fround(ratio * (half - exact))), half - 1);
}

/** [1, heads, T, T] from the table [buckets, heads]. */
function relativeBias(scope: Scope, length: number, o: T5Config): Tensor {
  const { relative_attention_num_buckets: buckets, relative_attention_max_distance: most } = o;
  const table = scope('relative_attention_bias.weight', [buckets, o.num_heads], small);
  const bucketOf = (i: number): bigint => BigInt(relativeBucket((i % length) - Math.floor(i / length), buckets, most));
  const index = constant(
    BigInt64Array.from({ length: length * length }, (_, i) => bucketOf(i)),
    [length * length],
  );
  return reshape(transpose(embedding(table, index), [1, 0]), [1, o.num_heads, length, length]);
}

/** `q`, `k`, `v`, `o`, without biases and without scaling by √d. */
function selfAttention(scope: Scope, x: Tensor, bias: Tensor, o: T5Config): Tensor {
  const [q, k, v] = ['q', 'k', 'v'].map((name) => toHeads(dense(scope, name, x, o.num_heads * o.d_kv, false), o.num_heads)) as [
    Tensor,
    Tensor,
    Tensor,
  ];
  return dense(scope, 'o', fromHeads(attention(q, k, v, { mask: bias, scale: 1 })), o.d_model, false);
}

/** `wi`, `wo`; gated: `wi_0`, `wi_1`, `wo`. */
function feedForward(scope: Scope, x: Tensor, o: T5Config): Tensor {
  const act = ACTIVATIONS[o.act];
  const hidden = o.gated
    ? mul(act(dense(scope, 'wi_0', x, o.d_ff, false)), dense(scope, 'wi_1', x, o.d_ff, false))
    : act(dense(scope, 'wi', x, o.d_ff, false));
  return dense(scope, 'wo', hidden, o.d_model, false);
}

/** Far below every score and finite, so that a text without any token stays a number. */
const MASKED = -1e30;

/** The name of the token table, which checkpoints hold under one name or under both. */
export const t5Table = (names: Iterable<string>): string =>
  [...names].includes('shared.weight') ? 'shared.weight' : 'encoder.embed_tokens.weight';

/** ids int64 [N,T], mask int64 [N,T] (1 keeps) → after the last norm, [N,T,d_model]. */
export const t5Encoder =
  (scope: Scope, o: T5Config, table = 'shared.weight') =>
  (ids: Tensor, mask?: Tensor): Tensor => {
    const length = fixed('t5', ids.shape[1]);
    const layer = (i: number, part: number): Scope => within(scope, `encoder.block.${i}.layer.${part}.`);
    const masked = (bias: Tensor): Tensor => (mask ? where(keyMask(mask), bias, MASKED) : bias);
    const biasOf = (i: number): Tensor => masked(relativeBias(within(layer(i, 0), 'SelfAttention.'), length, o));
    const shared = o.model_type === 't5' ? biasOf(0) : null; // UMT5 has one in every layer
    let x = embedding(scope(table, [o.vocab_size, o.d_model], small), ids);
    for (let i = 0; i < o.num_layers; i++) {
      const [first, second] = [layer(i, 0), layer(i, 1)];
      const normed = rmsNorm(first, 'layer_norm', x, o.layer_norm_epsilon);
      x = add(x, selfAttention(within(first, 'SelfAttention.'), normed, shared ?? biasOf(i), o));
      x = add(x, feedForward(within(second, 'DenseReluDense.'), rmsNorm(second, 'layer_norm', x, o.layer_norm_epsilon), o));
    }
    return rmsNorm(scope, 'encoder.final_layer_norm', x, o.layer_norm_epsilon);
  };

/** Whether a checkpoint's tensor is part of the encoder, whose token table is `table`. */
export const isT5EncoderWeight = (name: string, table: string): boolean =>
  name === table || (name.startsWith('encoder.') && name !== 'encoder.embed_tokens.weight');
