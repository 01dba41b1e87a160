/**
 * @file CLIP as open_clip stores and computes it: fused attention weights, the text tower at top level or under `text.`, projections that multiply from the right.
 * https://github.com/mlfoundations/open_clip
 */
import * as z from 'zod';
import { add, gelu, mul, quickGelu } from '../../engine/graph/ops/elementwise.ts';
import { matmul, linear as product } from '../../engine/graph/ops/linalg.ts';
import { reshape, slice, split } from '../../engine/graph/ops/movement.ts';
import { reduceMean } from '../../engine/graph/ops/reduce.ts';
import { embedding } from '../../engine/graph/ops/select.ts';
import { fixed, ShapeError, show, type Tensor } from '../../engine/graph/tensor.ts';
import { InputError } from '../../engine/io/errors.ts';
import { type Scope, within } from '../../engine/train/network.ts';
import { xavier, zeros } from '../layers.ts';
import { checkImages, cosineLogits, type DualEncoder } from './clip.ts';
import { causal, largestId, picked } from './clip-text.ts';
import { count, flag, real, realOrNull, record, sides, size, word } from './diffusers/config.ts';
import { type Config, part, readHfConfig } from './hf-config.ts';
import { attendHeads, dense, layerNorm, ledBy, patches, small } from './vit.ts';

const absent = () => z.null().default(null).describe('null; anything else is not supported');
const off = () => z.literal(false).default(false).describe('false; anything else is not supported');
const visionSchema = z.object({
  layers: count(12),
  width: count(768),
  head_width: count(64),
  mlp_ratio: real(4),
  patch_size: size(16),
  image_size: size(224),
  ls_init_value: realOrNull(),
  no_ln_pre: flag(false),
  pool_type: word(['tok', 'avg'], 'tok'),
  final_ln_after_pool: flag(false),
  attentional_pool: off(),
  timm_model_name: absent(),
  act_kwargs: absent(),
  norm_kwargs: absent(),
});
const textSchema = z.object({
  context_length: count(77),
  vocab_size: count(49408),
  width: count(512),
  heads: count(8),
  layers: count(12),
  mlp_ratio: real(4),
  ls_init_value: realOrNull(),
  embed_cls: off(),
  no_causal_mask: flag(false),
  final_ln_after_pool: flag(false),
  pool_type: word(['argmax', 'first', 'last'], 'argmax'),
  proj_bias: flag(false),
  proj_type: word(['linear'], 'linear'),
  hf_model_name: absent(),
  act_kwargs: absent(),
  norm_kwargs: absent(),
});
const modelSchema = z.object({
  embed_dim: count(512),
  quick_gelu: flag(false),
  custom_text: flag(false),
  vision_cfg: part(),
  text_cfg: part(),
});
/** Dropped in training only, or about the tokenizer and about what is returned. */
const IDLE_VISION = ['patch_dropout', 'output_tokens', 'timm_model_pretrained'];
const IDLE_TEXT = ['output_tokens', 'pad_id', 'eos_id', 'hf_tokenizer_name', 'tokenizer_kwargs', 'hf_model_pretrained'];
const IDLE_MODEL = ['init_logit_scale', 'output_dict', 'cast_dtype'];

export interface OpenClipConfig {
  readonly vision: Config<typeof visionSchema>;
  readonly text: Config<typeof textSchema>;
  readonly embed: number;
  readonly quickGelu: boolean;
}

/** An `open_clip_config.json`, or its `model_cfg` alone. Errors: InputError for unknown keys and values that are not supported. */
export function readOpenClip(where: string, json: unknown): OpenClipConfig {
  const whole = record(where, json);
  const model = record(where, whole['model_cfg'] ?? whole);
  const { embed_dim, quick_gelu, vision_cfg, text_cfg } = readHfConfig(where, modelSchema, model, IDLE_MODEL);
  const vision = readHfConfig(`${where}: vision_cfg`, visionSchema, vision_cfg ?? {}, IDLE_VISION);
  const text = readHfConfig(`${where}: text_cfg`, textSchema, text_cfg ?? {}, IDLE_TEXT);
  if (vision.width % vision.head_width !== 0)
    throw new InputError(`${where}: vision_cfg: width ${vision.width} does not split into heads of head_width ${vision.head_width}`);
  if (text.width % text.heads !== 0)
    throw new InputError(`${where}: text_cfg: width ${text.width} does not split into heads ${text.heads}`);
  return { vision, text, embed: embed_dim, quickGelu: quick_gelu };
}

/** Both norms of open_clip keep PyTorch's default. */
const EPS = 1e-5;
interface TowerOptions {
  readonly layers: number;
  readonly heads: number;
  readonly hidden: number;
  readonly act: (x: Tensor) => Tensor;
  readonly layerScale: boolean;
  readonly mask?: Tensor | undefined;
}

/** PyTorch's MultiheadAttention of tokens with themselves: `in_proj_weight` [3C, C], `in_proj_bias`, `out_proj`. */
function fusedAttention(scope: Scope, x: Tensor, heads: number, mask?: Tensor): Tensor {
  const width = fixed('attention', x.shape[2]);
  const weight = scope('in_proj_weight', [3 * width, width], xavier(width, width));
  const all = product(reshape(x, [-1, width]), weight, scope('in_proj_bias', [3 * width], zeros));
  const [q, k, v] = split(reshape(all, [...x.shape.slice(0, -1), 3 * width]), [width, width, width], 2) as [Tensor, Tensor, Tensor];
  return dense(scope, 'out_proj', attendHeads(q, k, v, heads, mask), width);
}

