/** @file SigLIP as transformers' SiglipModel computes it: two towers, an image pooled by attention, a sigmoid for every pair. Zhai et al. 2023, arXiv:2303.15343. */
import * as z from 'zod';
import { add, exp, mul } from '../../engine/graph/ops/elementwise.ts';
import { matmul, linear as product } from '../../engine/graph/ops/linalg.ts';
import { reshape, slice, split, swapLast } from '../../engine/graph/ops/movement.ts';
import { fixed, type Tensor } from '../../engine/graph/tensor.ts';
import { InputError } from '../../engine/io/errors.ts';
import { type Scope, within } from '../../engine/train/network.ts';
import { xavier, zeros } from '../layers.ts';
import { checkImages, type DualEncoder } from './clip.ts';
import { embedText, keyMask } from './clip-text.ts';
import { count, flag, real, sides, size, word } from './diffusers/config.ts';
import { activation, type Config, checkHeads, part, readHfConfig, subConfig } from './hf-config.ts';
import { attendHeads, dense, encoder, layerNorm, mlp, patches, small, unitRows } from './vit.ts';

const textSchema = z.object({
  model_type: word(['siglip_text_model'], 'siglip_text_model'),
  vocab_size: count(32000),
  hidden_size: count(768),
  intermediate_size: count(3072),
  num_hidden_layers: count(12, 0),
  num_attention_heads: count(12),
  max_position_embeddings: count(64),
  hidden_act: activation('gelu_pytorch_tanh'),
  layer_norm_eps: real(1e-6),
  projection_size: z.int().min(1).nullable().default(null).describe('a whole number from 1 or null'),
});
const visionSchema = z.object({
  model_type: word(['siglip_vision_model'], 'siglip_vision_model'),
  hidden_size: count(768),
  intermediate_size: count(3072),
  num_hidden_layers: count(12, 0),
  num_attention_heads: count(12),
  num_channels: count(3),
  image_size: size(224),
  patch_size: size(16),
  hidden_act: activation('gelu_pytorch_tanh'),
  layer_norm_eps: real(1e-6),
  vision_use_head: flag(true),
});
const siglipSchema = z.object({ model_type: word(['siglip'], 'siglip'), text_config: part(), vision_config: part() });
export type SiglipVisionConfig = Config<typeof visionSchema>;
export type SiglipTextConfig = Config<typeof textSchema>;
export interface SiglipConfig {
  readonly text: SiglipTextConfig;
  readonly vision: SiglipVisionConfig;
}

/** Errors: InputError for unknown keys and values that are not supported. */
export function readSiglip(where: string, json: unknown): SiglipConfig {
  readHfConfig(where, siglipSchema, json);
  const [atText, atVision] = [`${where}: text_config`, `${where}: vision_config`];
  const text = readHfConfig(atText, textSchema, subConfig(where, json, 'text_config'), ['eos_token_id']);
  const vision = readHfConfig(atVision, visionSchema, subConfig(where, json, 'vision_config'));
  checkHeads(atText, text.hidden_size, text.num_attention_heads);
  checkHeads(atVision, vision.hidden_size, vision.num_attention_heads);
  if ((text.projection_size ?? text.hidden_size) !== vision.hidden_size)
    throw new InputError(
      `${where}: texts have ${text.projection_size ?? text.hidden_size} features and images ${vision.hidden_size}; they must be as many`,
    );
  return { text, vision };
}

const options = (o: SiglipTextConfig | SiglipVisionConfig) => ({
  layers: o.num_hidden_layers,
  heads: o.num_attention_heads,
  hidden: o.intermediate_size,
  act: o.hidden_act,
  eps: o.layer_norm_eps,
});

