/** @file How often a classifier sees the class that a sample was asked to be. */
import { InputError } from '../../engine/io/errors.ts';
import { options } from '../../engine/train/options.ts';
import { ofShare } from '../intervals.ts';
import { defineMetric } from '../metric.ts';
import { missing } from '../rows.ts';

/**
 * Share of samples, 0 … 1, whose largest logit is that of their label. logits: [n, classes]; labels: n whole numbers 0 … classes − 1.
 * A tie goes to the lower class; a row with NaN counts as wrong.
 * Throws an InputError for no samples, a wrong length or a label out of range.
 */
export function accuracy(logits: Float32Array | Float64Array, labels: ArrayLike<number>, classes: number): number {
  const n = labels.length;
  if (n === 0) throw new InputError('accuracy: there are no samples; at least 1 is needed');
  if (logits.length !== n * classes)
    throw new InputError(`accuracy: ${logits.length} logits; ${n} labels of ${classes} classes take ${n * classes}`);
  let hits = 0;
  for (let i = 0; i < n; i++) {
    const label = labels[i]!;
    if (!Number.isInteger(label) || label < 0 || label >= classes) {
      throw new InputError(`accuracy: label ${i} is ${label}; with ${classes} classes it must be a whole number from 0 to ${classes - 1}`);
    }
    if (largest(logits, i * classes, classes) === label) hits++;
  }
  return hits / n;
}

/** Index of the largest of `count` values; −1 where one of them is NaN. */
function largest(values: Float32Array | Float64Array, from: number, count: number): number {
  let best = 0;
  for (let k = 0; k < count; k++) {
    const value = values[from + k]!;
    if (Number.isNaN(value)) return -1;
    if (value > values[from + best]!) best = k;
  }
  return best;
}

export const classAccuracy = defineMetric({
  id: 'class-accuracy',
  label: 'class accuracy',
  source: 'share of samples in which a classifier sees the class that was asked for',
  better: 'higher',
  needs: { generated: ['logits', 'labels'], reference: [] },
  settings: options({}),
  async compute(generated) {
    const { logits, labels } = generated;
    if (!logits) throw missing('class-accuracy', generated, 'logits');
    if (!labels) throw missing('class-accuracy', generated, 'labels');
    const value = accuracy(Float64Array.from(logits.values), labels, logits.classes);
    const warnings = labels.length < 100 ? [`class-accuracy: ${labels.length} samples; fewer than 100 say little`] : [];
    return { value, ...ofShare(value, labels.length), warnings };
  },
});
