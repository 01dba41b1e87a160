/** @file Fréchet distance between Gaussians fitted to two sets of features. */
import { InputError } from '../../engine/io/errors.ts';
import { options } from '../../engine/train/options.ts';
import { frechetBetween, type Gaussian, gaussianOfFew, gaussianOfMoments, traceOfSmallRoot } from '../gaussian.ts';
import { around, groupsOf, type Interval, jackknifeError, NO_INTERVAL, without } from '../intervals.ts';
import { pivotedCholesky } from '../linalg.ts';
import { defineMetric, type FeatureSet } from '../metric.ts';
import { type Features, mergeMoments, type Moments, moments } from '../moments.ts';
import { momentsFast } from '../moments-fast.ts';
import { atLeast, referenceOf, remembered, rowsOf } from '../rows.ts';
import { GROUPS, SEED } from './settings.ts';

/**
 * |μa − μb|² + tr Σa + tr Σb − 2 tr (Σa Σb)^½ (Dowson and Landau, The Fréchet distance between multivariate normal distributions,
 * 1982), in squared units of the features. It is called FID only with the features of one particular Inception network, so ours is
 * not: values compare within one feature network and one number of samples, because the estimate falls as n grows.
 *
 * Covariances of any rank are welcome. Equal moments give zero up to rounding, which may be slightly negative.
 * This one computes at once, on the calling thread, for some hundred dimensions; `frechetBetween` is for any number.
 * Throws an InputError where the dimensions differ or a covariance is not positive semidefinite.
 */
export function frechetDistance(a: Moments, b: Moments): number {
  const d = a.mean.length;
  if (b.mean.length !== d)
    throw new InputError(`frechetDistance: features have ${d} and ${b.mean.length} dimensions; both sets need the same`);
  let distance = -2 * traceOfSmallRoot(pivotedCholesky(a.covariance, d), pivotedCholesky(b.covariance, d), d);
  for (let i = 0; i < d; i++) {
    distance += (a.mean[i]! - b.mean[i]!) ** 2 + a.covariance[i * d + i]! + b.covariance[i * d + i]!;
  }
  return distance;
}

/**
 * The same from features [n, d]. `size.n` takes the first n samples of both sets; without it every set gives all of its own.
 */
export function frechetFromFeatures(a: Features, b: Features, size: { readonly n?: number; readonly d: number }): number {
  const { n, d } = size;
  const [first, second] = [a, b].map((set) => moments(n === undefined ? set : set.subarray(0, n * d), n ?? set.length / d, d));
  return frechetDistance(first!, second!);
}

/** The Gaussian of all samples of a set, computed once: by single samples where they are fewer than dimensions, else by moments. */
export const gaussianOf = (set: FeatureSet): Promise<Gaussian> =>
  remembered(set, 'gaussian', async () => {
    const { features, dimensions: d } = set;
    if (features && features.length / d <= d) return gaussianOfFew(features, d);
    return gaussianOfMoments(await momentsOfSet(set)).catch((error: unknown) => {
      throw error instanceof InputError ? new InputError(`${set.name}: ${error.message}`) : error;
    });
  });

/** Moments of all samples of a set, computed once. @throws InputError for fewer than two samples, or a set without both features and moments */
export function momentsOfSet(set: FeatureSet): Promise<Moments> {
  const { moments: known, features } = set;
  if (known) return Promise.resolve(known);
  if (!features) throw new InputError(`frechet: ${set.name} has neither features nor moments; one of both is needed`);
  return remembered(set, 'moments', () => momentsFast(features, set.dimensions));
}

/** Dimensions up to which the distance is computed again without each group. */
const REPEATED = 512;
/** Samples of a part, and parts at most, above that. */
const PART = 256;
const PARTS = 20;

export const frechet = defineMetric({
  id: 'frechet',
  label: 'Fréchet distance',
  source: 'Heusel et al. 2017, arXiv:1706.08500; Dowson and Landau 1982',
  better: 'lower',
  needs: { generated: ['moments'], reference: ['moments'] },
  settings: options({ ...GROUPS, ...SEED }),
  async compute(generated, other, { groups, seed }) {
    const reference = referenceOf('frechet', generated, other);
    for (const set of [generated, reference]) atLeast('frechet', set, 2);
    const value = await frechetBetween(await gaussianOf(generated), await gaussianOf(reference));
    return {
      value,
      ...(await intervalOf(generated, reference, value, groups, seed)),
      warnings: fewSamples('frechet', generated, reference),
    };
  },
});

/** How few samples move the distance. */
export function fewSamples(metric: string, generated: FeatureSet, reference: FeatureSet): readonly string[] {
  return [generated, reference].flatMap(({ name, n, dimensions: d }) => {
    if (n === null || n >= 10 * d) return [];
    const rank = n <= d ? `, and ${n} samples fill ${n - 1} of ${d} dimensions` : '';
    return [
      `${metric}: ${name} has ${n} samples of ${d} dimensions; below ${10 * d} the distance comes out too large${rank}: compare at equal n`,
    ];
  });
}

async function intervalOf(generated: FeatureSet, reference: FeatureSet, value: number, groups: number, seed: number): Promise<Interval> {
  if (groups < 2 || !generated.features) return NO_INTERVAL;
  if (generated.dimensions > REPEATED) return byParts(generated, reference, value, seed);
  const [own, others] = [await withoutGroups(generated, groups, seed), await withoutGroups(reference, groups, seed)];
  if (!own) return NO_INTERVAL;
  const distances: number[] = [];
  for (let g = 0; g < groups; g++)
    distances.push(await frechetBetween(await own(g), others ? await others(g) : await gaussianOf(reference)));
  return around(value, jackknifeError(distances), groups - 1);
}

/** The Gaussian of a set without each group of its samples; null for statistics, and where too few samples would be left. */
async function withoutGroups(set: FeatureSet, groups: number, seed: number): Promise<((out: number) => Promise<Gaussian>) | null> {
  const { features, dimensions: d, name: _ } = set;
  if (!features || features.length / d < 2 * groups) return null;
  const parts = groupsOf(features.length / d, groups, seed, 'frechet');
  if (features.length / d <= d || parts.some(({ length }) => length < 2))
    return async (out) => gaussianOfFew(rowsOf(features, d, without(parts, out)), d);
  const each = await Promise.all(parts.map((rows) => momentsFast(rowsOf(features, d, rows), d)));
  return (out) => gaussianOfMoments(each.filter((_, g) => g !== out).reduce(mergeMoments));
}

/**
 * Many dimensions, where one distance takes seconds: the spread of the distances of disjoint parts of the generated samples to the whole reference, which
 * falls as the root of the number of samples.
 */
async function byParts({ features, dimensions: d }: FeatureSet, reference: FeatureSet, value: number, seed: number): Promise<Interval> {
  const n = features!.length / d;
  const count = Math.min(PARTS, Math.floor(n / Math.min(PART, Math.floor(n / 5))));
  const size = Math.min(PART, Math.floor(n / count));
  if (!(count >= 5) || size < 2) return NO_INTERVAL;
  const other = await gaussianOf(reference);
  const distances: number[] = [];
  for (const rows of groupsOf(n, Math.floor(n / size), seed, 'frechet parts').slice(0, count))
    distances.push(await frechetBetween(gaussianOfFew(rowsOf(features!, d, rows), d), other));
  const mean = distances.reduce((sum, each) => sum + each, 0) / count;
  const spread = Math.sqrt(distances.reduce((sum, each) => sum + (each - mean) ** 2, 0) / (count - 1));
  return around(value, spread * Math.sqrt(size / n), count - 1);
}
