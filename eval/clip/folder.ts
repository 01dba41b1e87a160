/** @file What a folder with a CLIP, a SigLIP or an open_clip network says of itself: its towers, its sizes, its tokenizer, its preprocessing. */
import { InputError } from '../../engine/io/errors.ts';
import { ifThere, readJson } from '../../engine/io/json.ts';
import { listFolder } from '../../engine/io/weights-folder.ts';
import type { Scope } from '../../engine/train/network.ts';
import { clip, type DualEncoder, readClip } from '../../models/foreign/clip.ts';
import { record, shown, sides } from '../../models/foreign/diffusers/config.ts';
import { openClipModel, openClipTextPrefix, readOpenClip } from '../../models/foreign/open-clip.ts';
import { readSiglip, siglip } from '../../models/foreign/siglip.ts';
import { hfTokenizer, openClipTokenizer, type TextTokenizer } from '../../models/foreign/tokenizer.ts';
import { readTokenizerFiles } from '../../models/foreign/tokenizer-files.ts';
import { defaultPreprocessing, hfPreprocessing, openClipPreprocessing, type Preprocessing } from './preprocess.ts';

export interface DualArchitecture {
  readonly kind: 'clip' | 'siglip' | 'open_clip';
  /** Side of the images in pixels. */
  readonly imageSize: number;
  /** Tokens of a text, with start and end. */
  readonly context: number;
  /** Token numbers that the network knows. */
  readonly vocabulary: number;
  /** Whether padding is hidden from the network by a mask. */
  readonly masks: boolean;
  /** The towers from the names that a file holds. */
  readonly build: (scope: Scope, names: readonly string[]) => DualEncoder<object, object>;
  /** How the file of the weights may be called, without its ending. */
  readonly weightNames: readonly string[];
  /** Names of weights that are not the image tower's. */
  readonly isText: (name: string) => boolean;
}

function square(where: string, size: number | readonly number[] | null): number {
  const [height, width] = sides(size)!;
  if (height !== width) throw new InputError(`${where}: images of ${height}x${width}; only square ones are supported`);
  return height;
}
const isTextOfHf = (name: string): boolean => name.startsWith('text_');

/** From a `config.json`. Errors: InputError for other networks. */
function hfArchitecture(where: string, json: unknown): DualArchitecture {
  const type = record(where, json)['model_type'];
  const shared = { weightNames: ['model'], isText: isTextOfHf };
  if (type === 'clip') {
    const config = readClip(where, json);
    return {
      ...shared,
      kind: 'clip',
      imageSize: square(where, config.vision.image_size),
      context: config.text.max_position_embeddings,
      vocabulary: config.text.vocab_size,
      masks: true,
      build: (scope) => clip(scope, config),
    };
  }
  if (type === 'siglip') {
    const config = readSiglip(where, json);
    if (!config.vision.vision_use_head)
      throw new InputError(`${where}: vision_use_head is false; without its head the image tower gives no features`);
    return {
      ...shared,
      kind: 'siglip',
      imageSize: square(where, config.vision.image_size),
      context: config.text.max_position_embeddings,
      vocabulary: config.text.vocab_size,
      masks: false,
      build: (scope) => siglip(scope, config),
    };
  }
  throw new InputError(`${where}: model_type is ${shown(type)}; clip or siglip expected`);
}

function openClipArchitecture(where: string, json: unknown): DualArchitecture {
  const config = readOpenClip(where, json);
  return {
    kind: 'open_clip',
    imageSize: square(where, config.vision.image_size),
    context: config.text.context_length,
    vocabulary: config.text.vocab_size,
    masks: false,
    build: (scope, names) => openClipModel(scope, config, openClipTextPrefix(names)),
    weightNames: ['open_clip_model', 'open_clip_pytorch_model', 'model'],
    isText: (name) => !name.startsWith('visual.') && name !== 'logit_scale',
  };
}

export interface ClipFolder {
  readonly architecture: DualArchitecture;
  readonly preprocessing: Preprocessing;
}

/** @throws InputError where a configuration is missing, malformed or not supported */
export async function readClipFolder(folder: string): Promise<ClipFolder> {
  await listFolder(folder); // says so where there is no such folder
  const [openClipAt, hfAt] = [`${folder}/open_clip_config.json`, `${folder}/config.json`];
  const [openClip, hf] = [await ifThere(readJson, openClipAt), await ifThere(readJson, hfAt)];
  // Repositories of open_clip hold both, the second for transformers' weights; the weights that are there decide.
  const names = await listFolder(folder);
  if (openClip !== undefined && (hf === undefined || !names.some((name) => /^model\..*safetensors/.test(name)))) {
    const architecture = openClipArchitecture(openClipAt, openClip);
    const preprocess = record(openClipAt, openClip)['preprocess_cfg'] ?? {};
    return { architecture, preprocessing: openClipPreprocessing(`${openClipAt}: preprocess_cfg`, preprocess, architecture.imageSize) };
  }
  if (hf === undefined)
    throw new InputError(`${folder}: holds neither config.json nor open_clip_config.json; a CLIP's folder has one of them`);
  const architecture = hfArchitecture(hfAt, hf);
  const preprocessAt = `${folder}/preprocessor_config.json`;
  const said = await ifThere(readJson, preprocessAt);
  const preprocessing =
    said === undefined
      ? defaultPreprocessing(architecture.kind, architecture.imageSize)
      : hfPreprocessing(preprocessAt, said, architecture.kind, architecture.imageSize);
  return { architecture, preprocessing };
}

/** `hf`: as transformers tokenizes; `open-clip`: as open_clip and OpenAI do, cleaning the captions first. */
export type TokenStyle = 'hf' | 'open-clip';
export const tokenStyleOf = ({ kind }: DualArchitecture): TokenStyle => (kind === 'open_clip' ? 'open-clip' : 'hf');

/** The tokenizer of a folder in a style, limited to what the network knows. @throws InputError where the files are missing or malformed */
export async function folderTokenizer(folder: string, style: TokenStyle, context: number): Promise<TextTokenizer> {
  const files = await readTokenizerFiles(folder);
  const tokenizer = style === 'hf' ? hfTokenizer(files) : openClipTokenizer(files, context);
  return { ...tokenizer, limit: Math.min(tokenizer.limit, context) };
}
