/** @file The text-to-image model's parts in diffusers' and transformers' configurations: UNet, text encoder, tokenizer, scheduler. */
import { AVATAR_FILES } from '../../eval/avatars/network.ts';
import { readClipText } from '../../models/foreign/clip-text.ts';
import { readUNet2DCondition } from '../../models/foreign/diffusers/unet2d-condition.ts';
import { hfTokenizer } from '../../models/foreign/tokenizer.ts';
import { LATENT } from './autoencoder.ts';

const WIDTH = 64;
/** Tokens of a caption, with start and end. */
export const CONTEXT = 44;

const vocabulary = Object.keys((AVATAR_FILES['tokenizer.json'] as { readonly model: { readonly vocab: object } }).model.vocab).length;
export const TEXT_ENCODER = {
  ...{ model_type: 'clip_text_model', architectures: ['CLIPTextModel'] },
  ...{ vocab_size: vocabulary, hidden_size: WIDTH, intermediate_size: 2 * WIDTH, projection_dim: WIDTH },
  ...{ num_hidden_layers: 2, num_attention_heads: 4, max_position_embeddings: CONTEXT, hidden_act: 'gelu', eos_token_id: 3 },
} as const;
export const UNET = {
  _class_name: 'UNet2DConditionModel',
  ...{ sample_size: LATENT.side, in_channels: LATENT.channels, out_channels: LATENT.channels },
  ...{ block_out_channels: [32, 56], layers_per_block: 1, norm_num_groups: 8, time_embedding_dim: 128 },
  // Maps of 8×8 are convolved, maps of 4×4 see the text as well.
  down_block_types: ['DownBlock2D', 'CrossAttnDownBlock2D'],
  mid_block_type: 'UNetMidBlock2D',
  up_block_types: ['CrossAttnUpBlock2D', 'UpBlock2D'],
  // By this name diffusers means the number of heads here.
  ...{ cross_attention_dim: WIDTH, attention_head_dim: 4, use_linear_projection: true },
} as const;
export const TIMES = 1000;
export const SCHEDULER = {
  _class_name: 'DDIMScheduler',
  ...{ num_train_timesteps: TIMES, beta_schedule: 'scaled_linear', beta_start: 0.00085, beta_end: 0.012, prediction_type: 'v_prediction' },
  ...{ clip_sample: false, set_alpha_to_one: false, steps_offset: 1, timestep_spacing: 'leading' },
} as const;
export const TOKENIZER: Readonly<Record<string, unknown>> = {
  'tokenizer.json': AVATAR_FILES['tokenizer.json'],
  'tokenizer_config.json': {
    ...{ tokenizer_class: 'PreTrainedTokenizerFast', model_max_length: CONTEXT },
    ...{ pad_token: '[PAD]', unk_token: '[UNK]', bos_token: '[START]', eos_token: '[END]' },
  },
};
/** `model_index.json` */
export const INDEX = {
  _class_name: 'StableDiffusionPipeline',
  vae: ['diffusers', 'AutoencoderKL'],
  text_encoder: ['transformers', 'CLIPTextModel'],
  tokenizer: ['transformers', 'PreTrainedTokenizerFast'],
  unet: ['diffusers', 'UNet2DConditionModel'],
  scheduler: ['diffusers', 'DDIMScheduler'],
  ...{ safety_checker: [null, null], feature_extractor: [null, null], image_encoder: [null, null], requires_safety_checker: false },
} as const;

export const unetConfig = () => readUNet2DCondition('unet', UNET);
export const textConfig = () => readClipText('text_encoder', TEXT_ENCODER);
export const tokenizer = () =>
  hfTokenizer({
    pipeline: TOKENIZER['tokenizer.json'] as Record<string, unknown>,
    config: TOKENIZER['tokenizer_config.json'] as Record<string, unknown>,
    where: 'tokenizer',
  });

/** √ᾱ of each time: the share of the clean sample. */
export const shares: readonly number[] = (() => {
  const { beta_start: first, beta_end: last } = SCHEDULER;
  let product = 1;
  return Array.from({ length: TIMES }, (_, t) => {
    product *= 1 - (Math.sqrt(first) + (t / (TIMES - 1)) * (Math.sqrt(last) - Math.sqrt(first))) ** 2;
    return Math.sqrt(product);
  });
})();
