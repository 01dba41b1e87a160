/** @file Configurations of Hugging Face's transformers (`config.json`): which keys leave the network as it is, and the activations by name. */
import * as z from 'zod';
import { gelu, geluTanh, mish, quickGelu, relu, sigmoid, silu, square, tanh } from '../../engine/graph/ops/elementwise.ts';
import type { Tensor } from '../../engine/graph/tensor.ts';
import { InputError } from '../../engine/io/errors.ts';
import { type Config, readConfig, record, type Schema, shown, word } from './diffusers/config.ts';

export type { Config } from './diffusers/config.ts';

/** Activations by their names in transformers; `gelu_new`, `gelu_fast` and `gelu_accurate` are spellings of the tanh approximation. */
export const ACTIVATIONS = {
  gelu,
  gelu_python: gelu,
  gelu_new: geluTanh,
  gelu_fast: geluTanh,
  gelu_accurate: geluTanh,
  gelu_pytorch_tanh: geluTanh,
  gelu_python_tanh: geluTanh,
  quick_gelu: quickGelu,
  relu,
  relu2: (x) => square(relu(x)),
  silu,
  swish: silu,
  mish,
  tanh,
  sigmoid,
  linear: (x) => x,
} as const satisfies Readonly<Record<string, (x: Tensor) => Tensor>>;
export type Activation = keyof typeof ACTIVATIONS;
const names = Object.keys(ACTIVATIONS) as [Activation, ...Activation[]];
export const activation = (initial: Activation) => word(names, initial);

/** What `save_pretrained` writes for every model: where it comes from, how it starts, how text is generated with it, what is dropped out in training. */
const IDLE: readonly string[] = [
  ...['architectures', 'dtype', 'torch_dtype', 'transformers_version', '_name_or_path', '_commit_hash', 'name_or_path'],
  ...['_attn_implementation', '_attn_implementation_autoset', '_attn_implementation_internal', 'attn_implementation', 'tokenizer_class'],
  ...['initializer_range', 'initializer_factor', 'logit_scale_init_value', 'attention_dropout', 'dropout', 'dropout_rate'],
  ...['hidden_dropout_prob', 'attention_probs_dropout_prob', 'drop_path_rate', 'classifier_dropout', 'gradient_checkpointing'],
  ...['id2label', 'label2id', 'num_labels', 'finetuning_task', 'problem_type', 'task_specific_params', 'prefix', 'return_dict'],
  ...[
    'output_attentions',
    'output_hidden_states',
    'output_scores',
    'return_dict_in_generate',
    'torchscript',
    'use_bfloat16',
    'tf_legacy_loss',
  ],
  ...[
    'add_cross_attention',
    'cross_attention_hidden_size',
    'is_decoder',
    'is_encoder_decoder',
    'tie_encoder_decoder',
    'tie_word_embeddings',
  ],
  ...['bos_token_id', 'pad_token_id', 'sep_token_id', 'decoder_start_token_id', 'forced_bos_token_id', 'forced_eos_token_id', 'use_cache'],
  ...['bad_words_ids', 'begin_suppress_tokens', 'suppress_tokens', 'diversity_penalty', 'do_sample', 'early_stopping', 'max_length'],
  ...['encoder_no_repeat_ngram_size', 'exponential_decay_length_penalty', 'length_penalty', 'min_length', 'no_repeat_ngram_size'],
  ...[
    'num_beam_groups',
    'num_beams',
    'num_return_sequences',
    'remove_invalid_values',
    'repetition_penalty',
    'temperature',
    'top_k',
    'top_p',
  ],
  ...['typical_p', 'chunk_size_feed_forward'],
];

/** Heads that were cut out of the weights: nothing that is read here has any. */
function checkPruned(where: string, json: unknown): void {
  const pruned = record(where, json)['pruned_heads'];
  if (pruned !== undefined && pruned !== null && Object.keys(pruned).length > 0)
    throw new InputError(`${where}: pruned_heads is ${shown(pruned)}; networks whose heads were cut out are not supported`);
}

/** Far above every published network. What is beyond would be built layer by layer, or pair by pair of tokens, until memory ends. */
const LIMITS: Readonly<Record<string, number>> = {
  num_hidden_layers: 1000,
  num_layers: 1000,
  layers: 1000,
  max_position_embeddings: 4096,
  context_length: 4096,
  num_register_tokens: 4096,
  relative_attention_num_buckets: 4096,
  image_size: 16_384,
};
function checkLimits(where: string, config: Readonly<Record<string, unknown>>): void {
  for (const [key, most] of Object.entries(LIMITS)) {
    const values = [config[key]].flat();
    if (values.some((value) => typeof value === 'number' && value > most))
      throw new InputError(`${where}: ${key} is ${shown(config[key])}; at most ${most} is supported`);
  }
}

/**
 * A configuration with the defaults of its class. Keys that change nothing are passed over; an unknown one is refused by name.
 * @param idle further keys that change nothing
 * @throws InputError as `readConfig` of the diffusers' classes
 */
export function readHfConfig<S extends Schema>(where: string, schema: S, json: unknown, idle: readonly string[] = []): Config<S> {
  checkPruned(where, json);
  const config = readConfig(where, schema, [...IDLE.filter((key) => !(key in schema.shape)), 'pruned_heads', ...idle], json);
  checkLimits(where, config);
  return config;
}

/**
 * The part of a configuration that describes one tower. Old files have `NAME_dict` beside it, which replaces it as a whole: what that does not
 * say is the class's default, as in transformers' `CLIPConfig`.
 */
export function subConfig(where: string, json: unknown, name: string): Readonly<Record<string, unknown>> {
  const whole = record(where, json);
  return record(`${where}: ${name}`, whole[`${name}_dict`] ?? whole[name] ?? {});
}

/** Errors: a width that does not split into heads. */
export function checkHeads(where: string, width: number, heads: number): void {
  if (width % heads !== 0) throw new InputError(`${where}: hidden_size ${width} does not split into num_attention_heads ${heads}`);
}

/** Parts of a configuration that are read on their own. */
export const part = () => z.record(z.string(), z.unknown()).nullable().default(null).describe('an object');
