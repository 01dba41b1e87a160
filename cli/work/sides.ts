/** @file Either side of a comparison: images under any name, samples of a model drawn on the fly, or features that are stored already. */
import { existsSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { toBytes } from '../../data/bytes.ts';
import { InputError } from '../../engine/io/errors.ts';
import { openSafetensors } from '../../engine/io/safetensors.ts';
import { namesFeatures, readFeatures } from '../../eval/features/stored.ts';
import type { FeatureSet } from '../../eval/metric.ts';
import { isDataset } from '../../eval/sources/dataset.ts';
import { type ImageSource, openImages } from '../../eval/sources/index.ts';
import { memoryImages } from '../../eval/sources/memory.ts';
import { type Flat, valuesOf } from '../config.ts';
import { drawSamples, labelsFor, type Pace } from './drawing.ts';
import { openDrawn } from './hybrid.ts';
import { BUNDLED, MODEL_FILE } from './model.ts';
import { drawing } from './source.ts';

export interface ImageSide {
  readonly kind: 'images';
  readonly name: string;
  readonly source: ImageSource;
  /** How samples were drawn, and what of; empty for images that were there. */
  readonly settings: Flat;
  /** The data set that it is, or that its model was trained on; empty where that is not known. */
  readonly data: string;
}
export interface StoredSide {
  readonly kind: 'stored';
  readonly name: string;
  readonly set: FeatureSet;
  /** How the images were resized, where the file says it. */
  readonly resize: string | null;
}
export type Side = ImageSide | StoredSide;

export interface SideRequest {
  /** Options of drawing. */
  readonly flat: Flat;
  /** Leave images out that cannot be read. */
  readonly skip: boolean;
  /** Samples that are drawn of a model, and images that are used of a set; null for all, and 5,000 of a model. */
  readonly n: number | null;
  readonly onPace?: ((pace: Pace) => void) | undefined;
}
/** Samples of a model where nothing is said. */
const SAMPLES = 5000;

const isFile = (path: string): Promise<boolean> =>
  stat(path).then(
    (facts) => facts.isFile(),
    () => false,
  );

/** A bundled name, a student, a run folder, a checkpoint, or weights with their card. */
export async function isModel(spec: string): Promise<boolean> {
  if (Object.hasOwn(BUNDLED, spec) || spec.endsWith('.onnx')) return true;
  if (spec.endsWith('.safetensors') && existsSync(spec)) {
    const file = await openSafetensors(spec);
    await file.close();
    return file.metadata['onestep'] !== undefined;
  }
  const found = await Promise.all([MODEL_FILE, 'checkpoint.json', 'config.json', 'log.jsonl'].map((name) => isFile(join(spec, name))));
  return found.includes(true);
}

/** A data set by its name alone means the images that models are trained on. */
export const namedPart = (spec: string): string => (isDataset(spec) ? `${spec}#train` : spec);

/**
 * Opens a side. Close the source of images when done.
 * @throws InputError for whatever is wrong with it, and for fewer images than asked for
 */
export async function openSide(spec: string, request: SideRequest): Promise<Side> {
  // Weights hold matrices too: a model is told by its card.
  if (await isModel(spec)) return drawnSide(spec, request);
  const set = await storedSet(spec);
  if (set) return { kind: 'stored', name: spec, set: first(set, request.n), resize: await resizeOf(spec) };
  const name = namedPart(spec);
  const source = await openImages(name, { skipBad: request.skip });
  const { n } = request;
  if (n !== null && source.count !== null && source.count < n) {
    await source.close();
    throw new InputError(`${name}: holds ${source.count} images, not ${n}; give a set with enough of them, or a smaller --n`);
  }
  const data = name === spec ? '' : spec;
  return { kind: 'images', name, source: n === null ? source : source.slice(0, n), settings: {}, data: data || datasetOf(spec) };
}

const datasetOf = (spec: string): string => {
  const hash = spec.lastIndexOf('#');
  return hash > 0 && isDataset(spec.slice(0, hash)) ? spec.slice(0, hash) : '';
};

/** Features and statistics; null for what is no file of them. */
const storedSet = async (spec: string): Promise<FeatureSet | null> => (existsSync(spec) || namesFeatures(spec) ? readFeatures(spec) : null);

async function resizeOf(spec: string): Promise<string | null> {
  if (!spec.endsWith('.safetensors')) return null;
  const file = await openSafetensors(spec);
  await file.close();
  return file.metadata['resize'] ?? null;
}

function first(set: FeatureSet, n: number | null): FeatureSet {
  if (n === null || set.n === n) return set;
  if (!set.features || set.n === null)
    throw new InputError(`${set.name}: holds statistics alone, of which no first ${n} samples can be taken; leave --n out`);
  if (set.n < n) throw new InputError(`${set.name}: holds features of ${set.n} images, not ${n}; give a smaller --n`);
  const { logits } = set;
  return {
    ...set,
    n,
    features: set.features.subarray(0, n * set.dimensions),
    logits: logits && { ...logits, values: logits.values.subarray(0, n * logits.classes) },
    labels: set.labels && Array.from(set.labels).slice(0, n),
  };
}

async function drawnSide(spec: string, { flat, n: wanted, onPace }: SideRequest): Promise<ImageSide> {
  const n = wanted ?? SAMPLES;
  const { seed, guidance } = valuesOf(drawing, flat);
  const source = await openDrawn(spec, flat);
  try {
    const { shape } = source.sample;
    if (shape.length !== 3) throw new InputError(`evaluate: ${spec} makes [${shape}], which are no images; give a model of images`);
    const labels = labelsFor(source, [], n);
    const { images, imagesPerSecond } = await drawSamples(source, { n, seed, labels }, onPace);
    const { sampler, nfe } = source.generator;
    const memory = { images: toBytes(images), n, shape: shape as readonly [number, number, number], labels };
    return {
      kind: 'images',
      name: spec,
      source: memoryImages(spec, memory),
      settings: { model: spec, seed, sampler, guidance, nfe, imagesPerSecond },
      data: source.data,
    };
  } finally {
    await source.generator.close();
  }
}
