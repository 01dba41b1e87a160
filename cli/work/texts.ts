/** @file Texts as conditions of a pipeline's network: which encoders make them, and how. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { cast } from '../../engine/graph/ops/elementwise.ts';
import { input } from '../../engine/graph/ops/leaf.ts';
import { concat, pad } from '../../engine/graph/ops/movement.ts';
import { fixed, type Tensor } from '../../engine/graph/tensor.ts';
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

type Kind = TextRecipe['kind'];
type Encoder = TextEncoderFolder['kind'];
interface Recipe<R> {
  /** What the encoders are, by the suffixes of the pipeline's `text_encoder` and `tokenizer`. */
  readonly towers: Readonly<Record<string, Encoder>>;
  /** Whether encoder and network are told which tokens are padding. */
  readonly masked?: boolean;
  join(towers: readonly EncodedText[], recipe: R, masks: readonly Tensor[]): Condition;
}
type Recipes = { readonly [K in Kind]: Recipe<Extract<TextRecipe, { readonly kind: K }>> };

/** The last layer but one of two CLIPs side by side. */
const sideBySide = ([one, two]: readonly EncodedText[]): Tensor => concat([one!.penultimate!, two!.penultimate!], 2);
/** Texts and pooled texts of Stable Diffusion 3's CLIPs, with zeros up to `width` features. */
function ofClips(towers: readonly EncodedText[], width: number): { readonly text: Tensor; readonly pooled: Tensor } {
  const text = sideBySide(towers);
  const own = fixed('text', text.shape[2]);
  if (own > width) throw new InputError(`texts: the two CLIPs give ${own} features a token, more than T5's ${width}`);
  return { text: pad(text, 2, 0, width - own), pooled: concat([towers[0]!.pooled!, towers[1]!.pooled!], 1) };
}
const RECIPES: Recipes = {
  // Stable Diffusion 1 and 2: the last layer of CLIP.
  clip: { towers: { '': 'clip' }, join: ([one]) => ({ text: one!.lastHiddenState }) },
  // Stable Diffusion XL: two CLIPs, and the pooled text of the second.
  'clip-pair': { towers: { '': 'clip', _2: 'clip' }, join: (towers) => ({ text: sideBySide(towers), pooled: towers[1]!.pooled! }) },
  // PixArt: T5 with a mask.
  t5: { towers: { '': 't5' }, masked: true, join: ([one], _, [mask]) => ({ text: one!.lastHiddenState, mask: cast(mask!, 'float32') }) },
  // Stable Diffusion 3: the tokens of two CLIPs before those of T5, and both pooled texts.
  sd3: {
    towers: { '': 'clip', _2: 'clip', _3: 't5' },
    join(towers) {
      const t5 = towers[2]!.lastHiddenState;
      const { text, pooled } = ofClips(towers, fixed('t5', t5.shape[2]));
      return { text: concat([text, t5], 1), pooled };
    },
  },
  // The same where its pipeline has no T5: zeros in its place.
  'sd3-clips': {
    towers: { '': 'clip', _2: 'clip' },
    join(towers, { t5Length, width }) {
      const { text, pooled } = ofClips(towers, width);
      return { text: pad(text, 1, 0, t5Length), pooled };
    },
  },
  // FLUX: the tokens of T5, and the pooled text of CLIP.
  flux: { towers: { '': 'clip', _2: 't5' }, join: ([clip, t5]) => ({ text: t5!.lastHiddenState, pooled: clip!.pooled! }) },
};
const recipeFor = <R extends TextRecipe>({ kind }: R) => RECIPES[kind] as unknown as Recipe<R>;

const suffixesOf = (kind: Kind): readonly string[] => Object.keys(RECIPES[kind].towers);
/** The suffixes of a recipe's encoders and tokenizers. */
export const towerSuffixes = ({ kind }: TextRecipe): readonly string[] => suffixesOf(kind);
/** What the encoder of a suffix is. */
export const encoderOf = ({ kind }: TextRecipe, suffix: string): Encoder => RECIPES[kind].towers[suffix]!;
const partsOf = (kind: Kind): readonly string[] => suffixesOf(kind).flatMap((suffix) => [`text_encoder${suffix}`, `tokenizer${suffix}`]);
/** The folders beside the weights that a recipe needs. */
export const textParts = ({ kind }: TextRecipe): readonly string[] => partsOf(kind);

