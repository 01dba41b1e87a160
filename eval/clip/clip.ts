/** @file A CLIP opened for measuring: features of pictures and of captions, from a folder as Hugging Face or open_clip publish it, or from ONNX exports. */
import { basename, resolve } from 'node:path';
import { input } from '../../engine/graph/ops/leaf.ts';
import type { Tensor } from '../../engine/graph/tensor.ts';
import { InputError } from '../../engine/io/errors.ts';
import type { SafetensorsFile } from '../../engine/io/safetensors.ts';
import { joinedChecksum, openFolderWeights, weightsChecksum } from '../../engine/io/weights-folder.ts';
import { checkWeights } from '../../engine/train/weights.ts';
import type { DualEncoder } from '../../models/foreign/clip.ts';
import { readWeightsOf } from '../../models/foreign/hf-weights.ts';
import { type BatchOptions, batchOf, type TextTokenizer, type TokenBatch } from '../../models/foreign/tokenizer.ts';
import { type ClipFolder, folderTokenizer, readClipFolder, type TokenStyle, tokenStyleOf } from './folder.ts';
import { openOnnxTower } from './onnx-towers.ts';
import type { Preprocessing } from './preprocess.ts';
import { type TextTower, textLengths, textTower } from './text-tower.ts';
import { declaredBy, dimensionsOf, imageBatches, openTower, type Tower, type TowerGraph } from './tower.ts';

export interface OpenClipOptions {
  /** Threads inside one operation; default 1. */
  readonly threads?: number;
  /** ONNX files instead of the folder's weights; one file of both towers may stand for both. What is not given cannot be asked for. */
  readonly onnx?: { readonly image?: string; readonly text?: string };
}
export interface TextOptions extends BatchOptions {
  /** Default: that of the network's own library. */
  readonly tokens?: TokenStyle;
  /** Put before every caption as tokens of its own, such as `A photo depicts`. */
  readonly prefix?: string;
}
export interface TextFeatures {
  /** [n, dimensions], not normalised. */
  readonly features: Float32Array;
  /** By caption: whether it had more tokens than the network reads, so that its end counts for nothing. */
  readonly tooLong: readonly boolean[];
}

export interface Clip {
  readonly name: string;
  /** SHA-256 of the weights: scores compare only within one checksum. */
  readonly checksum: string;
  /** Side of the images in pixels. */
  readonly imageSize: number;
  readonly dimensions: number;
  /** Tokens of a text at most, with start and end. */
  readonly context: number;
  readonly preprocessing: Preprocessing;
  /** What cosines are multiplied by in the network's logits; null for ONNX exports, which do not say it. */
  readonly logitScale: number | null;
  /** What is added to SigLIP's logits; 0 for others. */
  readonly logitBias: number;
  /** pixels [n,3,S,S], preprocessed → [n, dimensions], not normalised. @throws InputError for another number of values */
  imageFeatures(pixels: Float32Array): Promise<Float32Array>;
  textFeatures(captions: readonly string[], options?: TextOptions): Promise<TextFeatures>;
  /** The tokens that `textFeatures` feeds. */
  tokens(captions: readonly string[], options?: TextOptions): Promise<TokenBatch>;
  /** Features of tokens of the network's length. */
  tokenFeatures(batch: TokenBatch): Promise<Float32Array>;
  close(): Promise<void>;
}

const pixelsInput = (size: number): Tensor => input('pixels', ['N', 3, size, size]);
const imageGraph =
  (dual: (scope: Parameters<TowerGraph>[0]) => DualEncoder<object, object>, size: number): TowerGraph =>
  (scope) =>
    dual(scope).image(pixelsInput(size)).features;
function textGraph(dual: (scope: Parameters<TowerGraph>[0]) => DualEncoder<object, object>, context: number, masks: boolean): TowerGraph {
  const ids = input('ids', ['N', context], 'int64');
  const mask = masks ? input('mask', ['N', context], 'int64') : undefined;
  return (scope) => dual(scope).text(ids, mask).features;
}

interface Towers {
  readonly dimensions: () => Promise<number>;
  readonly image: () => Promise<Tower>;
  readonly text: TextTower;
  readonly checksum: string;
  readonly logitScale: number | null;
  readonly logitBias: number;
  close(): Promise<void>;
}

/** Made when first asked for; closed if it was. */
function lazily(open: () => Promise<Tower>): { readonly get: () => Promise<Tower>; readonly close: () => Promise<void> } {
  let opened: Promise<Tower> | undefined;
  return {
    get: () => (opened ??= open()),
    close: async () => (await opened?.catch(() => undefined))?.close(),
  };
}

const scalarOf = async (file: SafetensorsFile, name: string): Promise<number> =>
  (await readWeightsOf(file, (n) => n === name)).get(name)?.data[0] ?? 0;

