/** @file The avatar encoder: a small CLIP in transformers' form, and a tokenizer of the words that captions of avatars are made of. */
import { readClip, type ClipConfig } from '../../models/foreign/clip.ts';
import { CAPTION_WORDS } from './captions.ts';

/** Special tokens by their numbers. The end must not be 2, which means something else in CLIP's configurations. */
const SPECIAL = ['[PAD]', '[START]', '[UNK]', '[END]'] as const;
const END = SPECIAL.indexOf('[END]');
const letters = [...'abcdefghijklmnopqrstuvwxyz0123456789'];
/** Whole words, and letters for all others. */
const PIECES: readonly string[] = [...new Set([...SPECIAL, ...CAPTION_WORDS, ...letters, ...letters.map((c) => `##${c}`)])];

/** 32×32 images in 64 patches; 0.5 M parameters, half of them for images. */
export const AVATAR_CONFIG = {
  model_type: 'clip',
  projection_dim: 64,
  vision_config: {
    model_type: 'clip_vision_model',
    hidden_size: 96,
    intermediate_size: 192,
    num_hidden_layers: 4,
    num_attention_heads: 4,
    image_size: 32,
    patch_size: 4,
    hidden_act: 'gelu',
  },
  text_config: {
    model_type: 'clip_text_model',
    vocab_size: PIECES.length,
    hidden_size: 96,
    intermediate_size: 192,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    max_position_embeddings: 48,
    hidden_act: 'gelu',
    eos_token_id: END,
  },
} as const;
export const avatarNetwork = (): ClipConfig => readClip('avatar encoder', AVATAR_CONFIG);

/** The files beside the weights, by name. */
export const AVATAR_FILES: Readonly<Record<string, unknown>> = {
  'config.json': AVATAR_CONFIG,
  'preprocessor_config.json': { size: 32, crop_size: 32, resample: 3, image_mean: [0.5, 0.5, 0.5], image_std: [0.5, 0.5, 0.5] },
  'tokenizer_config.json': { model_max_length: 48, pad_token: '[PAD]', unk_token: '[UNK]' },
  'tokenizer.json': {
    version: '1.0',
    added_tokens: SPECIAL.map((content, id) => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: { type: 'Lowercase' },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    post_processor: {
      type: 'TemplateProcessing',
      single: [
        { SpecialToken: { id: '[START]', type_id: 0 } },
        { Sequence: { id: 'A', type_id: 0 } },
        { SpecialToken: { id: '[END]', type_id: 0 } },
      ],
      pair: [],
      special_tokens: {
        '[START]': { id: '[START]', ids: [1], tokens: ['[START]'] },
        '[END]': { id: '[END]', ids: [END], tokens: ['[END]'] },
      },
    },
    decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
    model: {
      type: 'WordPiece',
      unk_token: '[UNK]',
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 40,
      vocab: Object.fromEntries(PIECES.map((piece, id) => [piece, id])),
    },
  },
};