/** `resblocks.K.{ln_1, attn, ls_1, ln_2, mlp, ls_2}`. */
function tower(scope: Scope, tokens: Tensor, o: TowerOptions): Tensor {
  const width = fixed('tower', tokens.shape[2]);
  let x = tokens;
  for (let i = 0; i < o.layers; i++) {
    const block = within(scope, `resblocks.${i}.`);
    const scaled = (y: Tensor, name: string): Tensor => (o.layerScale ? mul(y, block(`${name}.gamma`, [width], small)) : y);
    x = add(x, scaled(fusedAttention(within(block, 'attn.'), layerNorm(block, 'ln_1', x, EPS), o.heads, o.mask), 'ls_1'));
    const hidden = o.act(dense(block, 'mlp.c_fc', layerNorm(block, 'ln_2', x, EPS), o.hidden));
    x = add(x, scaled(dense(block, 'mlp.c_proj', hidden, width), 'ls_2'));
  }
  return x;
}
const firstToken = (x: Tensor): Tensor => reshape(slice(x, 1, 0, 1), [x.shape[0]!, x.shape[2]!]);
const lastToken = (x: Tensor): Tensor => {
  const length = fixed('tokens', x.shape[1]);
  return reshape(slice(x, 1, length - 1, length), [x.shape[0]!, x.shape[2]!]);
};
/** Pools, with the norm before or after. */
const pooledBy = (x: Tensor, norm: (x: Tensor) => Tensor, pool: (x: Tensor) => Tensor, after: boolean): Tensor =>
  after ? norm(pool(x)) : pool(norm(x));

function imageFeatures(scope: Scope, { vision: o, embed, quickGelu: quick }: OpenClipConfig, pixels: Tensor): Tensor {
  checkImages('open_clip', pixels, 3, sides(o.image_size)!);
  const tokens = patches(scope, 'conv1', pixels, sides(o.patch_size)!, o.width, false);
  const first = reshape(scope('class_embedding', [o.width], small), [1, o.width]);
  const length = 1 + fixed('open_clip', tokens.shape[1]);
  const x = add(ledBy(first, tokens), scope('positional_embedding', [length, o.width], small));
  const y = tower(within(scope, 'transformer.'), o.no_ln_pre ? x : layerNorm(scope, 'ln_pre', x, EPS), {
    layers: o.layers,
    heads: o.width / o.head_width,
    hidden: Math.floor(o.width * o.mlp_ratio),
    act: quick ? quickGelu : gelu,
    layerScale: o.ls_init_value !== null,
  });
  const mean = (t: Tensor): Tensor => reshape(reduceMean(slice(t, 1, 1, length), [1]), [t.shape[0]!, o.width]);
  const pooled = pooledBy(y, (t) => layerNorm(scope, 'ln_post', t, EPS), o.pool_type === 'tok' ? firstToken : mean, o.final_ln_after_pool);
  return matmul(pooled, scope('proj', [o.width, embed], xavier(o.width, embed)));
}

function textFeatures(scope: Scope, { text: o, embed, quickGelu: quick }: OpenClipConfig, ids: Tensor): Tensor {
  const length = fixed('open_clip', ids.shape[1]);
  if (length > o.context_length)
    throw new ShapeError(`open_clip: ${show(ids)} is longer than the ${o.context_length} positions that the network knows`);
  const positions = scope('positional_embedding', [o.context_length, o.width], small);
  const x = add(embedding(scope('token_embedding.weight', [o.vocab_size, o.width], small), ids), slice(positions, 0, 0, length));
  const y = tower(within(scope, 'transformer.'), x, {
    layers: o.layers,
    heads: o.heads,
    hidden: Math.floor(o.width * o.mlp_ratio),
    act: quick ? quickGelu : gelu,
    layerScale: o.ls_init_value !== null,
    mask: o.no_causal_mask ? undefined : causal(length),
  });
  const pools = { argmax: (t: Tensor) => picked(largestId(ids), t), first: firstToken, last: lastToken };
  const pooled = pooledBy(y, (t) => layerNorm(scope, 'ln_final', t, EPS), pools[o.pool_type], o.final_ln_after_pool);
  return o.proj_bias
    ? dense(scope, 'text_projection', pooled, embed)
    : matmul(pooled, scope('text_projection', [o.width, embed], xavier(o.width, embed)));
}

/** Where the text tower's weights stand: at top level, or under `text.` (open_clip's CustomTextCLIP). */
export const openClipTextPrefix = (names: Iterable<string>): string => {
  for (const name of names) if (name.startsWith('text.')) return 'text.';
  return '';
};

/** open_clip's CLIP. A mask is not part of it: the causal one keeps padding out. */
export function openClipModel(scope: Scope, o: OpenClipConfig, textPrefix = ''): DualEncoder<object, object> {
  return {
    image: (pixels) => ({ features: imageFeatures(within(scope, 'visual.'), o, pixels) }),
    text: (ids) => ({ features: textFeatures(within(scope, textPrefix), o, ids) }),
    logits: (image, text) => cosineLogits(image, text, scope('logit_scale', [], { kind: 'constant', value: Math.log(1 / 0.07) })),
  };
}
