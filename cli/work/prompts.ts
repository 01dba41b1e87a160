/** @file Prompts: read from files, and their features computed once and kept in shards that are named by their content. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { InputError } from '../../engine/io/errors.ts';
import { fileFailure } from '../../engine/io/failures.ts';
import { fromFloat32, readSafetensors, toFloat32, writeSafetensors } from '../../engine/io/safetensors.ts';
import type { Compute } from '../../engine/run/devices.ts';
import type { ConditionTable } from '../../engine/train/conditions.ts';
import { nullName } from '../../models/foreign/diffusers/family.ts';
import type { ModelCard } from './card.ts';
import type { Model } from './model.ts';
import { limitOf, openTextEncoder, type TextEncoder, type TextFeatures, textParts } from './texts.ts';

/** The lines of a file that are not empty. Errors: it cannot be read, or holds none. */
export async function readPrompts(path: string): Promise<readonly string[]> {
  const content = await readFile(path, 'utf8').catch((error: unknown) => {
    throw fileFailure('read', path, error);
  });
  const lines = content
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== '');
  if (lines.length === 0) throw new InputError(`prompts: ${path} is empty; write one prompt a line`);
  return lines;
}

/** Errors: a model that takes no texts. */
function recipeOf({ card, source }: Model): NonNullable<ModelCard['text']> {
  if (!card.text)
    throw new InputError(`prompts: ${source} takes no texts${card.sample.classes > 0 ? ', but classes' : ''}; leave prompts out`);
  return card.text;
}

export interface TextOptions extends Compute {
  /** Folder of the shards; without one nothing is kept. */
  readonly cache?: string;
  onNote?(text: string): void;
}

/** Texts of a shard. */
const SHARD = 256;
/** The features of texts, for training and sampling. What is cut off a long text is told. Errors: a model without texts; broken encoders. */
export async function textTable(model: Model, texts: readonly string[], options: TextOptions = {}): Promise<ConditionTable> {
  const recipe = recipeOf(model);
  const opened: { encoder?: TextEncoder } = {};
  const encode = async (part: readonly string[]): Promise<TextFeatures> => {
    opened.encoder ??= await openTextEncoder(model.folder!, recipe, options);
    return opened.encoder.encode(part);
  };
  const parts: TextFeatures[] = [];
  try {
    const maker = options.cache ? await makerOf(model) : '';
    for (let first = 0; first < texts.length; first += SHARD) {
      const part = texts.slice(first, first + SHARD);
      parts.push(options.cache ? await kept(options.cache, maker, part, model.card, encode) : await encode(part));
    }
  } finally {
    await opened.encoder?.close();
  }
  return tableOf(texts, parts, { limit: limitOf(recipe), perPart: SHARD, ...(options.onNote ? { onNote: options.onNote } : {}) });
}

/** The model with a text that guidance pushes away from, instead of the empty one. Errors as in `textTable`. */
export async function withNegative(model: Model, text: string, options: TextOptions = {}): Promise<Model> {
  const table = await textTable(model, [text], options);
  const shapes = Object.entries(model.card.sample.conditions ?? {});
  const nulls = shapes.map(([name, shape]) => [nullName(name), { shape: [1, ...shape], data: table.row(name, 0) }] as const);
  return { ...model, weights: new Map([...model.weights, ...nulls]) };
}

interface TableOptions extends Pick<TextOptions, 'onNote'> {
  /** What a text may have at most, in words. */
  readonly limit: string;
  /** Texts of each part but the last. */
  readonly perPart: number;
}
/** Features as a table. What was cut off texts is told. */
export function tableOf(
  texts: readonly string[],
  parts: readonly TextFeatures[],
  { limit, perPart, onNote }: TableOptions,
): ConditionTable {
  const long = parts.flatMap(({ tooLong }, i) => tooLong.map((j) => texts[i * perPart + j]!));
  const shown = (text: string): string => JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);
  if (long.length > 0)
    onNote?.(
      `${long.length === 1 ? 'a prompt is' : `${long.length} prompts are`} longer than the ${limit} and cut off there: ${shown(long[0]!)}`,
    );
  const { shapes } = parts[0]!;
  const sizes = Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, shape.reduce((a, b) => a * b, 1)]));
  return {
    size: texts.length,
    row(name, index) {
      const [part, size, at] = [parts[Math.floor(index / perPart)]!, sizes[name]!, index % perPart];
      return part.values[name]!.subarray(at * size, (at + 1) * size);
    },
  };
}

/** What features depend on beside the texts: the recipe and every byte of encoders and tokenizers. */
async function makerOf(model: Model): Promise<string> {
  const recipe = recipeOf(model);
  const hash = createHash('sha256').update(JSON.stringify(recipe));
  for (const part of textParts(recipe))
    for (const file of (await readdir(join(model.folder!, part))).sort()) {
      const path = join(model.folder!, part, file);
      if (!(await stat(path)).isFile()) continue;
      hash.update(`${part}/${file}\n`);
      for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
    }
  return hash.digest('hex');
}

/** A shard out of the cache, or made and kept. A shard that cannot be read is made again. */
async function kept(
  cache: string,
  maker: string,
  texts: readonly string[],
  { sample }: ModelCard,
  encode: (texts: readonly string[]) => Promise<TextFeatures>,
): Promise<TextFeatures> {
  const path = join(cache, `${createHash('sha256').update(maker).update(JSON.stringify(texts)).digest('hex').slice(0, 32)}.safetensors`);
  const found = await readShard(path, texts.length, sample.conditions!).catch(() => null);
  if (found) return found;
  const made = await encode(texts);
  await mkdir(cache, { recursive: true }).catch((error: unknown) => {
    throw fileFailure('write', cache, error);
  });
  const tensors = Object.entries(made.values).map(
    ([name, values]) => [name, fromFloat32(values, [made.size, ...made.shapes[name]!])] as const,
  );
  await writeSafetensors(path, tensors, { tooLong: made.tooLong.join(' ') });
  return made;
}

async function readShard(path: string, size: number, shapes: TextFeatures['shapes']): Promise<TextFeatures> {
  const { tensors, metadata } = await readSafetensors(path);
  const values = Object.fromEntries(
    Object.entries(shapes).map(([name, shape]) => {
      const tensor = tensors.get(name);
      if (tensor?.shape.join() !== [size, ...shape].join()) throw new InputError(`${path}: is no shard of these texts`);
      return [name, toFloat32(tensor)];
    }),
  );
  const tooLong = (metadata['tooLong'] ?? '')
    .split(' ')
    .filter((word) => word !== '')
    .map(Number);
  return { size, shapes, values, tooLong };
}
