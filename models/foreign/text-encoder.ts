/** @file The text encoders of diffusion pipelines, from their folders: CLIPTextModel, CLIPTextModelWithProjection, the encoders of T5 and UMT5. */
import type { Tensor } from '../../engine/graph/tensor.ts';
import { InputError } from '../../engine/io/errors.ts';
import { readJson } from '../../engine/io/json.ts';
import type { SafetensorsFile } from '../../engine/io/safetensors.ts';
import { openFolderWeights } from '../../engine/io/weights-folder.ts';
import type { Scope } from '../../engine/train/network.ts';
import type { Weights } from '../../engine/train/weights.ts';
import { clipTextEncoder, readClipText, textLayout } from './clip-text.ts';
import { record, shown } from './diffusers/config.ts';
import { readWeightsOf } from './hf-weights.ts';
import { isT5EncoderWeight, readT5, t5Encoder, t5Table } from './t5.ts';

export interface EncodedText {
  /** After the last norm: [N,T,C]. */
  readonly lastHiddenState: Tensor;
  /** CLIP: after the last layer but one, not normalised, [N,T,C]. */
  readonly penultimate?: Tensor;
  /** CLIP: before the first layer and after each, for other clip skips. */
  readonly hiddenStates?: readonly Tensor[];
  /** CLIP: the end token, projected where the network has a projection. */
  readonly pooled?: Tensor;
}
export interface TextEncoderFolder {
  readonly kind: 'clip' | 't5';
  /** Tokens of a text at most; Infinity for T5, whose positions are relative. */
  readonly context: number;
  readonly weights: Weights;
  /** ids int64 [N,T], mask int64 [N,T] (1 keeps); pipelines of Stable Diffusion give no mask. */
  build(scope: Scope): (ids: Tensor, mask?: Tensor) => EncodedText;
}

type Description = Omit<TextEncoderFolder, 'weights'> & { readonly keep: (name: string) => boolean };

function clipEncoder(where: string, json: unknown, names: readonly string[]): Description {
  const config = readClipText(where, json);
  const layout = textLayout(names);
  const keep = (name: string): boolean => name.startsWith(layout.prefix) || name.startsWith('text_projection.');
  return { kind: 'clip', context: config.max_position_embeddings, build: (scope) => clipTextEncoder(scope, config, layout), keep };
}
function t5TextEncoder(where: string, json: unknown, names: readonly string[]): Description {
  const config = readT5(where, json);
  const table = t5Table(names);
  const encoder = (scope: Scope) => t5Encoder(scope, config, table);
  return {
    kind: 't5',
    context: Number.POSITIVE_INFINITY,
    build: (scope) => (ids, mask) => ({ lastHiddenState: encoder(scope)(ids, mask) }),
    keep: (name) => isT5EncoderWeight(name, table),
  };
}
const ENCODERS: Readonly<Record<string, typeof clipEncoder>> = {
  clip: clipEncoder,
  clip_text_model: clipEncoder,
  t5: t5TextEncoder,
  umt5: t5TextEncoder,
};

/** Bytes of the weights in float32, by their headers. */
const bytesOf = (file: SafetensorsFile, keep: (name: string) => boolean): number =>
  file.names.filter(keep).reduce((sum, name) => sum + 4 * file.info(name).shape.reduce((n, size) => n * size, 1), 0);
const gigabytes = (bytes: number): string => (bytes / 1e9).toPrecision(2);

/**
 * @param room bytes that the weights may take
 * @throws InputError where files are missing or malformed, where the network is none of these, or where it is larger
 */
export async function readTextEncoder(folder: string, room = Number.POSITIVE_INFINITY): Promise<TextEncoderFolder> {
  const where = `${folder}/config.json`;
  const json = await readJson(where);
  const type = record(where, json)['model_type'];
  const describe = typeof type === 'string' && Object.hasOwn(ENCODERS, type) ? ENCODERS[type] : undefined;
  if (!describe) throw new InputError(`${where}: model_type is ${shown(type)}; one of ${Object.keys(ENCODERS).join(', ')} expected`);
  const file: SafetensorsFile = await openFolderWeights(folder);
  try {
    const { keep, ...rest } = describe(where, json, file.names);
    const bytes = bytesOf(file, keep);
    if (bytes > room)
      throw new InputError(
        `${folder}: has ${gigabytes(bytes)} GB of weights in float32, where a program has room for ${gigabytes(room)} GB more`,
      );
    return { ...rest, weights: await readWeightsOf(file, keep) };
  } finally {
    await file.close();
  }
}
