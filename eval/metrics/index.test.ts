/** @file The list of metrics: every one keeps the contract, and names mean what they should. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { facts } from '../../engine/train/options.ts';
import { measure, settingsOf } from '../measure.ts';
import { type FeatureSet, FID_EXTRACTOR, featureSet } from '../metric.ts';
import { noise } from '../testing/values.ts';
import { METRICS, metricsNamed } from './index.ts';

const d = 5;
const set = (n: number, seed: number): FeatureSet =>
  featureSet(noise(n * d, seed), d, {
    name: `set ${seed}`,
    logits: { values: noise(n * 3, seed + 1), classes: 3 },
    labels: Array.from({ length: n }, (_, i) => i % 3),
    pairs: noise(n * d, seed + 2),
  });

// What takes images has weights of the user's.
test.each(METRICS.filter(({ needs }) => !needs.generated.includes('images')).map((metric) => [metric.id, metric] as const))(
  '%s: its interval holds its value, the same bits again, every setting has help and a valid default',
  async (id, metric) => {
    const [a, b] = [set(160, 1), set(140, 3)];
    const one = await measure([metric], a, b);
    const { value, low, high } = one.metrics[id]!;
    expect(Number.isFinite(value)).toBe(true);
    expect([low! <= value, value <= high!]).toEqual([true, true]);
    const again = await measure([metric], { ...a }, { ...b });
    expect(again).toEqual(one);
    expect(metric.source).toMatch(/\w/);
    for (const fact of facts(metric.settings)) {
      expect(fact.help, fact.name).toMatch(/\w/);
      expect(fact.initial, fact.name).toBeDefined();
      if (fact.type === 'number' || fact.type === 'integer') expect(fact.min, fact.name).toBeDefined();
    }
  },
);

test('one name in two metrics is one setting', () => {
  const byName = new Map<string, string>();
  for (const fact of METRICS.flatMap(({ settings }) => facts(settings))) {
    expect(byName.get(fact.name) ?? JSON.stringify(fact)).toBe(JSON.stringify(fact));
    byName.set(fact.name, JSON.stringify(fact));
  }
  expect(settingsOf(METRICS).length).toBe(byName.size);
});

test('names: groups, each once and in order, did-you-mean; fid takes one network alone', () => {
  const ids = (...names: string[]) => metricsNamed(names, { name: FID_EXTRACTOR, checksum: null }).map(({ id }) => id);
  expect(ids('kid', 'prdc', 'recall', 'kid')).toEqual(['kid', 'precision', 'recall', 'density', 'coverage']);
  expect(ids('fid', 'frechet')).toEqual(['fid', 'frechet']);
  expect(() => metricsNamed(['fid'], { name: 'CLIP', checksum: null })).toThrow(
    'fid takes features of the FID Inception, not of CLIP; ask for frechet',
  );
  expect(() => metricsNamed(['kidd'], null)).toThrow("no metric 'kidd' (did you mean kid?)");
  expect(() => metricsNamed([], null)).toThrow('metrics: none named');
});

test('what a metric needs and settings out of range are said before anything is computed', async () => {
  const statistics: FeatureSet = { ...set(9, 1), features: null, logits: null, name: 's' };
  await expect(measure(metricsNamed(['kid', 'vendi'], null), set(20, 1), statistics)).rejects.toThrow('kid: s has no features');
  await expect(measure(metricsNamed(['frechet'], null), set(20, 1), null)).rejects.toThrow('frechet: no reference');
  await expect(measure(metricsNamed(['precision'], null), set(20, 1), set(20, 2), { k: 0 })).rejects.toThrow(
    'precision.k: 0 is not a whole number in [1, 1000]',
  );
  const { settings } = await measure(metricsNamed(['precision'], null), set(20, 1), set(20, 2), { k: 2, slices: 7, seed: undefined });
  expect(settings).toEqual({ k: 2 });
});

test('the page on metrics has every one of them', () => {
  const page = readFileSync(fileURLToPath(new URL('../../docs/metrics.md', import.meta.url)), 'utf8');
  expect(METRICS.filter(({ id }) => !page.includes(`| \`${id}\` |`)).map(({ id }) => id)).toEqual([]);
  const flags = settingsOf(METRICS).map(({ name }) => `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`);
  expect(flags.filter((flag) => !page.includes(flag))).toEqual([]);
});
