/**
 * @file How good generated images are: Fréchet distance to real ones, precision and recall, class accuracy, and whether they are copies of
 * training images; for every data set that a classifier is shipped for.
 */
import type { Split } from '../data/dataset.ts';
import { loadDataset } from '../data/registry.ts';
import { InputError } from '../engine/io/errors.ts';
import { classifierExtractor } from './features/classifier.ts';
import type { Extraction, Extractor } from './features/extractor.ts';
import { type ClassifiedData, classifiedData, type ShippedClassifier, shippedClassifiers } from './features/shipped.ts';
import { here, manifoldOf, NEIGHBOURS, precisionRecall, type Spread } from './manifold/precision-recall.ts';
import { accuracy } from './metrics/class-accuracy.ts';
import { frechetDistance } from './metrics/frechet.ts';
import { type Memorisation, memorisationAgainst } from './metrics/memorisation.ts';
import { moments } from './moments.ts';
import { once, type RealFeatures, realFeatures } from './reference.ts';

/** How the distance is called wherever it is shown. It is no FID: that takes the features of one particular network of photographs. */
export const frechetName = (data: ClassifiedData): string => `Fréchet distance (${shippedClassifiers[data].name})`;

/** Which evaluation suits a data set as configurations write it (`digits`, `fashion-mnist:FOLDER`); null where no classifier is shipped for it. */
export const evaluatedAs = (spec: string): ClassifiedData | null => classifiedData.find((name) => name === spec.split(':')[0]) ?? null;

export interface Generated {
  /** [n,1,28,28], 0..255 */
  readonly images: Uint8Array;
  readonly n: number;
  /** The classes that were asked for, n of them; null for samples without a condition. */
  readonly labels: ArrayLike<number> | null;
}

export interface Scores {
  /** What the distance is called. */
  readonly metric: string;
  /** Against all held-out and all training images. The estimate falls as n grows: compare at equal n. */
  readonly frechet: { readonly heldOut: number; readonly training: number };
  /** The distance between the held-out and the training images: what as many new real ones would get. */
  readonly floor: number;
  /** Shares of samples like real images and of real images like samples, against at most 5,000 training images; null for 3 samples or fewer. */
  readonly precision: number | null;
  readonly recall: number | null;
  /** Share of samples in which the classifier sees the class that was asked for; null without labels. */
  readonly classAccuracy: number | null;
  /** Of the first samples; `index` counts the training images. Null where it was not asked for. */
  readonly nearest: Memorisation | null;
  /** SHA-256 of the classifier's weights: scores compare only within one. */
  readonly checksum: string;
}

export interface Evaluation {
  /** Training images that recall is a share of. */
  readonly nReal: number;
  /** @throws InputError for fewer than 2 samples, wrong sizes or labels */
  evaluate(generated: Generated): Promise<Scores>;
  /** The distances of stored features [n, d]. */
  frechet(features: Float32Array, n: number): Promise<Scores['frechet']>;
  close(): Promise<void>;
}

/** Computes features and logits, for instance in a pool. */
export type Extract = (images: Uint8Array, n: number) => Promise<Extraction>;

export interface EvaluationOptions {
  /** Default: on the calling thread, with one thread. */
  readonly extract?: Extract;
  /** Where precision and recall are computed; default: on the calling thread. */
  readonly spread?: Spread;
  /** Samples whose nearest training images are searched; default 64, none with 0. */
  readonly neighbours?: number;
  /** Called between pieces of the work; what it throws ends an evaluation. */
  readonly between?: () => void;
}

/** Images of a piece: a multiple of a classifier's batch, so that the bits are those of one piece. */
const PIECE = 1000;

/**
 * Opens an evaluation against `digits`, `fashion-mnist` or `fashion-mnist:FOLDER`. What it needs of the real images comes with the package; of other
 * images it is computed once, at first use, in seconds of one core.
 * @throws InputError for a data set that no classifier is shipped for
 */
