/** @file Texts as conditions of a pipeline's network: which encoders make them, and how. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { cast } from '../../engine/graph/ops/elementwise.ts';
import { input } from '../../engine/graph/ops/leaf.ts';
import { concat, pad } from '../../engine/graph/ops/movement.ts';
import { fixed, show, type Tensor } from '../../engine/graph/tensor.ts';
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
/** Tokens that each of its encoders takes. */
const towerLengths = ({ kind, length, t5Length = length }: TextRecipe): readonly number[] =>
  RECIPES[kind].towers.map((suffix) => (suffix === RECIPES[kind].t5 ? t5Length : length));
/** Tokens of a text of which nothing is lost. */
export const tokensOf = (recipe: TextRecipe): number => Math.max(...towerLengths(recipe));

interface Recipe {
  /** Suffixes of the pipeline's `text_encoder` and `tokenizer`. */
  readonly towers: readonly string[];
  /** Which of them is T5, beside others. */
  readonly t5?: string;
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
  // Stable Diffusion 3: two CLIPs side by side, filled up with zeros to T5's width, then T5 without a mask; both pooled texts.
  sd3: {
    towers: ['', '_2', '_3'],
    t5: '_3',
    masked: false,
    join([one, two, three]) {
      const clips = concat([one!.penultimate!, two!.penultimate!], 2);
      const t5 = three!.lastHiddenState;
      const missing = fixed('text', t5.shape[2]) - fixed('text', clips.shape[2]);
      if (missing < 0) throw new InputError(`text_encoder: CLIP's ${show(clips)} are wider than T5's ${show(t5)}`);
      return { text: concat([missing > 0 ? pad(clips, 2, 0, missing) : clips, t5], 1), pooled: concat([one!.pooled!, two!.pooled!], 1) };
    },
  },
  // FLUX: T5 without a mask, and CLIP's pooled text.
  flux: { towers: ['', '_2'], t5: '_2', masked: false, join: ([one, two]) => ({ text: two!.lastHiddenState, pooled: one!.pooled! }) },
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
export async function textGraph(folder: string, told: TextRecipe): Promise<TextGraph> {
  const recipe = RECIPES[told.kind];
  const lengths = towerLengths(told);
  const towers: Tower[] = [];
  for (const suffix of recipe.towers)
    towers.push({
      tokenizer: await openTokenizer(join(folder, `tokenizer${suffix}`)),
      encoder: await readTextEncoder(join(folder, `text_encoder${suffix}`)),
    });
  const given = (what: string, i: number): Tensor => input(`${what}${i}`, ['N', lengths[i]!], 'int64');
  const encoded = towers.map(({ encoder }, i) =>
    encoder.build(constantScope(encoder.weights))(given('ids', i), ...(recipe.masked ? [given('mask', i)] : [])),
  );
  return { towers, outputs: recipe.join(encoded, recipe.masked ? towers.map((_, i) => given('mask', i)) : []) };
}

/** What the graph is fed for some texts, and which of them were cut. */
export function tokenFeeds(
  towers: readonly Pick<Tower, 'tokenizer'>[],
  recipe: TextRecipe,
  texts: readonly string[],
): { readonly feeds: Feeds; readonly tooLong: readonly boolean[] } {
  const lengths = towerLengths(recipe);
  const batches = towers.map(({ tokenizer }, i) => tokenBatch(tokenizer, texts, { length: lengths[i]! }));
  const rows = (values: BigInt64Array, i: number) => int64(values, [texts.length, lengths[i]!]);
  const entries = batches.flatMap(({ ids, mask }, i) => [
    [`ids${i}`, rows(ids, i)] as const,
    ...(RECIPES[recipe.kind].masked ? [[`mask${i}`, rows(mask, i)] as const] : []),
  ]);
  // What the longest of them reads is not lost.
  return { feeds: Object.fromEntries(entries), tooLong: texts.map((_, i) => batches.every((batch) => batch.tooLong[i])) };
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
/** What the pipelines of a network with several kinds of encoders have T5 read. */
const MIXED: Readonly<Record<string, { readonly kind: 'sd3' | 'flux'; readonly t5Length: number }>> = {
  SD3Transformer2DModel: { kind: 'sd3', t5Length: 256 },
  FluxTransformer2DModel: { kind: 'flux', t5Length: 512 },
};
async function recipeOf({ folder, index, network }: Asked): Promise<TextRecipe> {
  const classOf = (part: string): string | undefined => index.components[part]?.className;
  const clip = (part: string): boolean => /^CLIPTextModel/.test(classOf(part) ?? '');
  const mixed = MIXED[network.className];
  const isUNet = network.className === 'UNet2DConditionModel';
  const kind =
    isUNet && clip('text_encoder')
      ? clip('text_encoder_2')
        ? 'clip-pair'
        : 'clip'
      : Object.hasOwn(T5_LENGTHS, index.className)
        ? 't5'
        : mixed?.kind;
  if (kind === undefined)
    throw new InputError(
      `${folder}: texts of a ${index.className} are not supported yet (${network.className} with ${classOf('text_encoder') ?? 'no text encoder'}); those of Stable Diffusion 1, 2, 3 and XL, of FLUX and of PixArt are`,
    );
  for (const part of textParts({ kind, length: 1 }))
    await readdir(join(folder, part)).catch(() => {
      throw new InputError(`${folder}: there is no ${part}, which the pipeline ${index.className} needs for its texts`);
    });
  if (kind === 't5') return { kind, length: T5_LENGTHS[index.className]! };
  const { limit } = await openTokenizer(join(folder, 'tokenizer'));
  const { context } = await readTextEncoder(join(folder, 'text_encoder'));
  return { kind, length: Math.min(limit, context), ...(mixed ? { t5Length: mixed.t5Length } : {}) };
}

/** The scale that networks which were distilled with guidance are told where nothing else is said: that of FLUX's pipeline. */
const USUAL_SCALE = 3.5;

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
  const guidance = recipe.kind === 'flux' ? network.conditions['guidance'] : undefined;
  if (guidance) nulls.set(nullName('guidance'), { shape: [1, ...guidance], data: Float32Array.of(USUAL_SCALE) });
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
    nullShapes: { ...shapes, ...(sizes ? { sizes } : {}), ...(guidance ? { guidance } : {}) },
  };
}