/** `probe`, `attention` (PyTorch's MultiheadAttention), `layernorm`, `mlp`: one learned query over all tokens, [N,T,C] → [N,C]. */
function attentionPool(scope: Scope, tokens: Tensor, o: SiglipVisionConfig): Tensor {
  const [n, c] = [tokens.shape[0]!, o.hidden_size];
  const weight = scope('attention.in_proj_weight', [3 * c, c], xavier(c, c));
  const bias = scope('attention.in_proj_bias', [3 * c], zeros);
  const project = (x: Tensor, from: number, to: number): Tensor => {
    const y = product(reshape(x, [-1, c]), slice(weight, 0, from * c, to * c), slice(bias, 0, from * c, to * c));
    return reshape(y, [...x.shape.slice(0, -1), (to - from) * c]);
  };
  const query = project(scope('probe', [1, 1, c], small), 0, 1); // [1,1,C], the same for every image
  const [k, v] = split(project(tokens, 1, 3), [c, c], 2) as [Tensor, Tensor];
  const pooled = dense(scope, 'attention.out_proj', attendHeads(query, k, v, o.num_attention_heads), c);
  const normed = layerNorm(scope, 'layernorm', pooled, o.layer_norm_eps);
  return reshape(add(pooled, mlp(within(scope, 'mlp.'), normed, o.intermediate_size, o.hidden_act)), [n, c]);
}

export interface SiglipImage {
  /** After the last norm: [N,T,C]. */
  readonly lastHiddenState: Tensor;
}
/** The image tower; without its head the features are the tokens' [N,T,C]. */
function siglipVision(scope: Scope, o: SiglipVisionConfig, pixels: Tensor): SiglipImage & { readonly features: Tensor } {
  checkImages('siglip', pixels, o.num_channels, sides(o.image_size)!);
  const tokens = patches(scope, 'embeddings.patch_embedding', pixels, sides(o.patch_size)!, o.hidden_size, true);
  const length = fixed('siglip', tokens.shape[1]);
  const x = add(tokens, scope('embeddings.position_embedding.weight', [length, o.hidden_size], small));
  const states = encoder(within(scope, 'encoder.'), x, options(o));
  const lastHiddenState = layerNorm(scope, 'post_layernorm', states.at(-1)!, o.layer_norm_eps);
  return { lastHiddenState, features: o.vision_use_head ? attentionPool(within(scope, 'head.'), lastHiddenState, o) : lastHiddenState };
}

/** The text tower: every token sees every other, and the last one speaks for the text; texts are padded to their full length without a mask. */
function siglipText(scope: Scope, o: SiglipTextConfig, ids: Tensor, mask?: Tensor): SiglipImage & { readonly features: Tensor } {
  const x = embedText(within(scope, 'embeddings.'), ids, o);
  const states = encoder(within(scope, 'encoder.'), x, { ...options(o), mask: mask && keyMask(mask) });
  const lastHiddenState = layerNorm(scope, 'final_layer_norm', states.at(-1)!, o.layer_norm_eps);
  const length = fixed('siglip', ids.shape[1]);
  const last = reshape(slice(lastHiddenState, 1, length - 1, length), [ids.shape[0]!, o.hidden_size]);
  return { lastHiddenState, features: dense(scope, 'head', last, o.projection_size ?? o.hidden_size) };
}

/** SiglipModel. `logits` are exp(scale)·cos + bias; their sigmoid is the probability that a pair belongs together. */
export function siglip(scope: Scope, o: SiglipConfig): DualEncoder<SiglipImage, SiglipImage> {
  return {
    image: (pixels) => siglipVision(within(scope, 'vision_model.'), o.vision, pixels),
    text: (ids, mask) => siglipText(within(scope, 'text_model.'), o.text, ids, mask),
    logits: (image, text) => {
      const scale = scope('logit_scale', [1], { kind: 'constant', value: Math.log(10) });
      const bias = scope('logit_bias', [1], { kind: 'constant', value: -10 });
      return add(mul(matmul(unitRows(image), swapLast(unitRows(text))), exp(scale)), bias);
    },
  };
}
