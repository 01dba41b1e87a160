/** @file How metrics are called and written, which way is better, and which row has the best. */
import type { Interval, Row } from './comparison.ts';
import { shortExponent } from './scale.ts';

interface Metric {
  readonly label: string;
  readonly better: 'lower' | 'higher' | null;
}

/** In the order of tables. Names that are not here come after them. */
const KNOWN: Readonly<Record<string, Metric>> = {
  frechet: { label: 'Fréchet distance', better: 'lower' },
  fid: { label: 'FID', better: 'lower' },
  'frechet-infinity': { label: 'Fréchet distance at infinity', better: 'lower' },
  frechetHeldOut: { label: 'Fréchet distance to held-out', better: 'lower' },
  frechetTraining: { label: 'Fréchet distance to training', better: 'lower' },
  kid: { label: 'KID', better: 'lower' },
  mmd: { label: 'MMD', better: 'lower' },
  cmmd: { label: 'CMMD', better: 'lower' },
  'sliced-wasserstein': { label: 'sliced Wasserstein distance', better: 'lower' },
  'inception-score': { label: 'Inception Score', better: 'higher' },
  inceptionScore: { label: 'Inception score', better: 'higher' },
  precision: { label: 'precision', better: 'higher' },
  recall: { label: 'recall', better: 'higher' },
  density: { label: 'density', better: 'higher' },
  coverage: { label: 'coverage', better: 'higher' },
  vendi: { label: 'Vendi score', better: 'higher' },
  'class-accuracy': { label: 'class accuracy', better: 'higher' },
  classAccuracy: { label: 'class accuracy', better: 'higher' },
  'clip-score': { label: 'CLIP score', better: 'higher' },
  'caption-score': { label: 'caption score (avatar encoder)', better: 'higher' },
  'clip-image-similarity': { label: 'CLIP image similarity', better: 'higher' },
  'image-similarity': { label: 'image similarity (avatar encoder)', better: 'higher' },
  'lpips-diversity': { label: 'LPIPS diversity', better: 'higher' },
  memorisation: { label: 'memorisation', better: 'lower' },
  clipScore: { label: 'CLIP score', better: 'higher' },
};
const ORDER = Object.keys(KNOWN);

/** classAccuracy → class accuracy; names that are not known say nothing of which way is better, except distances. */
export function metricOf(name: string): Metric {
  if (Object.hasOwn(KNOWN, name)) return KNOWN[name]!;
  const label = name.replace(/([a-z])([A-Z])/g, (_, end: string, start: string) => `${end} ${start.toLowerCase()}`);
  return { label, better: /distance|frechet/i.test(name) ? 'lower' : null };
}

/** Names of all metrics of the rows, in the order of tables. */
export function metricNames(rows: readonly Pick<Row, 'metrics'>[]): readonly string[] {
  const names = [...new Set(rows.flatMap(({ metrics }) => Object.keys(metrics)))];
  const rank = (name: string): number => (ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length);
  return names.sort((a, b) => rank(a) - rank(b) || a.localeCompare(b));
}

/** The metric by which models are compared first: the first distance that most rows have. */
export function mainMetric(rows: readonly Row[]): string | null {
  const names = metricNames(rows).filter((name) => metricOf(name).better === 'lower');
  const count = (name: string): number => rows.filter(({ kind, metrics }) => kind !== 'real' && metrics[name] !== undefined).length;
  return names.toSorted((a, b) => count(b) - count(a))[0] ?? null;
}

/** Rows of models with the best value of a metric, where there are several to choose from. */
export function bestRows(rows: readonly Row[], name: string): readonly Row[] {
  const { better } = metricOf(name);
  const measured = rows.filter(({ kind, metrics }) => kind !== 'real' && metrics[name] !== undefined);
  if (better === null || measured.length < 2) return [];
  const values = measured.map(({ metrics }) => metrics[name]!.value);
  const best = better === 'lower' ? Math.min(...values) : Math.max(...values);
  const found = measured.filter(({ metrics }) => metrics[name]!.value === best);
  return found.length === measured.length ? [] : found;
}

/** Three digits after the point, fewer of large numbers: 0.988, 12.35, 1,234. */
export function formatValue(value: number): string {
  const size = Math.abs(value);
  if (size !== 0 && (size < 5e-4 || size >= 1e6)) return shortExponent(value.toExponential(2));
  if (size >= 1000) return Math.round(value).toLocaleString('en-US').replace('-', '−');
  return value.toFixed(size < 10 ? 3 : 2).replace('-', '−');
}

/** 0.951 to 1.020; empty without an interval. */
export function formatRange({ low, high }: Interval): string {
  return low === undefined || high === undefined ? '' : `${formatValue(low)} to ${formatValue(high)}`;
}
