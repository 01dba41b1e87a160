/** @file The Inception Score against stored values of torch-fidelity and closed forms. */
import { describe, expect, test } from 'vitest';
import { toFloat32, toFloat64 } from '../../engine/io/safetensors.ts';
import { featureSet } from '../metric.ts';
import { goldenJson, goldenTensors } from '../testing/golden.ts';
import { noise } from '../testing/values.ts';
import { inceptionScore, inceptionScoreMetric } from './inception-score.ts';

const sure = (classes: readonly number[], of: number, size = 900): Float64Array =>
  Float64Array.from(classes.flatMap((c) => Array.from({ length: of }, (_, i) => (i === c ? size : 0))));

test('samples that are surely of each class count the classes; of one class, or of none for sure, one', () => {
  expect(inceptionScore(sure([0, 1, 2, 3], 4), 4, 1)).toEqual({ mean: expect.closeTo(4, 12), std: 0 });
  expect(inceptionScore(sure([2, 2, 2], 4), 4, 1).mean).toBeCloseTo(1, 12);
  expect(inceptionScore(new Float32Array(12), 4, 3)).toEqual({ mean: expect.closeTo(1, 12), std: expect.closeTo(0, 12) });
  // Halves {0, 0} and {1, 2}: 1 and 2.
  expect(inceptionScore(sure([0, 0, 1, 2], 3), 3, 2)).toEqual({ mean: expect.closeTo(1.5, 12), std: expect.closeTo(0.5, 12) });
});

test('the order decides the parts, and a constant added to the logits of a sample nothing', () => {
  const logits = noise(60 * 5, 1).map((v) => 4 * v);
  const moved = logits.map((v, i) => v + 1000 * (Math.floor(i / 5) % 3));
  expect(inceptionScore(moved, 5, 3).mean).toBeCloseTo(inceptionScore(logits, 5, 3).mean, 10);
  const order = Uint32Array.from({ length: 60 }, (_, i) => 59 - i);
  const turned = Float64Array.from({ length: 300 }, (_, i) => logits[(59 - Math.floor(i / 5)) * 5 + (i % 5)]!);
  expect(inceptionScore(logits, 5, 7, order)).toEqual(inceptionScore(turned, 5, 7));
});

test('as a metric: seeded, with an interval about the value in one part and in ten; what lacks is named', async () => {
  const set = featureSet(new Float32Array(200), 1, { name: 'a', logits: { values: noise(200 * 5, 2).map((v) => 4 * v), classes: 5 } });
  for (const isSplits of [1, 10]) {
    const settings = { isSplits, isShuffle: true, seed: 0 };
    const found = await inceptionScoreMetric.compute(set, null, settings);
    expect(await inceptionScoreMetric.compute(set, null, settings)).toEqual(found);
    expect([found.low! < found.value, found.value < found.high!]).toEqual([true, true]);
    expect(found.warnings).toEqual([expect.stringContaining(`inception-score: ${200 / isSplits} samples a part`)]);
  }
  const settings = { isSplits: 201, isShuffle: true, seed: 0 };
  await expect(inceptionScoreMetric.compute(set, null, settings)).rejects.toThrow(
    'inception-score: a has 200 samples; at least 201 are needed',
  );
  await expect(inceptionScoreMetric.compute({ ...set, logits: null }, null, settings)).rejects.toThrow('inception-score: a has no logits');
  expect(() => inceptionScore(Float64Array.of(0, NaN), 2, 1)).toThrow('a logit is not finite');
});

const golden = goldenJson('metrics/inception-score.json');
const tensors = await goldenTensors('metrics/inception-score.safetensors');
describe.skipIf(!golden)('stored values', () => {
  test.each(Object.keys(golden?.values ?? {}))('%s', (name) => {
    const { splits, inception_score_mean, inception_score_std, tolerance } = golden.values[name];
    const logits = tensors.get(`${name}.logits`)!;
    const order = tensors.get(`${name}.permutation`);
    const found = inceptionScore(toFloat32(logits), logits.shape[1]!, splits, order && toFloat64(order));
    expect(Math.abs(found.mean / inception_score_mean - 1)).toBeLessThan(tolerance.relative);
    expect(Math.abs(found.std - inception_score_std)).toBeLessThanOrEqual(tolerance.relative * Math.max(1, inception_score_std));
  });
});
