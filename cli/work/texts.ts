/** @file Texts as conditions of a pipeline's network: which encoders make them, and how. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { cast } from '../../engine/graph/ops/elementwise.ts';
import { input } from '../../engine/graph/ops/leaf.ts';
import { concat } from '../../engine/graph/ops/movement.ts';
import type { Tensor } from '../../engine/graph/tensor.ts';
import { InputError } from '../../engine/io/errors.ts';
import { type Compute, runtimeFor } from '../../engine/run/devices.ts';
import { type Executable, type Feeds, int64 } from '../../engine/run/runtime.ts';
import type { Condition, SampleType } from '../../engine/train/network.ts';
import { constantScope, type Weight } from '../../engine/train/weights.ts';
import { nullName } from '../../models/foreign/diffusers/family.ts';
import type { PipelineIndex } from '../../models/foreign/diffusers/folder.ts';
import type { DiffusersNetwork } from '../../models/foreign/diffusers/networks.ts';
import { type EncodedText, readTextEncoder, type TextEncoderFolder } from '../../models/foreign/text-encoder.ts';
import { openTokenizer, type TextTokenizer, tokenBatch } from '../../models/foreign/tokenizer.ts';
import type { TextRecipe } from './card.ts';

/** The suffixes of a recipe's encoders and tokenizers. */
export const towerSuffixes = ({ kind }: TextRecipe): readonly string[] => RECIPES[kind].towers;

interface Recipe {
  /** Suffixes of the pipeline's `text_encoder` and `tokenizer`. */
  readonly towers: readonly string[];
  /** Whether encoder and network are told which tokens are padding. */
  readonly masked: boolean;
  join(towers: readonly EncodedText[], masks: readonly Tensor[]): Condition;
}
const RECIPES: Readonly<Record<TextRecipe['kind'], Recipe>> = {
  // Stable Diffusion 1 and 2: the last layer of CLIP.
  clip: { towers: [''], masked: false, join: ([one]) => ({ text: one!.lastHiddenState }) },
  // Stable Diffusion XL: the last layer but one of two CLIPs side by side, and the pooled text of the second.
  'clip-pair': {
    towers: ['', '_2'],
    masked: false,
    join: ([one, two]) => ({ text: concat([one!.penultimate!, two!.penultimate!], 2), pooled: two!.pooled! }),
  },
  // PixArt: T5 with a mask.
  t5: { towers: [''], masked: true, join: ([one], [mask]) => ({ text: one!.lastHiddenState, mask: cast(mask!, 'float32') }) },
};

/** The folders beside the weights that a recipe needs. */
export const textParts = ({ kind }: TextRecipe): readonly string[] =>
  RECIPES[kind].towers.flatMap((suffix) => [`text_encoder${suffix}`, `tokenizer${suffix}`]);

/** Features of n texts: for each condition rows [n, …shape]. */
export interface TextFeatures {
  readonly size: number;
  readonly shapes: Readonly<Record<string, readonly number[]>>;
  readonly values: Readonly<Record<string, Float32Array>>;
  /** Indices of texts of which something was cut off. */
  readonly tooLong: readonly number[];
}
export interface TextEncoder {
  encode(texts: readonly string[]): Promise<TextFeatures>;
  close(): Promise<void>;
}

interface Tower {
  readonly tokenizer: TextTokenizer;
  readonly encoder: TextEncoderFolder;
}
export interface TextGraph {
  readonly towers: readonly Tower[];
  /** Inputs int64 [N, length]: `ids0`, `mask0`, … */
  readonly outputs: Condition;
}
/** The graph of a recipe's encoders. Errors: InputError as `readTextEncoder` and `openTokenizer`. */
export async function textGraph(folder: string, { kind, length }: TextRecipe): Promise<TextGraph> {
  const recipe = RECIPES[kind];
  const towers: Tower[] = [];
  for (const suffix of recipe.towers)
    towers.push({
      tokenizer: await openTokenizer(join(folder, `tokenizer${suffix}`)),
      encoder: await readTextEncoder(join(folder, `text_encoder${suffix}`)),
    });
  const given = (what: string, i: number): Tensor => input(`${what}${i}`, ['N', length], 'int64');
  const encoded = towers.map(({ encoder }, i) =>
    encoder.build(constantScope(encoder.weights))(given('ids', i), ...(recipe.masked ? [given('mask', i)] : [])),
  );
  return { towers, outputs: recipe.join(encoded, recipe.masked ? towers.map((_, i) => given('mask', i)) : []) };
}

/** What the graph is fed for some texts, and which of them were cut. */
export function tokenFeeds(
  towers: readonly Pick<Tower, 'tokenizer'>[],
  { kind, length }: TextRecipe,
  texts: readonly string[],
): { readonly feeds: Feeds; readonly tooLong: readonly boolean[] } {
  const batches = towers.map(({ tokenizer }) => tokenBatch(tokenizer, texts, { length }));
  const rows = (values: BigInt64Array) => int64(values, [texts.length, length]);
  const entries = batches.flatMap(({ ids, mask }, i) => [
    [`ids${i}`, rows(ids)] as const,
    ...(RECIPES[kind].masked ? [[`mask${i}`, rows(mask)] as const] : []),
  ]);
  return { feeds: Object.fromEntries(entries), tooLong: texts.map((_, i) => batches.some((batch) => batch.tooLong[i])) };
}

