/** @file Kernel Inception distance: MMD² under a cubic kernel. Bińkowski et al. 2018, arXiv:1801.01401. */
import { InputError } from '../../engine/io/errors.ts';
import { permutation, streamKey } from '../../engine/random/philox.ts';
import { choice, options, whole } from '../../engine/train/options.ts';
import { around } from '../intervals.ts';
import { discrepancy, type Kernel, polynomial } from '../kernels.ts';
import { defineMetric, type FeatureSet } from '../metric.ts';
import type { Features } from '../moments.ts';
import { atLeast, featuresOf, referenceOf, rowsOf } from '../rows.ts';
import { SEED } from './settings.ts';

/** Up to so many samples a side, all pairs are few enough. */
const ALL_PAIRS = 5000;

const settings = options({
  kidEstimator: choice(
    ['auto', 'full', 'subsets'],
    'auto',
    `full: over all pairs; subsets: the mean over random subsets, as torch-fidelity and clean-fid do; auto: full up to ${ALL_PAIRS} samples a side`,
  ),
  kidSubsets: whole(100, 'random subsets', { min: 2, max: 100_000 }),
  kidSubsetSize: whole(1000, 'samples of a subset; the smaller set limits it', { min: 2, max: 100_000 }),
  ...SEED,
});

export interface SubsetDistance {
  readonly mean: number;
  /** Population standard deviation over the subsets. */
  readonly std: number;
  readonly perSubset: Float64Array;
}

/** (x·y/d + 1)³ */
export const kidKernel = (d: number): Kernel => polynomial(1 / d);

/** KID over given subsets: `pairs` are the rows of the first and of the second set, for each subset. The unbiased estimate of each, and their mean. */
export async function kidOfSubsets(
  x: Features,
  y: Features,
  d: number,
  pairs: Iterable<readonly [ArrayLike<number>, ArrayLike<number>]>,
): Promise<SubsetDistance> {
  const values: number[] = [];
  for (const [first, second] of pairs) {
    values.push((await discrepancy(rowsOf(x, d, first), rowsOf(y, d, second), d, kidKernel(d), 'unbiased')).value);
  }
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const std = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length);
  return { mean, std, perSubset: Float64Array.from(values) };
}

function* drawn(n: number, m: number, subsets: number, size: number, seed: number): Generator<readonly [Uint32Array, Uint32Array], void> {
  for (let s = 0; s < subsets; s++) {
    yield [
      permutation(n, streamKey(seed, s, 'kid generated')).subarray(0, size),
      permutation(m, streamKey(seed, s, 'kid reference')).subarray(0, size),
    ];
  }
}

/** The unbiased estimate over all pairs, and its standard error. @throws InputError for fewer than two samples a side */
export const kidOfAll = (x: Features, y: Features, d: number) => discrepancy(x, y, d, kidKernel(d), 'unbiased');

export const kid = defineMetric({
  id: 'kid',
  label: 'KID',
  source: 'Bińkowski et al. 2018, arXiv:1801.01401',
  better: 'lower',
  needs: { generated: ['features'], reference: ['features'] },
  settings,
  async compute(generated, reference, { kidEstimator, kidSubsets, kidSubsetSize, seed }) {
    const { x, y, d } = sidesOf(generated, reference);
    const [n, m] = [x.length / d, y.length / d];
    const least = Math.min(n, m);
    const warnings = least < 100 ? [`kid: ${least} samples; it is unbiased at any number, but below 100 mostly noise`] : [];
    if (kidEstimator === 'full' || (kidEstimator === 'auto' && Math.max(n, m) <= ALL_PAIRS)) {
      const { value, error } = await kidOfAll(x, y, d);
      return { value, ...around(value, error), warnings };
    }
    const size = Math.min(kidSubsetSize, least);
    const { mean, std } = await kidOfSubsets(x, y, d, drawn(n, m, kidSubsets, size, seed));
    // Subsets overlap: the spread belongs to one of them, and all samples are least / size times as many.
    return { value: mean, ...around(mean, std * Math.sqrt(size / least)), warnings, details: { subsetStd: std, subsetSize: size } };
  },
});

function sidesOf(generated: FeatureSet, other: FeatureSet | null): { readonly x: Features; readonly y: Features; readonly d: number } {
  const reference = referenceOf('kid', generated, other);
  const [x, y] = [featuresOf('kid', generated), featuresOf('kid', reference)];
  atLeast('kid', generated, 2);
  atLeast('kid', reference, 2);
  if (![x, y].every((values) => values.every(Number.isFinite)))
    throw new InputError(`kid: a feature of ${generated.name} or ${reference.name} is not finite; all must be`);
  return { x, y, d: generated.dimensions };
}