const lengthOf = (recipe: TextRecipe, encoder: Encoder): number =>
  encoder === 't5' && 't5Length' in recipe ? recipe.t5Length : recipe.length;
/** The tokens of a text for each of a recipe's encoders. */
const tokenLengths = (recipe: TextRecipe): readonly number[] =>
  Object.values(recipeFor(recipe).towers).map((encoder) => lengthOf(recipe, encoder));
/** What a text may have at most, in words. */
export function limitOf(recipe: TextRecipe): string {
  const encoders = [...new Set(Object.values(recipeFor(recipe).towers))];
  if (encoders.length === 1) return `${recipe.length} tokens of the text encoder`;
  return `${lengthOf(recipe, 'clip')} tokens of CLIP or the ${lengthOf(recipe, 't5')} of T5`;
}

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
/** What ONNX Runtime takes as one program, in which the weights of a recipe's encoders are constants. */
const PROGRAM_BYTES = 2 ** 31 - 2 ** 24;
/** The graph of a recipe's encoders. Errors: InputError as `readTextEncoder` and `openTokenizer`, and encoders of another kind or too large. */
export async function textGraph(folder: string, asked: TextRecipe): Promise<TextGraph> {
  const recipe = recipeFor(asked);
  const towers: Tower[] = [];
  let room = PROGRAM_BYTES;
  for (const [suffix, kind] of Object.entries(recipe.towers)) {
    const [tokenizer, path] = [await openTokenizer(join(folder, `tokenizer${suffix}`)), join(folder, `text_encoder${suffix}`)];
    const encoder = await readTextEncoder(path, room);
    if (encoder.kind !== kind) throw new InputError(`${path}: is a ${NAMES[encoder.kind]}; its pipeline has a ${NAMES[kind]} there`);
    room -= [...encoder.weights.values()].reduce((sum, { data }) => sum + 4 * data.length, 0);
    towers.push({ tokenizer, encoder });
  }
  const lengths = tokenLengths(asked);
  const given = (what: string, i: number): Tensor => input(`${what}${i}`, ['N', lengths[i]!], 'int64');
  const encoded = towers.map(({ encoder }, i) =>
    encoder.build(constantScope(encoder.weights))(given('ids', i), ...(recipe.masked ? [given('mask', i)] : [])),
  );
  return { towers, outputs: recipe.join(encoded, asked, recipe.masked ? towers.map((_, i) => given('mask', i)) : []) };
}
const NAMES: Readonly<Record<Encoder, string>> = { clip: 'CLIP', t5: 'T5' };

