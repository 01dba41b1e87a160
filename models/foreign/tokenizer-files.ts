/** @file The files of a tokenizer: `tokenizer.json`, or `vocab.json` and `merges.txt` as CLIP's were published first, with `tokenizer_config.json` beside them. */
import { InputError } from '../../engine/io/errors.ts';
import { ifThere, readJson, readText } from '../../engine/io/json.ts';
import { record } from './diffusers/config.ts';

type Json = Readonly<Record<string, unknown>>;
export interface TokenizerFiles {
  /** The pipeline from text to ids, in the form of Hugging Face's tokenizers. */
  readonly pipeline: Json;
  readonly config: Json;
  /** How to name it in messages. */
  readonly where: string;
}
export interface Vocabulary {
  readonly ids: Readonly<Record<string, number>>;
  /** Two parts with a space between, by rank. */
  readonly merges: readonly string[];
}

const isIds = (value: unknown): value is Readonly<Record<string, number>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && Object.values(value).every((id) => Number.isInteger(id));

/** The lines of `merges.txt` that are merges: the first may say a version. Errors: a line that is not two parts. */
export function parseMerges(text: string, where: string): readonly string[] {
  const lines = text.split('\n').map((line) => line.replace(/\r$/, ''));
  const merges = (lines[0]?.startsWith('#version') ? lines.slice(1) : lines).filter((line) => line.trim() !== '');
  const bad = merges.findIndex((line) => line.split(' ').length !== 2);
  if (bad >= 0) throw new InputError(`${where}: merge ${bad + 1} is ${JSON.stringify(merges[bad]!.slice(0, 60))}; it must be two parts`);
  return merges;
}

/** A special token is a text, or an object that holds one as `content`. */
export const tokenText = (token: unknown): string | undefined => {
  const content = typeof token === 'object' && token !== null && 'content' in token ? token.content : token;
  return typeof content === 'string' ? content : undefined;
};

const SPECIAL = ['bos_token', 'eos_token', 'unk_token', 'pad_token'] as const;

interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly single_word: boolean;
  readonly lstrip: boolean;
  readonly rstrip: boolean;
  /** Looked for in the normalised text, where `<|ENDOFTEXT|>` is in lower case, not in the text as it was written. */
  readonly normalized: boolean;
  readonly special: boolean;
}

/** A token that is looked for as a whole: from its description, or from its text alone. */
function addedToken(id: number, token: unknown): AddedToken | undefined {
  const content = tokenText(token);
  if (content === undefined) return undefined;
  const said = typeof token === 'object' && token !== null ? (token as Json) : {};
  const flag = (key: string): boolean => said[key] === true;
  return {
    id,
    content,
    single_word: flag('single_word'),
    lstrip: flag('lstrip'),
    rstrip: flag('rstrip'),
    normalized: flag('normalized'),
    special: said['special'] !== false,
  };
}

/** `added_tokens_decoder` names all of them by number; older files have the special ones, of which one that is named twice is as it is named last. */
function addedTokens(ids: Vocabulary['ids'], config: Json): readonly AddedToken[] {
  const decoder = config['added_tokens_decoder'];
  const listed =
    typeof decoder === 'object' && decoder !== null ? Object.entries(decoder).map(([id, token]) => addedToken(Number(id), token)) : [];
  const special = SPECIAL.map((key) => addedToken(ids[tokenText(config[key]) ?? ''] ?? -1, config[key]));
  const known = new Map<string, AddedToken>();
  for (const token of [...special, ...listed]) if (token && token.id >= 0) known.set(token.content, token);
  return [...known.values()];
}

/** CLIP's pipeline over a vocabulary: NFC, single spaces, lower case, words, bytes as letters, start and end. */
export function clipPipeline(where: string, { ids, merges }: Vocabulary, config: Json): Json {
  const [start, end] = [tokenText(config['bos_token']) ?? '<|startoftext|>', tokenText(config['eos_token']) ?? '<|endoftext|>'];
  const idOf = (token: string): number => {
    const id = ids[token];
    if (id === undefined) throw new InputError(`${where}: the vocabulary has no ${JSON.stringify(token)}, the start or end of a text`);
    return id;
  };
  const literal = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');
  return {
    version: '1.0',
    added_tokens: addedTokens(ids, config),
    normalizer: {
      type: 'Sequence',
      normalizers: [{ type: 'NFC' }, { type: 'Replace', pattern: { Regex: '\\s+' }, content: ' ' }, { type: 'Lowercase' }],
    },
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        {
          type: 'Split',
          pattern: { Regex: `${literal(start)}|${literal(end)}|'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+` },
          behavior: 'Removed',
          invert: true,
        },
        { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
      ],
    },
    post_processor: {
      type: 'RobertaProcessing',
      sep: [end, idOf(end)],
      cls: [start, idOf(start)],
      trim_offsets: false,
      add_prefix_space: false,
    },
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      unk_token: tokenText(config['unk_token']) ?? end,
      continuing_subword_prefix: '',
      end_of_word_suffix: '</w>',
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: ids,
      merges,
    },
  };
}

async function readVocabulary(folder: string): Promise<Vocabulary | undefined> {
  const ids = await ifThere(readJson, `${folder}/vocab.json`);
  const merges = await ifThere(readText, `${folder}/merges.txt`);
  if (ids === undefined || merges === undefined) return undefined;
  if (!isIds(ids)) throw new InputError(`${folder}/vocab.json: must be an object of tokens and their numbers`);
  return { ids, merges: parseMerges(merges, `${folder}/merges.txt`) };
}

/** @throws InputError where the files are missing or malformed */
export async function readTokenizerFiles(folder: string): Promise<TokenizerFiles> {
  const read = async (name: string): Promise<Json | undefined> => {
    const value = await ifThere(readJson, `${folder}/${name}`);
    return value === undefined ? undefined : record(`${folder}/${name}`, value);
  };
  const [map, own] = [await read('special_tokens_map.json'), await read('tokenizer_config.json')];
  // A file that lists its added tokens is complete; before that, the map had the last word.
  const config = own?.['added_tokens_decoder'] ? { ...map, ...own } : { ...own, ...map };
  const pipeline = await read('tokenizer.json');
  if (pipeline) return { pipeline, config, where: `${folder}/tokenizer.json` };
  const vocabulary = await readVocabulary(folder);
  if (!vocabulary) throw new InputError(`${folder}: no tokenizer in it; tokenizer.json, or vocab.json and merges.txt expected`);
  return { pipeline: clipPipeline(`${folder}/vocab.json`, vocabulary, config), config, where: `${folder}/vocab.json` };
}

/** The vocabulary and merges inside a pipeline. @throws InputError where it is no byte-pair encoding */
export function vocabularyOf({ pipeline, where }: TokenizerFiles): Vocabulary {
  const model = record(`${where}: model`, pipeline['model']);
  const [ids, merges] = [model['vocab'], model['merges']];
  if (!isIds(ids) || !Array.isArray(merges)) throw new InputError(`${where}: model is no byte-pair encoding with vocab and merges`);
  return { ids, merges: merges.map((merge: unknown) => (Array.isArray(merge) ? merge.join(' ') : String(merge))) };
}