const BATCH = 8;
/** The encoders of a pipeline's folder, ready to run. Errors as in `textGraph`. */
export async function openTextEncoder(folder: string, recipe: TextRecipe, compute: Compute = {}): Promise<TextEncoder> {
  const { towers, outputs } = await textGraph(folder, recipe);
  const runtime = runtimeFor(compute);
  const { program } = await runtime.compile({ program: { outputs, updates: new Map() } }, runtime.state({}));
  const shapes = Object.fromEntries(Object.entries(outputs).map(([name, t]) => [name, t.shape.slice(1).map(Number)]));
  return {
    encode: (texts) => encodeAll(program!, { towers, recipe, shapes }, texts),
    close: () => program!.close(),
  };
}

export async function encodeAll(
  program: Pick<Executable, 'run'>,
  {
    towers,
    recipe,
    shapes,
  }: { readonly towers: readonly Pick<Tower, 'tokenizer'>[]; readonly recipe: TextRecipe; readonly shapes: TextFeatures['shapes'] },
  texts: readonly string[],
): Promise<TextFeatures> {
  const sizes = Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, shape.reduce((a, b) => a * b, 1)]));
  const values = Object.fromEntries(Object.entries(sizes).map(([name, size]) => [name, new Float32Array(texts.length * size)]));
  const tooLong: number[] = [];
  for (let first = 0; first < texts.length; first += BATCH) {
    const part = tokenFeeds(towers, recipe, texts.slice(first, first + BATCH));
    for (const [name, { data }] of Object.entries(await program.run(part.feeds)))
      values[name]!.set(data as Float32Array, first * sizes[name]!);
    tooLong.push(...part.tooLong.flatMap((long, i) => (long ? [first + i] : [])));
    await new Promise((resolve) => setImmediate(resolve)); // a run blocks the event loop: let signals through
  }
  return { size: texts.length, shapes, values, tooLong };
}

interface Asked {
  readonly folder: string;
  readonly index: PipelineIndex;
  readonly network: DiffusersNetwork;
  readonly sample: SampleType;
  /** The shape of the images; that of the samples without an autoencoder. */
  readonly image: readonly number[];
  readonly negativePrompt: string;
}
/** What a network's texts are made by, and what stands in where there is none. */
export interface Texts {
  readonly recipe: TextRecipe;
  readonly parts: readonly string[];
  readonly conditions: Readonly<Record<string, readonly number[]>>;
  readonly nulls: ReadonlyMap<string, Weight>;
  readonly nullShapes: Readonly<Record<string, readonly number[]>>;
}

/** T5's texts: PixArt-α's 120 tokens, 300 where the network was made for Σ, as their pipelines have it. */
const T5_LENGTHS: Readonly<Record<string, number>> = { PixArtAlphaPipeline: 120, PixArtSigmaPipeline: 300 };
async function recipeOf({ folder, index, network }: Asked): Promise<TextRecipe> {
  const classOf = (part: string): string | undefined => index.components[part]?.className;
  const clip = (part: string): boolean => /^CLIPTextModel/.test(classOf(part) ?? '');
  const isUNet = network.className === 'UNet2DConditionModel';
  const kind =
    isUNet && clip('text_encoder')
      ? clip('text_encoder_2')
        ? 'clip-pair'
        : 'clip'
      : Object.hasOwn(T5_LENGTHS, index.className)
        ? 't5'
        : undefined;
  if (kind === undefined)
    throw new InputError(
      `${folder}: texts of a ${index.className} are not supported yet (${network.className} with ${classOf('text_encoder') ?? 'no text encoder'}); those of Stable Diffusion 1, 2 and XL and of PixArt are`,
    );
  for (const part of textParts({ kind, length: 1 }))
    await readdir(join(folder, part)).catch(() => {
      throw new InputError(`${folder}: there is no ${part}, which the pipeline ${index.className} needs for its texts`);
    });
  if (kind === 't5') return { kind, length: T5_LENGTHS[index.className]! };
  const { limit } = await openTokenizer(join(folder, 'tokenizer'));
  const { context } = await readTextEncoder(join(folder, 'text_encoder'));
  return { kind, length: Math.min(limit, context) };
}

/** How the texts of a pipeline are made; null for a network without any. Errors: encoders that are missing, not supported, or do not fit the network. */
export async function textsOf(asked: Asked): Promise<Texts | null> {
  const { folder, index, network, image, negativePrompt } = asked;
  if (!('text' in network.conditions)) return null;
  const recipe = await recipeOf(asked);
  const encoder = await openTextEncoder(folder, recipe);
  const { shapes, values } = await encoder.encode([negativePrompt]).finally(() => encoder.close());
  const wanted = network.conditions['text']!.at(-1);
  if (shapes['text']!.at(-1) !== wanted)
    throw new InputError(`${folder}: the text encoder gives ${shapes['text']!.at(-1)} features, ${network.className} takes ${wanted}`);
  // SDXL was trained with zeros where there is no text, and says so.
  const zero = recipe.kind === 'clip-pair' && negativePrompt === '' && index.settings['force_zeros_for_empty_prompt'] !== false;
  const nulls = new Map(
    Object.entries(shapes).map(([name, shape]) => [
      nullName(name),
      { shape: [1, ...shape], data: zero ? new Float32Array(values[name]!.length) : values[name]! },
    ]),
  );
  const sizes = network.conditions['sizes'];
  if (sizes) {
    const [, height = 0, width = 0] = image;
    nulls.set(nullName('sizes'), { shape: [1, ...sizes], data: Float32Array.of(height, width, 0, 0, height, width).slice(0, sizes[0]) });
  }
  return {
    recipe,
    parts: textParts(recipe),
    conditions: shapes,
    nulls,
    nullShapes: { ...shapes, ...(sizes ? { sizes } : {}) },
  };
}
