/** @file Are samples copies of training images? Their distances to the nearest ones, beside those of images that training never saw. */
import { toFloat } from '../../data/bytes.ts';
import { type Dataset, imageBytes, type Split } from '../../data/dataset.ts';
import { InputError } from '../../engine/io/errors.ts';
import { options, real } from '../../engine/train/options.ts';
import { ofShare } from '../intervals.ts';
import { cloudOf, frameOf } from '../manifold/distances.ts';
import { kthSquaredDistances } from '../manifold/nearest.ts';
import { defineMetric } from '../metric.ts';
import { type Neighbours, nearest } from '../neighbours.ts';
import { atLeast, featuresOf, referenceOf } from '../rows.ts';

/** Distances of samples to their nearest training images: Euclidean over pixels in [−1, 1]. */
export interface Distances {
  readonly median: number;
  /** 5th percentile. */
  readonly low: number;
}

export interface Memorisation extends Neighbours, Distances {
  /** The same of held-out images: the yardstick. */
  readonly heldOut: Distances;
  /** Share of samples nearer to a training image than the nearest 5 % of held-out images are: about 0.05 without copying, 1 for copies. */
  readonly close: number;
}

/** Held-out images of the yardstick. With digits all 2,000 take four times as long and move the two percentiles by 2.3 and 1.5 %. */
const YARDSTICK = 500;

type Search = (images: Uint8Array) => Neighbours;
/** A search among training images; takes images of the same size, bytes. */
function searchIn(train: Dataset): Search {
  const size = imageBytes(train);
  const order = byVariance(train);
  const inOrder = (images: Uint8Array): Float32Array => toFloat(images.map((_, i) => images[i - (i % size) + order[i % size]!]!));
  const training = inOrder(train.images);
  return (images) => nearest(inOrder(images), training, size);
}

/** Distances of the first 500 held-out images to their nearest training images; seconds for thousands of these. */
export const yardstickOf = ({ train, heldOut }: Split, search: Search = searchIn(train)): Float64Array =>
  search(heldOut.images.subarray(0, YARDSTICK * imageBytes(train))).distance;

/** Prepares the search. The result takes samples of the same size, bytes. @param yardstick what `yardstickOf` gives, where it is known */
export function memorisationAgainst(split: Split, yardstick?: Float64Array): (samples: Uint8Array) => Memorisation {
  const search = searchIn(split.train);
  const ofHeldOut = distancesOf(yardstick ?? yardstickOf(split, search));
  return (samples) => {
    const found = search(samples);
    const close = found.distance.filter((distance) => distance < ofHeldOut.low).length / found.distance.length;
    return { ...found, ...distancesOf(found.distance), heldOut: ofHeldOut, close };
  };
}

/** Pixels from those that differ most between images: the search gives a reference up after few of them, more than twice as fast. */
function byVariance({ images, size, ...shape }: Dataset): readonly number[] {
  const pixels = imageBytes(shape);
  const [sum, squares] = [new Float64Array(pixels), new Float64Array(pixels)];
  images.forEach((value, i) => {
    sum[i % pixels]! += value;
    squares[i % pixels]! += value * value;
  });
  const variance = squares.map((square, k) => square - sum[k]! ** 2 / size);
  return Array.from(variance.keys()).sort((a, b) => variance[b]! - variance[a]!);
}

const distancesOf = (distance: Float64Array): Distances => ({ median: quantile(distance, 0.5), low: quantile(distance, 0.05) });

/** Linear between the order statistics, as in NumPy's default. */
function quantile(values: Float64Array, q: number): number {
  const sorted = values.toSorted();
  const at = q * (sorted.length - 1);
  const below = Math.floor(at);
  return sorted[below]! + (at - below) * (sorted[Math.min(below + 1, sorted.length - 1)]! - sorted[below]!);
}

const settings = options({
  copyPercentile: real(5, 'percentile of distances between reference samples below which a sample counts as a copy, for memorisation', {
    min: 0,
    max: 100,
  }),
});

/**
 * Memorisation in features: the share of samples that are as near to a sample of the reference (the training set) as the nearest of the reference are
 * to each other. Without copying it is about the percentile.
 */
export const memorisation = defineMetric({
  id: 'memorisation',
  label: 'memorisation',
  source: 'share of samples nearer to a training sample than those are to each other',
  better: 'lower',
  needs: { generated: ['features'], reference: ['features'] },
  settings,
  async compute(generated, other, { copyPercentile }) {
    const reference = referenceOf('memorisation', generated, other);
    const d = generated.dimensions;
    const [x, y] = [featuresOf('memorisation', generated), featuresOf('memorisation', reference)];
    atLeast('memorisation', reference, 2);
    if (!x.every(Number.isFinite) || !y.every(Number.isFinite))
      throw new InputError(`memorisation: a feature of ${generated.name} or ${reference.name} is not finite; all must be`);
    const frame = frameOf([y, x], d);
    const cloud = cloudOf(y, d, frame);
    const among = (await kthSquaredDistances(cloud, cloud, 1)).map(Math.sqrt);
    const found = (await kthSquaredDistances(cloudOf(x, d, frame), cloud, 1)).map(Math.sqrt);
    const limit = quantile(among, copyPercentile / 100);
    const value = found.filter((distance) => distance <= limit).length / found.length;
    const warnings =
      reference.n! < 1000
        ? [`memorisation: ${reference.n} reference samples; give the whole training set, a copy of one that is left out is not seen`]
        : [];
    const details = { median: quantile(found, 0.5), referenceMedian: quantile(among, 0.5), limit };
    return { value, ...ofShare(value, found.length), warnings, details };
  },
});
