/** @file CLIP score of features whose cosines are known, by every convention. */
import { expect, test } from 'vitest';
import type { ClipScoreName } from '../clip/score.ts';
import { measure } from '../measure.ts';
import { featureSet } from '../metric.ts';
import { metricsNamed } from './index.ts';

/** Rows (1, 0) times a length, and captions at angles whose cosines are 0.6, −0.8 and 0.28. */
const set = featureSet(Float32Array.of(2, 0, 1, 0, 5, 0), 2, { pairs: Float32Array.of(3, 4, -4, 3, 7, 24) });

test.each([
  ['clip-score', (100 * (0.6 + 0 + 0.28)) / 3],
  ['torchmetrics', (100 * (0.6 - 0.8 + 0.28)) / 3],
  ['clip-s', (2.5 * (0.6 + 0 + 0.28)) / 3],
  ['dmd2', 0.08 / 3],
  ['cosine', 0.08 / 3],
] as const satisfies readonly (readonly [ClipScoreName, number])[])('%s', async (clipConvention, wanted) => {
  const { metrics } = await measure(metricsNamed(['clip-score'], null), set, null, { clipConvention });
  const { value, low, high, warnings } = metrics['clip-score']!;
  expect(value).toBeCloseTo(wanted, 5);
  expect(low!).toBeLessThan(value);
  expect(high!).toBeGreaterThan(value);
  expect(warnings[0]).toContain('3 pairs');
});

test('captions are needed', async () => {
  const alone = featureSet(Float32Array.of(1, 2), 2, { name: 'alone' });
  await expect(measure(metricsNamed(['clip-score'], null), alone, null)).rejects.toThrow('clip-score: alone has no pairs');
});
