/** @file FID∞: the Fréchet distance extrapolated to infinitely many samples. Chong and Forsyth 2020, arXiv:1911.07023. */
import { InputError } from '../../engine/io/errors.ts';
import { permutation, streamKey } from '../../engine/random/philox.ts';
import { options, whole } from '../../engine/train/options.ts';
import { frechetBetween, type Gaussian, gaussianOfFew, gaussianOfMoments } from '../gaussian.ts';
import { around } from '../intervals.ts';
import { defineMetric } from '../metric.ts';
import type { Features } from '../moments.ts';
import { momentsFast } from '../moments-fast.ts';
import { featuresOf, referenceOf, rowsOf } from '../rows.ts';
import { gaussianOf } from './frechet.ts';
import { SEED } from './settings.ts';

const settings = options({
  infinityPoints: whole(15, 'numbers of samples whose distances are extrapolated for frechet-infinity', { min: 3, max: 1000 }),
  infinitySmallest: whole(0, 'the smallest of them; 0: a fifth of all samples, at most 5000', { min: 0 }),
  ...SEED,
});

export interface Line {
  /** Value at 1/n = 0. */
  readonly intercept: number;
  readonly slope: number;
  /** Standard error of the intercept, from the residuals. */
  readonly error: number;
}

/** Least squares of values in 1/n. */
export function extrapolate(sizes: readonly number[], values: readonly number[]): Line {
  const x = sizes.map((n) => 1 / n);
  const mean = (of: readonly number[]): number => of.reduce((sum, value) => sum + value, 0) / of.length;
  const [middle, level] = [mean(x), mean(values)];
  const square = x.reduce((sum, value) => sum + (value - middle) ** 2, 0);
  const slope = x.reduce((sum, value, i) => sum + (value - middle) * (values[i]! - level), 0) / square;
  const intercept = level - slope * middle;
  const residual = x.reduce((sum, value, i) => sum + (values[i]! - intercept - slope * value) ** 2, 0) / (x.length - 2);
  return { intercept, slope, error: Math.sqrt(residual * (1 / x.length + middle ** 2 / square)) };
}

/** `count` whole numbers in equal steps from `smallest` to `n`, rounded down. */
export const sizesUpTo = (n: number, smallest: number, count: number): readonly number[] =>
  Array.from({ length: count }, (_, i) => (i === count - 1 ? n : Math.floor(smallest + (i * (n - smallest)) / (count - 1))));

/** Distances of the first `sizes[i]` samples in the order `orders(i)` to the reference. */
export async function distancesBySize(
  features: Features,
  d: number,
  reference: Gaussian,
  sizes: readonly number[],
  orders: (i: number) => ArrayLike<number>,
): Promise<readonly number[]> {
  const values: number[] = [];
  for (const [i, size] of sizes.entries()) {
    const some = rowsOf(
      features,
      d,
      Array.from({ length: size }, (_, at) => orders(i)[at]!),
    );
    values.push(await frechetBetween(size <= d ? gaussianOfFew(some, d) : await gaussianOfMoments(await momentsFast(some, d)), reference));
  }
  return values;
}

export const frechetInfinity = defineMetric({
  id: 'frechet-infinity',
  label: 'Fréchet distance at infinity',
  source: 'Chong and Forsyth 2020, arXiv:1911.07023',
  better: 'lower',
  needs: { generated: ['features'], reference: ['moments'] },
  settings,
  async compute(generated, other, { infinityPoints, infinitySmallest, seed }) {
    const reference = referenceOf('frechet-infinity', generated, other);
    const features = featuresOf('frechet-infinity', generated);
    const d = generated.dimensions;
    const n = features.length / d;
    const smallest = infinitySmallest || Math.min(5000, Math.floor(n / 5));
    if (smallest < 2 || n - smallest < infinityPoints)
      throw new InputError(
        `frechet-infinity: ${infinityPoints} numbers of samples from ${smallest} to ${n}; ${generated.name} needs more samples, at least 2 at the least`,
      );
    const sizes = sizesUpTo(n, smallest, infinityPoints);
    const orders = sizes.map((_, i) => permutation(n, streamKey(seed, i, 'frechet infinity')));
    const values = await distancesBySize(features, d, await gaussianOf(reference), sizes, (i) => orders[i]!);
    const { intercept, slope, error } = extrapolate(sizes, values);
    const warnings =
      smallest <= d
        ? [
            `frechet-infinity: the smallest part has ${smallest} samples of ${d} dimensions; the distance is a line in 1/n only well above that`,
          ]
        : [];
    return { value: intercept, ...around(intercept, error, sizes.length - 2), warnings, details: { slope } };
  },
});