/** What the graph is fed for some texts, and which of them were cut. */
export function tokenFeeds(
  towers: readonly Pick<Tower, 'tokenizer'>[],
  recipe: TextRecipe,
  texts: readonly string[],
): { readonly feeds: Feeds; readonly tooLong: readonly boolean[] } {
  const lengths = tokenLengths(recipe);
  const batches = towers.map(({ tokenizer }, i) => tokenBatch(tokenizer, texts, { length: lengths[i]! }));
  const entries = batches.flatMap(({ ids, mask, length }, i) => {
    const rows = (values: BigInt64Array) => int64(values, [texts.length, length]);
    return [[`ids${i}`, rows(ids)] as const, ...(recipeFor(recipe).masked ? [[`mask${i}`, rows(mask)] as const] : [])];
  });
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

/** Tokens of T5, as the pipelines have it where they are told nothing: PixArt-α, PixArt-Σ, Stable Diffusion 3, FLUX. */
const T5_LENGTHS: Readonly<Record<string, number>> = {
  PixArtAlphaPipeline: 120,
  PixArtSigmaPipeline: 300,
  StableDiffusion3Pipeline: 256,
  FluxPipeline: 512,
};
/** The kind by the pipeline; undefined for those that are not known. */
function kindOf({ index, network }: Asked): Kind | undefined {
  const clip = (part: string): boolean => /^CLIPTextModel/.test(index.components[part]?.className ?? '');
  if (network.className === 'UNet2DConditionModel' && clip('text_encoder')) return clip('text_encoder_2') ? 'clip-pair' : 'clip';
  if (index.className === 'StableDiffusion3Pipeline') return index.components['text_encoder_3'] ? 'sd3' : 'sd3-clips';
  if (index.className === 'FluxPipeline') return 'flux';
  return Object.hasOwn(T5_LENGTHS, index.className) ? 't5' : undefined;
}
async function recipeOf(asked: Asked): Promise<TextRecipe> {
  const { folder, index, network } = asked;
  const kind = kindOf(asked);
  if (kind === undefined)
    throw new InputError(
      `${folder}: texts of a ${index.className} are not supported yet (${network.className} with ${index.components['text_encoder']?.className ?? 'no text encoder'}); those of Stable Diffusion 1, 2, XL and 3, of FLUX and of PixArt are`,
    );
  for (const part of partsOf(kind))
    await readdir(join(folder, part)).catch(() => {
      throw new InputError(`${folder}: there is no ${part}, which the pipeline ${index.className} needs for its texts`);
    });
  const t5Length = T5_LENGTHS[index.className]!;
  if (kind === 't5') return { kind, length: t5Length };
  const { limit } = await openTokenizer(join(folder, 'tokenizer'));
  const { context } = await readTextEncoder(join(folder, 'text_encoder'));
  const length = Math.min(limit, context);
  if (kind === 'clip' || kind === 'clip-pair') return { kind, length };
  return kind === 'sd3-clips' ? { kind, length, t5Length, width: network.conditions['text']!.at(-1)! } : { kind, length, t5Length };
}

/** The scale that FLUX's pipeline tells a network with a guidance embedding unless it is given another. */
const EMBEDDED_GUIDANCE = 3.5;
/** Numbers that a pipeline tells its network beside the text. */
function toldBeside({ network: { conditions }, image }: Asked, kind: Kind): Readonly<Record<string, readonly number[]>> {
  const { sizes } = conditions;
  const [, height = 0, width = 0] = image;
  return {
    ...(sizes ? { sizes: [height, width, 0, 0, height, width].slice(0, sizes[0]) } : {}),
    ...('guidance' in conditions && kind === 'flux' ? { guidance: [EMBEDDED_GUIDANCE] } : {}),
  };
}

/** Errors: conditions that are not as wide as the network takes them. */
function checkWidths({ folder, network }: Asked, shapes: TextFeatures['shapes']): void {
  for (const [name, from] of [
    ['text', 'text encoder gives'],
    ['pooled', 'pooled text has'],
  ] as const) {
    const [found, wanted] = [shapes[name]?.at(-1) ?? 0, network.conditions[name]?.at(-1)];
    if (wanted !== undefined && found !== wanted)
      throw new InputError(`${folder}: the ${from} ${found} features, ${network.className} takes ${wanted}`);
  }
}

/** How the texts of a pipeline are made; null for a network without any. Errors: encoders that are missing, not supported, or do not fit the network. */
export async function textsOf(asked: Asked): Promise<Texts | null> {
  const { folder, index, network, negativePrompt } = asked;
  if (!('text' in network.conditions)) return null;
  const recipe = await recipeOf(asked);
  const encoder = await openTextEncoder(folder, recipe);
  const { shapes, values } = await encoder.encode([negativePrompt]).finally(() => encoder.close());
  checkWidths(asked, shapes);
  // SDXL was trained with zeros where there is no text, and says so.
  const zero = recipe.kind === 'clip-pair' && negativePrompt === '' && index.settings['force_zeros_for_empty_prompt'] !== false;
  const nulls = new Map(
    Object.entries(shapes).map(([name, shape]) => [
      nullName(name),
      { shape: [1, ...shape], data: zero ? new Float32Array(values[name]!.length) : values[name]! },
    ]),
  );
  const beside = Object.entries(toldBeside(asked, recipe.kind));
  for (const [name, numbers] of beside) {
    const shape = [1, ...network.conditions[name]!];
    nulls.set(nullName(name), { shape, data: Float32Array.from(numbers) });
  }
  return {
    recipe,
    parts: textParts(recipe),
    conditions: shapes,
    nulls,
    nullShapes: { ...shapes, ...Object.fromEntries(beside.map(([name]) => [name, network.conditions[name]!])) },
  };
}
