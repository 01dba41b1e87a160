/** @file Vendi score: the effective number of different samples. Friedman and Dieng 2023, arXiv:2210.02410. */
import { product } from '../../engine/run/ort-products.ts';
import { options, real } from '../../engine/train/options.ts';
import { symmetricEigenvaluesBlocked } from '../eigen-blocked.ts';
import { around, groupsOf, type Interval, jackknifeError, NO_INTERVAL, without } from '../intervals.ts';
import { symmetricEigenvalues } from '../linalg.ts';
import { defineMetric } from '../metric.ts';
import type { Features } from '../moments.ts';
import { atLeast, featuresOf, rowsOf } from '../rows.ts';
import { unitRows } from './cmmd.ts';
import { GROUPS, SEED } from './settings.ts';

const LARGE = 400;
/** Eigenvalue problems of more rows are worth few repetitions. */
const REPEATED = 512;

const settings = options({
  vendiOrder: real(1, 'order of the entropy of the Vendi score: 1 is Shannon’s; smaller ones count rare kinds more', {
    min: 0.01,
    max: 1000,
  }),
  ...GROUPS,
  ...SEED,
});

/** exp of the Rényi entropy of order q of weights that add up to one; Infinity: one over the largest. */
export function effectiveNumber(weights: Float64Array, q: number): number {
  const kept = weights.filter((value) => value > 0);
  if (q === Infinity) return 1 / Math.max(...kept);
  if (q === 1) return Math.exp(-kept.reduce((sum, value) => sum + value * Math.log(value), 0));
  return kept.reduce((sum, value) => sum + value ** q, 0) ** (1 / (1 - q));
}

/**
 * Effective number of samples of unit rows [n, d] in float64: of the eigenvalues of X Xᵀ/n, which are those of Xᵀ X/n, whichever is smaller.
 * With cosines as similarities it lies between 1 and the smaller of n and d.
 */
export async function vendiScore(unit: Float64Array, d: number, q: number): Promise<number> {
  const n = unit.length / d;
  const size = Math.min(n, d);
  const gram =
    n <= d
      ? await product(unit, unit, { m: n, n, k: d }, { transposeB: true })
      : await product(unit, unit, { m: d, n: d, k: n }, { transposeA: true });
  for (let i = 0; i < gram.length; i++) gram[i]! /= n;
  const values = size < LARGE ? symmetricEigenvalues(gram, size) : await symmetricEigenvaluesBlocked(gram, size);
  // Zeros come out as rounding, which low orders would count.
  const noise = size * Number.EPSILON * values.at(-1)!;
  return effectiveNumber(
    values.map((value) => (value > noise ? value : 0)),
    q,
  );
}

async function intervalOf(unit: Float64Array, d: number, q: number, value: number, wanted: number, seed: number): Promise<Interval> {
  const n = unit.length / d;
  const groups = Math.min(n, d) > REPEATED ? Math.min(wanted, 4) : wanted;
  if (groups < 2 || n < 2 * groups) return NO_INTERVAL;
  const parts = groupsOf(n, groups, seed, 'vendi');
  const scores: number[] = [];
  for (let g = 0; g < groups; g++) scores.push(await vendiScore(rowsOf(unit, d, without(parts, g)), d, q));
  return around(value, jackknifeError(scores), groups - 1);
}

export const vendi = defineMetric({
  id: 'vendi',
  label: 'Vendi score',
  source: 'Friedman and Dieng 2023, arXiv:2210.02410',
  better: 'higher',
  needs: { generated: ['features'], reference: [] },
  settings,
  async compute(generated, _, { vendiOrder, groups, seed }) {
    const features: Features = featuresOf('vendi', generated);
    atLeast('vendi', generated, 1);
    const unit = unitRows(features, generated.dimensions, `vendi: ${generated.name}`);
    const value = await vendiScore(unit, generated.dimensions, vendiOrder);
    const { n, dimensions } = generated;
    const warnings =
      n! < dimensions
        ? [`vendi: ${n} samples in ${dimensions} dimensions; the score grows with n until n is many times that, compare at equal n`]
        : [];
    return { value, ...(await intervalOf(unit, dimensions, vendiOrder, value, groups, seed)), warnings };
  },
});
