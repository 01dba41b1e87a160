/** @file What an evaluation needs of the real images: moments of their features, and the features of some of them. */
import { artifactPath } from '../data/artifacts.ts';
import type { Dataset, Split } from '../data/dataset.ts';
import { fromFloat64, readSafetensors, type StoredTensor, toFloat64, writeSafetensors } from '../engine/io/safetensors.ts';
import type { Extraction, Extractor } from './features/extractor.ts';
import { type ClassifiedData, type ShippedClassifier, shippedClassifiers } from './features/shipped.ts';
import { frechetDistance } from './metrics/frechet.ts';
import { type Moments, momentsAccumulator } from './moments.ts';

/** Training images whose features make the manifold of precision and recall: as many as are usually drawn. */
const FIRST = 5000;

export interface BothMoments {
  readonly heldOut: Moments;
  readonly training: Moments;
}
export interface RealMoments extends BothMoments {
  /** Distance between the two. */
  readonly floor: number;
}
export interface RealFeatures {
  readonly dimensions: number;
  /** How many `first` are. */
  readonly firstCount: number;
  /** Of all images of both parts. */
  moments(): Promise<RealMoments>;
  /** Features of the first training images, at most 5,000. */
  first(): Promise<Float32Array>;
}
type Extract = (images: Uint8Array, n: number) => Promise<Extraction>;

/** Everything is computed at its first use; moments of a large data set come with the package. */
export function realFeatures(data: ClassifiedData, split: Split, extract: Extract, { dimensions, checksum }: Extractor): RealFeatures {
  const first = once(async () => (await extract(...head(split.train))).features);
  const both = once(async () => {
    const found = (await shippedMoments(data, split, checksum)) ?? (await computedMoments(split, extract, dimensions, await first()));
    return { ...found, floor: frechetDistance(found.training, found.heldOut) };
  });
  return { dimensions, firstCount: head(split.train)[1], moments: both, first };
}

/** Moments of the features of all images; those of the first training images may be there already. */
export async function computedMoments({ train, heldOut }: Split, extract: Extract, d: number, first?: Float32Array): Promise<BothMoments> {
  return { training: await momentsOf(train, extract, d, first), heldOut: await momentsOf(heldOut, extract, d) };
}

function head({ images, size }: Dataset): [Uint8Array, number] {
  const n = Math.min(size, FIRST);
  return [images.subarray(0, (n * images.length) / size), n];
}

/** In pieces of `FIRST` images; features of the first piece may be there already. */
async function momentsOf({ images, size }: Dataset, extract: Extract, d: number, first?: Float32Array): Promise<Moments> {
  const sums = momentsAccumulator(d);
  const bytes = images.length / size;
  for (let from = 0; from < size; from += FIRST) {
    const n = Math.min(FIRST, size - from);
    sums.push(from === 0 && first ? first : (await extract(images.subarray(from * bytes, (from + n) * bytes), n)).features);
  }
  return sums.result();
}

/** Null where the package holds none, or where they are of other weights or other images. */
async function shippedMoments(data: ClassifiedData, { train, heldOut }: Split, checksum: string): Promise<BothMoments | null> {
  const { moments }: ShippedClassifier = shippedClassifiers[data];
  if (!moments) return null;
  const { tensors, metadata } = await readSafetensors(artifactPath(moments));
  if (metadata['classifier'] !== checksum) return null;
  if (metadata['training'] !== String(train.size) || metadata['heldOut'] !== String(heldOut.size)) return null;
  const of = (part: string, n: number): Moments => ({
    mean: toFloat64(tensors.get(`${part}.mean`)!),
    covariance: toFloat64(tensors.get(`${part}.covariance`)!),
    n,
  });
  return { training: of('training', train.size), heldOut: of('heldOut', heldOut.size) };
}

/** Stores the moments of the real images beside the checksum of the weights that gave the features. */
export async function writeMoments(path: string, { training, heldOut }: BothMoments, checksum: string): Promise<void> {
  const tensors = ([name, { mean, covariance }]: [string, Moments]): [string, StoredTensor][] => [
    [`${name}.mean`, fromFloat64(mean, [mean.length])],
    [`${name}.covariance`, fromFloat64(covariance, [mean.length, mean.length])],
  ];
  const facts = { classifier: checksum, training: String(training.n), heldOut: String(heldOut.n) };
  await writeSafetensors(path, Object.entries({ training, heldOut }).flatMap(tensors), facts);
}

/** Makes a value at its first use. */
export function once<T>(make: () => Promise<T>): () => Promise<T> {
  const made: Promise<T>[] = [];
  return () => {
    made[0] ??= make();
    return made[0];
  };
}
