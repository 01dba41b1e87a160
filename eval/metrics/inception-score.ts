/** @file Inception Score: how sure a classifier is of single samples, and how unsure of all together. Salimans et al. 2016, arXiv:1606.03498. */
import { InputError } from '../../engine/io/errors.ts';
import { permutation, streamKey } from '../../engine/random/philox.ts';
import { flag, options, whole } from '../../engine/train/options.ts';
import { around, groupsOf, jackknifeError, without } from '../intervals.ts';
import { defineMetric } from '../metric.ts';
import type { Features } from '../moments.ts';
import { atLeast, missing, rowsOf } from '../rows.ts';
import { SEED } from './settings.ts';

const settings = options({
  isSplits: whole(10, 'parts whose Inception Scores are averaged', { min: 1, max: 1000 }),
  isShuffle: flag(true, 'shuffle samples before they are cut into parts for the Inception Score'),
  ...SEED,
});

/** Natural logarithm of the softmax of each row [n, classes]; logits of any size. */
function logSoftmax(logits: Features, n: number, classes: number): Float64Array {
  const out = Float64Array.from(logits);
  for (let i = 0; i < n; i++) {
    const row = out.subarray(i * classes, (i + 1) * classes);
    const most = row.reduce((a, b) => Math.max(a, b), -Infinity);
    const log = most + Math.log(row.reduce((sum, value) => sum + Math.exp(value - most), 0));
    for (let c = 0; c < classes; c++) row[c]! -= log;
  }
  return out;
}

/** exp of the mean over rows from … to of KL(p_i ‖ mean p); a class of probability zero adds nothing. */
function scoreOf(logs: Float64Array, classes: number, from: number, to: number): number {
  const mean = new Float64Array(classes);
  for (let i = from; i < to; i++) for (let c = 0; c < classes; c++) mean[c]! += Math.exp(logs[i * classes + c]!) / (to - from);
  let sum = 0;
  for (let i = from; i < to; i++) {
    for (let c = 0; c < classes; c++) {
      const log = logs[i * classes + c]!;
      const p = Math.exp(log);
      if (p > 0) sum += p * (log - Math.log(mean[c]!));
    }
  }
  return Math.exp(sum / (to - from));
}

export interface InceptionScore {
  readonly mean: number;
  /** Population standard deviation over the parts. */
  readonly std: number;
}

/**
 * Mean and spread over `splits` parts, i·n/splits … (i + 1)·n/splits rounded down, of logits [n, classes] in the order of the rows or in a given one.
 * @throws InputError for fewer samples than parts, and logits that are not finite
 */
export function inceptionScore(logits: Features, classes: number, splits: number, order?: ArrayLike<number>): InceptionScore {
  const n = logits.length / classes;
  if (!Number.isInteger(n) || n < splits)
    throw new InputError(`inception-score: ${n} samples for ${splits} parts; at least one for each is needed`);
  if (!logits.every(Number.isFinite)) throw new InputError('inception-score: a logit is not finite; all must be');
  const logs = logSoftmax(order ? rowsOf(logits, classes, order) : logits, n, classes);
  const bound = (i: number): number => Math.floor((i * n) / splits);
  const scores = Array.from({ length: splits }, (_, i) => scoreOf(logs, classes, bound(i), bound(i + 1)));
  const mean = scores.reduce((sum, score) => sum + score, 0) / splits;
  return { mean, std: Math.sqrt(scores.reduce((sum, score) => sum + (score - mean) ** 2, 0) / splits) };
}

export const inceptionScoreMetric = defineMetric({
  id: 'inception-score',
  label: 'Inception Score',
  source: 'Salimans et al. 2016, arXiv:1606.03498',
  better: 'higher',
  needs: { generated: ['logits'], reference: [] },
  settings,
  async compute(generated, _, { isSplits, isShuffle, seed }) {
    if (!generated.logits) throw missing('inception-score', generated, 'logits');
    atLeast('inception-score', generated, isSplits);
    const { values, classes } = generated.logits;
    const n = values.length / classes;
    const { mean, std } = inceptionScore(
      values,
      classes,
      isSplits,
      isShuffle ? permutation(n, streamKey(seed, 0, 'inception score')) : undefined,
    );
    const perPart = Math.floor(n / isSplits);
    const warnings =
      perPart < 1000 ? [`inception-score: ${perPart} samples a part; fewer than some thousands lower the score, compare at equal n`] : [];
    return { value: mean, ...interval(values, classes, isSplits, mean, std, seed), warnings, details: { std, splits: isSplits } };
  },
});

/** From the spread over the parts; of a single part by leaving out tenths. */
function interval(values: Features, classes: number, splits: number, mean: number, std: number, seed: number) {
  if (splits > 1) return around(mean, std / Math.sqrt(splits - 1), splits - 1);
  const groups = groupsOf(values.length / classes, 10, seed, 'inception score groups');
  if (groups.some(({ length }) => length === 0)) return around(mean, Number.NaN);
  const scores = groups.map((_, g) => inceptionScore(rowsOf(values, classes, without(groups, g)), classes, 1).mean);
  return around(mean, jackknifeError(scores), groups.length - 1);
}
