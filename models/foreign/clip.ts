/** @file CLIP as transformers' CLIPModel computes it: two towers, projections, cosines times a learned scale. Radford et al. 2021, arXiv:2103.00020. */
import * as z from 'zod';
import { add, exp, mul } from '../../engine/graph/ops/elementwise.ts';
import { matmul } from '../../engine/graph/ops/linalg.ts';
import { reshape, slice, swapLast } from '../../engine/graph/ops/movement.ts';
import { fixed, ShapeError, show, type Tensor } from '../../engine/graph/tensor.ts';
import { type Scope, within } from '../../engine/train/network.ts';
import { type ClipTextConfig, clipText, readClipText, type TextStates } from './clip-text.ts';
import { count, real, sides, size, word } from './diffusers/config.ts';
import { activation, type Config, checkHeads, part, readHfConfig, subConfig } from './hf-config.ts';
import { dense, encoder, lastToken, layerNorm, ledBy, patches, small, unitRows } from './vit.ts';

const visionSchema = z.object({
  model_type: word(['clip_vision_model'], 'clip_vision_model'),
  hidden_size: count(768),
  intermediate_size: count(3072),
  projection_dim: count(512),
  num_hidden_layers: count(12, 0),
  num_attention_heads: count(12),
  num_channels: count(3),
  image_size: size(224),
  patch_size: size(32),
  hidden_act: activation('quick_gelu'),
  layer_norm_eps: real(1e-5),
});
export type ClipVisionConfig = Config<typeof visionSchema>;

const clipSchema = z.object({
  model_type: word(['clip'], 'clip'),
  projection_dim: count(512),
  text_config: part(),
  vision_config: part(),
  text_config_dict: part(),
  vision_config_dict: part(),
});
export interface ClipConfig {
  readonly text: ClipTextConfig;
  readonly vision: ClipVisionConfig;
  readonly projection: number;
}

/** Errors: InputError for unknown keys and values that are not supported. */
export function readClipVision(where: string, json: unknown): ClipVisionConfig {
  const config = readHfConfig(where, visionSchema, json);
  checkHeads(where, config.hidden_size, config.num_attention_heads);
  return config;
}
/** A `config.json` of CLIPModel. Errors as `readClipVision`. */
export function readClip(where: string, json: unknown): ClipConfig {
  const { projection_dim } = readHfConfig(where, clipSchema, json);
  return {
    text: readClipText(`${where}: text_config`, subConfig(where, json, 'text_config')),
    vision: readClipVision(`${where}: vision_config`, subConfig(where, json, 'vision_config')),
    projection: projection_dim,
  };
}

export interface ImageStates {
  /** [N,T,C], before the last norm. */
  readonly lastHiddenState: Tensor;
  /** The class token after the last norm: [N,C]. */
  readonly pooled: Tensor;
}

/** Errors: images of another size than the positions are for. */
export function checkImages(where: string, pixels: Tensor, channels: number, [height, width]: readonly [number, number]): void {
  const [, c, h, w] = pixels.shape;
  if (pixels.shape.length !== 4 || c !== channels || h !== height || w !== width)
    throw new ShapeError(`${where}: needs images [N,${channels},${height},${width}], got ${show(pixels)}`);
}

/** The image tower. pixels [N,C,S,S], normalised as the network's preprocessing says. */
export const clipVision =
  (scope: Scope, o: ClipVisionConfig) =>
  (pixels: Tensor): ImageStates => {
    const [image, patch] = [sides(o.image_size)!, sides(o.patch_size)!];
    checkImages('clip', pixels, o.num_channels, image);
    const width = o.hidden_size;
    const embeddings = within(scope, 'embeddings.');
    const tokens = patches(embeddings, 'patch_embedding', pixels, patch, width, false);
    const classToken = reshape(embeddings('class_embedding', [width], small), [1, width]);
    const length = 1 + fixed('clip', tokens.shape[1]);
    const x = add(ledBy(classToken, tokens), embeddings('position_embedding.weight', [length, width], small));
    const layers = within(scope, 'encoder.');
    const options = {
      layers: o.num_hidden_layers,
      heads: o.num_attention_heads,
      hidden: o.intermediate_size,
      act: o.hidden_act,
      eps: o.layer_norm_eps,
    };
    const states = encoder(layers, layerNorm(scope, 'pre_layrnorm', x, o.layer_norm_eps), options);
    const first = lastToken(layers, states, options, (all) => slice(all, 1, 0, 1));
    const pooled = layerNorm(scope, 'post_layernorm', reshape(first, [pixels.shape[0]!, width]), o.layer_norm_eps);
    return { lastHiddenState: states.at(-1)!, pooled };
  };

/** What both towers of a CLIP give; features [N,d] are not normalised. */
export interface DualEncoder<Image = ImageStates, Text = TextStates> {
  image(pixels: Tensor): Image & { readonly features: Tensor };
  text(ids: Tensor, mask?: Tensor): Text & { readonly features: Tensor };
  /** Similarities of every image with every text [images, texts] as the network scales them, from features. */
  logits(image: Tensor, text: Tensor): Tensor;
}

/** CLIPModel; CLIPVisionModelWithProjection is its half that `image` builds. */
export function clip(scope: Scope, o: ClipConfig): DualEncoder {
  return {
    image(pixels) {
      const states = clipVision(within(scope, 'vision_model.'), o.vision)(pixels);
      return { ...states, features: dense(scope, 'visual_projection', states.pooled, o.projection, false) };
    },
    text(ids, mask) {
      const states = clipText(within(scope, 'text_model.'), o.text)(ids, mask);
      return { ...states, features: dense(scope, 'text_projection', states.pooled, o.projection, false) };
    },
    logits: (image, text) => cosineLogits(image, text, scope('logit_scale', [], { kind: 'constant', value: Math.log(1 / 0.07) })),
  };
}

/** exp(scale)·cos: [images, texts]. */
export const cosineLogits = (image: Tensor, text: Tensor, scale: Tensor): Tensor =>
  mul(matmul(unitRows(image), swapLast(unitRows(text))), exp(scale));
