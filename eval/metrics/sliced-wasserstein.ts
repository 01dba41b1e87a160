/** @file Sliced Wasserstein distance: transport along random lines. Rabin et al. 2011; Bonneel et al. 2015, Sliced and Radon Wasserstein barycenters of measures. */
import { InputError } from '../../engine/io/errors.ts';
import { fillNormal, streamKey } from '../../engine/random/philox.ts';
import { product } from '../../engine/run/ort-products.ts';
import { choice, options, whole } from '../../engine/train/options.ts';
import { around, groupsOf, type Interval, jackknifeError, NO_INTERVAL } from '../intervals.ts';
import { defineMetric } from '../metric.ts';
import type { Features } from '../moments.ts';
import { atLeast, doubles, featuresOf, referenceOf } from '../rows.ts';
import { GROUPS, SEED } from './settings.ts';

const settings = options({
  slices: whole(128, 'random directions of the sliced Wasserstein distance', { min: 1, max: 100_000 }),
  slicedOrder: choice(['1', '2'], '2', '1: mean distance along the directions; 2: root of the mean squared one'),
  ...GROUPS,
  ...SEED,
});

/** Columns of length one, uniform on the sphere: [d, count]. */
export function randomDirections(d: number, count: number, seed: number): Float64Array {
  const normals = new Float32Array(d * count);
  fillNormal(normals, streamKey(seed, 0, 'sliced wasserstein'), d);
  const out = new Float64Array(d * count);
  for (let s = 0; s < count; s++) {
    const column = Float64Array.from(normals.subarray(s * d, (s + 1) * d));
    const length = Math.sqrt(column.reduce((sum, value) => sum + value * value, 0));
    for (let j = 0; j < d; j++) out[j * count + s] = column[j]! / length;
  }
  return out;
}

/** ∫ |F⁻¹ − G⁻¹|^order of two ascending samples of any sizes: Wasserstein distance to the power of its order, on a line. */
export function wassersteinPower(x: Float64Array, y: Float64Array, order: 1 | 2): number {
  const [n, m] = [x.length, y.length];
  let [i, j, at, sum] = [0, 0, 0, 0];
  // Steps end at (i + 1)/n and (j + 1)/m; in units of 1/(nm) they are whole numbers.
  while (i < n && j < m) {
    const end = Math.min((i + 1) * m, (j + 1) * n);
    const gap = Math.abs(x[i]! - y[j]!);
    sum += (end - at) * (order === 1 ? gap : gap * gap);
    at = end;
    if (end === (i + 1) * m) i++;
    if (end === (j + 1) * n) j++;
  }
  return sum / (n * m);
}

/** Projections of rows [n, d] onto columns [d, count]: one array of n for each. */
async function projections(features: Features, d: number, directions: Float64Array, count: number): Promise<readonly Float64Array[]> {
  const n = features.length / d;
  const all = Array.from({ length: count }, () => new Float64Array(n));
  const rows = 4096;
  for (let from = 0; from < n; from += rows) {
    const part = doubles(features, d, from, Math.min(n, from + rows));
    const height = part.length / d;
    const along = await product(part, directions, { m: height, n: count, k: d });
    for (let s = 0; s < count; s++) for (let i = 0; i < height; i++) all[s]![from + i] = along[i * count + s]!;
  }
  return all;
}

/** W_order^order along each of the directions [d, count], in their order. */
export async function slicedPowers(x: Features, y: Features, d: number, directions: Float64Array, order: 1 | 2): Promise<Float64Array> {
  const count = directions.length / d;
  const [a, b] = [await projections(x, d, directions, count), await projections(y, d, directions, count)];
  return Float64Array.from(a, (values, s) => wassersteinPower(values.toSorted(), b[s]!.toSorted(), order));
}

const root = (powers: Float64Array, order: 1 | 2): number => {
  const mean = powers.reduce((sum, value) => sum + value, 0) / powers.length;
  return order === 1 ? mean : Math.sqrt(mean);
};

/** The distance from its powers along directions: their mean, or the root of it. */
export const slicedWasserstein = async (x: Features, y: Features, d: number, directions: Float64Array, order: 1 | 2): Promise<number> =>
  root(await slicedPowers(x, y, d, directions, order), order);

interface Slices {
  readonly a: readonly Float64Array[];
  readonly b: readonly Float64Array[];
  readonly order: 1 | 2;
}

/** By leaving out a group of both sets in turn, along the same directions. */
function intervalOf({ a, b, order }: Slices, value: number, groups: number, seed: number): Interval {
  const [n, m] = [a[0]!.length, b[0]!.length];
  if (groups < 2 || Math.min(n, m) < 2 * groups) return NO_INTERVAL;
  const memberOf = (size: number, side: string): Uint16Array => {
    const member = new Uint16Array(size);
    groupsOf(size, groups, seed, `sliced wasserstein ${side}`).forEach((rows, g) => {
      for (const i of rows) member[i] = g;
    });
    return member;
  };
  const [ofA, ofB] = [memberOf(n, 'generated'), memberOf(m, 'reference')];
  const powers = Array.from({ length: groups }, () => new Float64Array(a.length));
  a.forEach((values, s) => {
    const [left, right] = [ordered(values, ofA), ordered(b[s]!, ofB)];
    for (let g = 0; g < groups; g++) powers[g]![s] = wassersteinPower(left(g), right(g), order);
  });
  return around(value, jackknifeError(powers.map((each) => root(each, order))), groups - 1);
}

/** Sorts once; gives the values without a group, still sorted. */
function ordered(values: Float64Array, member: Uint16Array): (out: number) => Float64Array {
  const order = Uint32Array.from(values.keys()).sort((i, j) => values[i]! - values[j]!);
  const [sorted, group] = [Float64Array.from(order, (i) => values[i]!), Uint16Array.from(order, (i) => member[i]!)];
  return (out) => sorted.filter((_, i) => group[i] !== out);
}

export const slicedWassersteinMetric = defineMetric({
  id: 'sliced-wasserstein',
  label: 'sliced Wasserstein distance',
  source: 'Bonneel et al. 2015, doi:10.1007/s10851-014-0506-3',
  better: 'lower',
  needs: { generated: ['features'], reference: ['features'] },
  settings,
  async compute(generated, other, { slices, slicedOrder, groups, seed }) {
    const reference = referenceOf('sliced-wasserstein', generated, other);
    const d = generated.dimensions;
    const order = Number(slicedOrder) as 1 | 2;
    const [x, y] = [featuresOf('sliced-wasserstein', generated), featuresOf('sliced-wasserstein', reference)];
    for (const set of [generated, reference]) atLeast('sliced-wasserstein', set, 1);
    if (!x.every(Number.isFinite) || !y.every(Number.isFinite))
      throw new InputError(`sliced-wasserstein: a feature of ${generated.name} or ${reference.name} is not finite; all must be`);
    const directions = randomDirections(d, slices, seed);
    const [a, b] = [await projections(x, d, directions, slices), await projections(y, d, directions, slices)];
    const value = root(
      Float64Array.from(a, (values, s) => wassersteinPower(values.toSorted(), b[s]!.toSorted(), order)),
      order,
    );
    const least = Math.min(generated.n!, reference.n!);
    const warnings =
      least < 1000
        ? [`sliced-wasserstein: ${least} samples; the distance of equal sets is not 0 but falls as 1/√n, compare at equal n`]
        : [];
    return { value, ...intervalOf({ a, b, order }, value, groups, seed), warnings };
  },
});
