/**
 * @file What an evaluation needs of the real images: moments of their features, the manifold of some of them, and how far held-out ones are from training ones.
 * For data sets with a classifier it comes with the package; of other images it is computed at its first use.
 */
import { createHash } from 'node:crypto';
import { artifactPath } from '../data/artifacts.ts';
import type { Dataset, Split } from '../data/dataset.ts';
import {
  fromFloat32,
  fromFloat64,
  readSafetensors,
  type StoredTensor,
  toFloat32,
  toFloat64,
  writeSafetensors,
} from '../engine/io/safetensors.ts';
import type { Extraction, Extractor } from './features/extractor.ts';
import { type ClassifiedData, shippedClassifiers } from './features/shipped.ts';
import { here, type Manifold, manifoldOf, NEIGHBOURS, type Spread } from './manifold/precision-recall.ts';
import { frechetDistance } from './metrics/frechet.ts';
import { yardstickOf } from './metrics/memorisation.ts';
import { type Moments, momentsAccumulator } from './moments.ts';

/** Training images whose features make the manifold of precision and recall: as many as are usually drawn. */
const FIRST = 5000;

export interface Reference {
  /** Of all images of both parts. */
  readonly heldOut: Moments;
  readonly training: Moments;
  /** Of the first training images, at most 5,000. */
  readonly manifold: Manifold;
  /** Distances of the first held-out images to their nearest training images, see `memorisationAgainst`. */
  readonly yardstick: Float64Array;
}
export interface RealFeatures {
  /** How many points the manifold has. */
  readonly firstCount: number;
  /** `floor` is the distance between the two. */
  moments(): Promise<Pick<Reference, 'heldOut' | 'training'> & { readonly floor: number }>;
  manifold(): Promise<Manifold>;
  yardstick(): Promise<Float64Array>;
}
type Extract = (images: Uint8Array, n: number) => Promise<Extraction>;

/** Everything is read or computed at its first use. */
export function realFeatures(
  data: ClassifiedData,
  split: Split,
  extract: Extract,
  { dimensions: d, checksum }: Extractor,
  spread: Spread = here,
): RealFeatures {
  const shipped = once(() => shippedReference(data, split, checksum));
  const first = once(async () => (await extract(...head(split.train))).features);
  const parts = once(async () => {
    const found = await shipped();
    if (found) return found;
    return { training: await momentsOf(split.train, extract, d, await first()), heldOut: await momentsOf(split.heldOut, extract, d) };
  });
  return {
    firstCount: head(split.train)[1],
    moments: once(async () => {
      const { training, heldOut } = await parts();
      return { training, heldOut, floor: frechetDistance(training, heldOut) };
    }),
    manifold: once(async () => (await shipped())?.manifold ?? manifoldOf(await first(), d, NEIGHBOURS, spread)),
    yardstick: once(async () => (await shipped())?.yardstick ?? yardstickOf(split)),
  };
}

/** All of it, computed. */
export async function computedReference(split: Split, extract: Extract, d: number): Promise<Reference> {
  const { features } = await extract(...head(split.train));
  return {
    training: await momentsOf(split.train, extract, d, features),
    heldOut: await momentsOf(split.heldOut, extract, d),
    manifold: await manifoldOf(features, d),
    yardstick: yardstickOf(split),
  };
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

/** SHA-256 over the images of both parts. */
const sumOf = ({ train, heldOut }: Split): string => createHash('sha256').update(train.images).update(heldOut.images).digest('hex');

/** Null where what the package holds is of other weights or other images. */
export async function shippedReference(data: ClassifiedData, split: Split, checksum: string): Promise<Reference | null> {
  const { train, heldOut } = split;
  const { tensors, metadata } = await readSafetensors(artifactPath(shippedClassifiers[data].reference));
  if (metadata['classifier'] !== checksum || metadata['images'] !== sumOf(split)) return null;
  const of = (part: string, n: number): Moments => ({
    mean: toFloat64(tensors.get(`${part}.mean`)!),
    covariance: toFloat64(tensors.get(`${part}.covariance`)!),
    n,
  });
  const features = tensors.get('first')!;
  return {
    training: of('training', train.size),
    heldOut: of('heldOut', heldOut.size),
    manifold: { features: toFloat32(features), d: features.shape[1]!, radii: toFloat64(tensors.get('first.radii')!) },
    yardstick: toFloat64(tensors.get('yardstick')!),
  };
}

/** Stores it beside the checksums of the weights that gave the features and of the images. */
export async function writeReference(path: string, split: Split, checksum: string, reference: Reference): Promise<void> {
  const { training, heldOut, manifold, yardstick } = reference;
  const vector = (values: Float64Array): StoredTensor => fromFloat64(values, [values.length]);
  const moments = Object.entries({ training, heldOut }).flatMap(([name, { mean, covariance }]): [string, StoredTensor][] => [
    [`${name}.mean`, vector(mean)],
    [`${name}.covariance`, fromFloat64(covariance, [mean.length, mean.length])],
  ]);
  const points: [string, StoredTensor] = ['first', fromFloat32(Float32Array.from(manifold.features), [manifold.radii.length, manifold.d])];
  const others: [string, StoredTensor][] = [points, ['first.radii', vector(manifold.radii)], ['yardstick', vector(yardstick)]];
  await writeSafetensors(path, [...moments, ...others], { classifier: checksum, images: sumOf(split) });
}

/** Makes a value at its first use. */
export function once<T>(make: () => Promise<T>): () => Promise<T> {
  const made: Promise<T>[] = [];
  return () => {
    made[0] ??= make();
    return made[0];
  };
}