export async function openEvaluation(
  spec: string,
  { extract, spread = here, neighbours = 64, between = () => {} }: EvaluationOptions = {},
): Promise<Evaluation> {
  const data = evaluatedAs(spec);
  if (!data) throw new InputError(`evaluation: there are no features for ${spec}; for ${classifiedData.join(', ')} there are`);
  const [split, extractor] = await Promise.all([loadDataset(spec), classifierExtractor(data)]);
  const extraction = extract ?? inPieces(extractor, between);
  const real = realFeatures(data, split, extraction, extractor, spread);
  const parts = { data, extractor, extraction, real, spread, memorisation: memoryOf(split, neighbours, real) };
  return {
    nReal: real.firstCount,
    frechet: (features, n) => distances(parts, features, n),
    evaluate: (generated) => evaluate(parts, generated),
    close: () => extractor.close(),
  };
}

/** The features of images, some after the others. */
const inPieces =
  (extractor: Extractor, between: () => void): Extract =>
  async (images, n) => {
    const size = images.length / n;
    const parts: Extraction[] = [];
    for (let from = 0; from < n || from === 0; from += PIECE) {
      between();
      const count = Math.min(PIECE, n - from);
      parts.push(await extractor.features(images.subarray(from * size, (from + count) * size), count));
    }
    return { features: joined(parts.map(({ features }) => features)), logits: joined(parts.map(({ logits }) => logits!)) };
  };

function joined(parts: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** One evaluation of one set of samples. Errors as in `openEvaluation` and `Evaluation`. */
export async function evaluateSamples(spec: string, generated: Generated, options: EvaluationOptions = {}): Promise<Scores> {
  const evaluation = await openEvaluation(spec, options);
  try {
    return await evaluation.evaluate(generated);
  } finally {
    await evaluation.close();
  }
}

interface Parts {
  readonly data: ClassifiedData;
  readonly extractor: Extractor;
  readonly extraction: Extract;
  readonly real: RealFeatures;
  readonly spread: Spread;
  readonly memorisation: (images: Uint8Array) => Promise<Memorisation | null>;
}

async function evaluate(parts: Parts, { images, n, labels }: Generated): Promise<Scores> {
  const { data, extractor, extraction, real, memorisation } = parts;
  const { network } = shippedClassifiers[data];
  checkGenerated(data, images, n, labels);
  const { features, logits } = await extraction(images, n);
  return {
    metric: frechetName(data),
    frechet: await distances(parts, features, n),
    floor: (await real.moments()).floor,
    ...(await precisionRecallOf(parts, features, n)),
    classAccuracy: labels && accuracy(logits!, labels, network.classes),
    nearest: await memorisation(images),
    checksum: extractor.checksum,
  };
}

async function distances({ real, extractor }: Parts, features: Float32Array, n: number): Promise<Scores['frechet']> {
  const { heldOut, training } = await real.moments();
  const own = moments(features, n, extractor.dimensions);
  return { heldOut: frechetDistance(own, heldOut), training: frechetDistance(own, training) };
}

async function precisionRecallOf({ real, extractor, spread }: Parts, features: Float32Array, n: number) {
  if (n <= NEIGHBOURS) return { precision: null, recall: null };
  return precisionRecall(await real.manifold(), await manifoldOf(features, extractor.dimensions, NEIGHBOURS, spread), spread);
}

function memoryOf(split: Split, neighbours: number, real: RealFeatures): Parts['memorisation'] {
  const search = once(async () => memorisationAgainst(split, await real.yardstick()));
  const size = split.train.images.length / split.train.size;
  return async (images) => (neighbours > 0 ? (await search())(images.subarray(0, neighbours * size)) : null);
}

function checkGenerated(data: ClassifiedData, images: Uint8Array, n: number, labels: ArrayLike<number> | null): void {
  const { size }: ShippedClassifier = shippedClassifiers[data];
  if (!Number.isInteger(n) || n < 2 || images.length !== n * size * size)
    throw new InputError(`${data}: ${images.length} bytes for ${n} samples; at least 2 samples of ${size}x${size}x1 bytes are needed`);
  if (labels && labels.length !== n) throw new InputError(`${data}: ${labels.length} labels for ${n} samples; one for each is needed`);
}
