/** @file Text into token numbers, as Hugging Face's fast tokenizers and as open_clip do it; cut and padded to a length, saying which texts were too long. */
import { Tokenizer } from '@huggingface/tokenizers';
import { InputError } from '../../engine/io/errors.ts';
import { encodeBytePairs } from './byte-pairs.ts';
import { cleanCaption } from './text-repair.ts';
import { readTokenizerFiles, type TokenizerFiles, tokenText, vocabularyOf } from './tokenizer-files.ts';

/** n texts of one length. */
export interface TokenBatch {
  /** [n, length] */
  readonly ids: BigInt64Array;
  /** [n, length]: 1 for tokens of the text, 0 for padding. */
  readonly mask: BigInt64Array;
  readonly length: number;
  /** By text: whether something of it was cut off. */
  readonly tooLong: readonly boolean[];
}
export interface BatchOptions {
  /** Default: the tokenizer's own limit. */
  readonly length?: number;
  /** `end` keeps the special tokens at the end of a text that is cut, as tokenizers do when told to truncate; `plain` cuts them off, as torchmetrics' CLIPScore does. */
  readonly cut?: 'end' | 'plain';
}
export interface TextTokenizer {
  /** What a text may have at most, with start and end; Infinity where the files do not say. */
  readonly limit: number;
  readonly pad: number;
  /** Ids before and after a text. */
  readonly start: readonly number[];
  readonly end: readonly number[];
  /** Ids of a text without start and end. */
  words(text: string): readonly number[];
}

/** start, words, end: not cut. */
export const encodeText = ({ start, end, words }: TextTokenizer, text: string): readonly number[] => [...start, ...words(text), ...end];

/** @throws InputError where neither the tokenizer nor the options name a length, or where it leaves no room */
export function tokenBatch(tokenizer: TextTokenizer, texts: readonly string[], options: BatchOptions = {}): TokenBatch {
  return batchOf(
    tokenizer,
    texts.map((text) => tokenizer.words(text)),
    options,
  );
}
/** The same from ids without start and end. */
export function batchOf(tokenizer: TextTokenizer, words: readonly (readonly number[])[], options: BatchOptions = {}): TokenBatch {
  const { start, end, pad, limit } = tokenizer;
  const { length = limit, cut = 'end' } = options;
  const room = length - start.length - end.length;
  if (!Number.isFinite(length) || room < 0)
    throw new InputError(`tokenizer: texts of ${length} tokens; a length from ${start.length + end.length} on is needed`);
  const ids = new BigInt64Array(words.length * length).fill(BigInt(pad));
  const mask = new BigInt64Array(words.length * length);
  words.forEach((text, row) => {
    const kept = cut === 'end' ? [...start, ...text.slice(0, room), ...end] : [...start, ...text, ...end].slice(0, length);
    ids.set(kept.map(BigInt), row * length);
    mask.fill(1n, row * length, row * length + kept.length);
  });
  return { ids, mask, length, tooLong: words.map((text) => text.length > room) };
}

const lowercases = (normalizer: unknown): boolean => JSON.stringify(normalizer ?? null).includes('"Lowercase"');

/** Ids before and after a text: what is put round the ids of a probe. */
function surrounding(tokenizer: Tokenizer): readonly [readonly number[], readonly number[]] {
  const inner: readonly number[] = tokenizer.encode('a', { add_special_tokens: false }).ids;
  const whole: readonly number[] = tokenizer.encode('a').ids;
  for (let at = 0; at + inner.length <= whole.length; at++)
    if (inner.every((id, i) => whole[at + i] === id)) return [whole.slice(0, at), whole.slice(at + inner.length)];
  return [[], []];
}

/** A whole number that is a length, not one of the huge ones that stand for "no limit". */
const limitOf = (value: unknown): number =>
  typeof value === 'number' && value > 0 && value < 1e9 ? Math.floor(value) : Number.POSITIVE_INFINITY;

/** Hugging Face's fast tokenizer from its files. @throws InputError where the pipeline is malformed or pads and cuts on the left */
export function hfTokenizer({ pipeline, config, where }: TokenizerFiles): TextTokenizer {
  for (const key of ['padding_side', 'truncation_side'])
    if ((config[key] ?? 'right') !== 'right')
      throw new InputError(`${where}: ${key} is ${JSON.stringify(config[key])}; only right is supported`);
  let tokenizer: Tokenizer;
  let round: ReturnType<typeof surrounding>;
  try {
    tokenizer = new Tokenizer(pipeline, config);
    round = surrounding(tokenizer);
  } catch (error) {
    throw new InputError(`${where}: no tokenizer can be made of it: ${(error as Error).message.slice(0, 200)}`);
  }
  const [start, end] = round;
  const padding = tokenText(config['pad_token']);
  const pad = padding === undefined ? undefined : tokenizer.token_to_id(padding);
  // Lower case goes letter by letter there: a final Σ becomes σ. Node's would make ς of it.
  const prepare = lowercases(pipeline['normalizer']) ? (text: string) => text.replaceAll('Σ', 'σ') : (text: string) => text;
  return {
    limit: limitOf(config['model_max_length']),
    pad: pad ?? 0,
    start,
    end,
    words: (text) => tokenizer.encode(prepare(text), { add_special_tokens: false }).ids,
  };
}

/** A folder's tokenizer as transformers uses it. Errors as in `readTokenizerFiles` and `hfTokenizer`. */
export const openTokenizer = async (folder: string): Promise<TextTokenizer> => hfTokenizer(await readTokenizerFiles(folder));

/** Context of every published CLIP. */
const CONTEXT = 77;

/**
 * open_clip's (and OpenAI's) own tokenizer over the same vocabulary: captions are cleaned first, padding is 0.
 * The start and end are the last two ids; a text may name them `<start_of_text>` and `<end_of_text>`.
 */
export function openClipTokenizer(files: TokenizerFiles, limit = CONTEXT): TextTokenizer {
  const { ids, merges } = vocabularyOf(files);
  const [start, end] = ['<|startoftext|>', '<|endoftext|>'].map((token) => ids[token]) as [number | undefined, number | undefined];
  if (start === undefined || end === undefined)
    throw new InputError(`${files.where}: the vocabulary has no <|startoftext|> and <|endoftext|>`);
  const pairs = { vocabulary: new Map(Object.entries(ids)), ranks: new Map(merges.map((merge, rank) => [merge, rank])) };
  const special = new Map([
    ['<start_of_text>', start],
    ['<end_of_text>', end],
  ]);
  return { limit, pad: 0, start: [start], end: [end], words: (text) => encodeBytePairs(pairs, cleanCaption(text), special) };
}