/** The towers of a folder's own weights. The headers are compared with what the network asks for before anything else is read. */
async function folderTowers(folder: string, { architecture: a }: ClipFolder, threads: number): Promise<Towers> {
  const file = await openFolderWeights(folder, a.weightNames);
  try {
    const dual = (scope: Parameters<TowerGraph>[0]): DualEncoder<object, object> => a.build(scope, file.names);
    const whole: TowerGraph = (scope) => {
      const model = dual(scope);
      return model.logits(model.image(pixelsInput(a.imageSize)).features, model.text(input('ids', ['N', a.context], 'int64')).features);
    };
    const isFloat = (name: string): boolean => /^(F|BF)/.test(file.info(name).dtype) && !name.endsWith('position_ids');
    const held = new Map(file.names.filter(isFloat).map((name) => [name, { shape: file.info(name).shape, data: new Float32Array(0) }]));
    const declared = [...declaredBy(whole).values()];
    checkWeights(
      folder,
      declared.map((d) => ({ ...d, init: { kind: 'constant', value: 0 } as const, trained: true })),
      held,
    );
    const [checksum, scale, logitBias] = [
      await weightsChecksum(folder, a.weightNames),
      await scalarOf(file, 'logit_scale'),
      await scalarOf(file, 'logit_bias'),
    ];
    const towerOf = async (graph: TowerGraph): Promise<Tower> => {
      const names = new Set(declaredBy(graph).keys());
      return openTower(folder, graph, await readWeightsOf(file, (name) => names.has(name)), threads);
    };
    const image = lazily(() => towerOf(imageGraph(dual, a.imageSize)));
    const causal = a.kind === 'clip'; // open_clip's may take what stands at the end of the padding
    const text = textTower((length) => towerOf(textGraph(dual, length, a.masks)), textLengths(a.context, causal));
    const close = async (): Promise<void> => {
      for (const part of [image, text, file]) await part.close();
    };
    const dimensions = async (): Promise<number> => dimensionsOf(textGraph(dual, a.context, a.masks));
    return { dimensions, image: image.get, text, checksum, logitScale: Math.exp(scale), logitBias, close };
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function onnxTowers(onnx: NonNullable<OpenClipOptions['onnx']>, { architecture: a }: ClipFolder, threads: number): Promise<Towers> {
  const side = (which: 'image' | 'text') =>
    lazily(async () => {
      const path = onnx[which];
      if (path === undefined) throw new InputError(`clip: no ONNX file of the ${which} tower was given`);
      return openOnnxTower(path, which, threads, a);
    });
  const [image, whole] = [side('image'), side('text')];
  const text = textTower(whole.get, [a.context]);
  const paths = [...new Set(Object.values(onnx))];
  if (paths.length === 0) throw new InputError('clip: no ONNX file was given; an image or a text tower expected');
  const close = async (): Promise<void> => {
    for (const part of [image, text]) await part.close();
  };
  const dimensions = async (): Promise<number> => (await (onnx.image === undefined ? whole : image).get()).dimensions;
  return { dimensions, image: image.get, text, checksum: await joinedChecksum(paths), logitScale: null, logitBias: 0, close };
}

/** Errors: tokens that the network has no row for. */
function checkTokens({ ids, length }: TokenBatch, { context, vocabulary }: ClipFolder['architecture']): void {
  if (length !== context) throw new InputError(`clip: texts of ${length} tokens; the network takes ${context}`);
  const strange = ids.find((id) => id < 0n || id >= BigInt(vocabulary));
  if (strange !== undefined)
    throw new InputError(
      `clip: token ${strange} is not among the ${vocabulary} that the network knows; the tokenizer belongs to another one`,
    );
}

/** Tokenizers of a folder by style, each read once. */
function tokenizersOf(folder: string, context: number): (style: TokenStyle) => Promise<TextTokenizer> {
  const opened = new Map<TokenStyle, Promise<TextTokenizer>>();
  return (style) => {
    const found = opened.get(style) ?? folderTokenizer(folder, style, context);
    opened.set(style, found);
    return found;
  };
}

/**
 * Opens a CLIP, SigLIP or open_clip network of a folder with its configuration, tokenizer and weights. Towers are compiled when first used.
 * @throws InputError where files are missing, malformed, do not fit each other or ask for what is not supported
 */
export async function openClip(folder: string, { threads = 1, onnx }: OpenClipOptions = {}): Promise<Clip> {
  const described = await readClipFolder(folder);
  const { architecture, preprocessing } = described;
  const { context, imageSize } = architecture;
  const towers = await (onnx ? onnxTowers(onnx, described, threads) : folderTowers(folder, described, threads));
  const tokenizer = tokenizersOf(folder, context);
  const tokens = async (captions: readonly string[], options: TextOptions = {}): Promise<TokenBatch> => {
    const { tokens: style = tokenStyleOf(architecture), prefix, ...batch } = options;
    const used = await tokenizer(style);
    const first = used.words(prefix ?? '');
    return batchOf(
      used,
      captions.map((caption) => [...first, ...used.words(caption)]),
      { length: context, ...batch },
    );
  };
  const tokenFeatures = async (batch: TokenBatch): Promise<Float32Array> => {
    checkTokens(batch, architecture);
    return towers.text.run(batch);
  };
  const dimensions = await towers.dimensions();
  return {
    name: basename(resolve(folder)),
    checksum: towers.checksum,
    imageSize,
    dimensions,
    context,
    preprocessing,
    logitScale: towers.logitScale,
    logitBias: towers.logitBias,
    imageFeatures: async (pixels) => imageBatches('clip', await towers.image(), pixels, imageSize),
    textFeatures: async (captions, options) => {
      const batch = await tokens(captions, options);
      return { features: await tokenFeatures(batch), tooLong: batch.tooLong };
    },
    tokens,
    tokenFeatures,
    close: () => towers.close(),
  };
}
