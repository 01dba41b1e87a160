/** @file Reports know every metric that can be measured, and which way is better. */
import { expect, test } from 'vitest';
import { METRICS } from '../metrics/index.ts';
import { metricNames, metricOf } from './metrics.ts';

test.each(METRICS.map(({ id, better }) => [id, better] as const))('%s', (id, better) => {
  expect(metricOf(id).better).toBe(better);
  // In the order of tables, before names that nobody knows.
  const rows = [{ metrics: { aardvark: { value: 1 }, [id]: { value: 2 } } }];
  expect(metricNames(rows)).toEqual([id, 'aardvark']);
});
