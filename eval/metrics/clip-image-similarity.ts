/** @file Image–image similarity: cosines of the features of generated and reference images, pair by pair or of all pairs. Called CLIP-I with features of a CLIP. */
import { InputError } from '../../engine/io/errors.ts';
import { choice, options } from '../../engine/train/options.ts';
import { around } from '../intervals.ts';
import { defineMetric } from '../metric.ts';
import { atLeast, featuresOf, referenceOf } from '../rows.ts';
import { unitRows } from './cmmd.ts';

const ID = 'clip-image-similarity';
const settings = options({
  similarityPairs: choice(
    ['all', 'matched'],
    'all',
    'all: every generated image with every one of the reference; matched: the first with the first and so on, such as samples of a teacher and of its student from the same noise',
  ),
});

interface Similarity {
  readonly value: number;
  /** Its standard error. */
  readonly error: number;
}

const meanOf = (values: Float64Array): number => values.reduce((sum, v) => sum + v, 0) / values.length;
/** Σ (v − mean)² / n(n − 1), the variance of the mean. */
const varianceOfMean = (values: Float64Array): number => {
  const mean = meanOf(values);
  return values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / (values.length * (values.length - 1));
};

/** Mean of the unit rows [n, d]. */
function middle(unit: Float64Array, d: number): Float64Array {
  const sum = new Float64Array(d);
  for (let i = 0; i < unit.length; i++) sum[i % d]! += unit[i]!;
  return sum.map((v) => v / (unit.length / d));
}
const along = (unit: Float64Array, d: number, other: (row: number) => Float64Array): Float64Array =>
  Float64Array.from({ length: unit.length / d }, (_, row) => {
    const y = other(row);
    let dot = 0;
    for (let j = 0; j < d; j++) dot += unit[row * d + j]! * y[j]!;
    return dot;
  });

/** The mean of all cosines is the product of the means; its variance has a part of either side (Hoeffding's first order). */
export function allPairs(x: Float64Array, y: Float64Array, d: number): Similarity {
  const [mx, my] = [middle(x, d), middle(y, d)];
  const [ofX, ofY] = [along(x, d, () => my), along(y, d, () => mx)];
  return { value: meanOf(ofX), error: Math.sqrt(varianceOfMean(ofX) + varianceOfMean(ofY)) };
}

export function matchedPairs(x: Float64Array, y: Float64Array, d: number): Similarity {
  const cosines = along(x, d, (row) => y.subarray(row * d, (row + 1) * d));
  return { value: meanOf(cosines), error: Math.sqrt(varianceOfMean(cosines)) };
}

export const clipImageSimilarity = defineMetric({
  id: ID,
  label: 'CLIP image similarity',
  source: 'CLIP-I of Ruiz et al. 2022, arXiv:2208.12242',
  better: 'higher',
  needs: { generated: ['features'], reference: ['features'] },
  settings,
  async compute(generated, other, { similarityPairs }) {
    const reference = referenceOf(ID, generated, other);
    for (const set of [generated, reference]) atLeast(ID, set, 1);
    if (similarityPairs === 'matched' && generated.n !== reference.n)
      throw new InputError(
        `${ID}: ${generated.name} has ${generated.n} images, ${reference.name} ${reference.n}; matched pairs need as many of both: give --n, or --similarity-pairs all`,
      );
    const [x, y] = [generated, reference].map((set) => unitRows(featuresOf(ID, set), set.dimensions, `${ID}: ${set.name}`));
    const { value, error } = (similarityPairs === 'all' ? allPairs : matchedPairs)(x!, y!, generated.dimensions);
    return { value, ...around(value, error), warnings: [] };
  },
});
