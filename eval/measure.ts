/** @file Several metrics of one set against another: what they need, their settings by one flat set of names, and what comes out. */
import { InputError } from '../engine/io/errors.ts';
import { type OptionFact, facts, resolve } from '../engine/train/options.ts';
import type { FeatureSet, Measured, Metric, Need } from './metric.ts';
import { missing } from './rows.ts';

export interface Measurement {
  readonly metrics: Readonly<Record<string, Measured>>;
  /** The settings of all of them, by name. */
  readonly settings: Readonly<Record<string, unknown>>;
  readonly warnings: readonly string[];
}

/** The settings of metrics, each name once. */
export function settingsOf(metrics: readonly Metric[]): readonly OptionFact[] {
  const all = metrics.flatMap(({ settings }) => facts(settings));
  return all.filter(({ name }, i) => all.findIndex((other) => other.name === name) === i);
}

/**
 * Computes metrics one after the other.
 * @param settings by name; those that are left out have their defaults, and names of other metrics are passed over
 * @throws InputError where the extractors differ, a side lacks what a metric needs, or a setting is out of range
 */
export async function measure(
  metrics: readonly Metric[],
  generated: FeatureSet,
  reference: FeatureSet | null,
  settings: Readonly<Record<string, unknown>> = {},
): Promise<Measurement> {
  if (reference) assertComparable(generated, reference);
  for (const metric of metrics) assertNeeds(metric, generated, reference);
  const chosen = metrics.map((metric) => resolve(metric.id, metric.settings, some(metric, settings)));
  const results: Record<string, Measured> = {};
  for (const [i, metric] of metrics.entries()) results[metric.id] = await metric.compute(generated, reference, chosen[i]!);
  return {
    metrics: results,
    settings: Object.assign({}, ...chosen) as Readonly<Record<string, unknown>>,
    warnings: [...new Set(Object.values(results).flatMap(({ warnings }) => warnings))],
  };
}

function some({ settings }: Metric, values: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const names = facts(settings).map(({ name }) => name);
  return Object.fromEntries(Object.entries(values).filter(([name, value]) => names.includes(name) && value !== undefined));
}

/** A distance between features of different networks means nothing. @throws InputError for such sets, as far as they say what they are */
export function assertComparable(generated: FeatureSet, reference: FeatureSet): void {
  if (generated.dimensions !== reference.dimensions)
    throw new InputError(
      `evaluate: ${generated.name} has ${generated.dimensions} dimensions, ${reference.name} ${reference.dimensions}; features of one network are needed on both sides`,
    );
  const [a, b] = [generated.extractor, reference.extractor];
  if (!a || !b) return;
  const same = a.checksum && b.checksum ? a.checksum === b.checksum : a.name === b.name;
  const told = ({ name, checksum }: typeof a): string =>
    `the ${name}${a.name === b.name && checksum ? ` (SHA-256 ${checksum.slice(0, 12)}…)` : ''}`;
  if (!same)
    throw new InputError(
      `evaluate: ${generated.name} has features of ${told(a)}, ${reference.name} of ${told(b)}; a distance between features of different networks means nothing`,
    );
}

function assertNeeds({ id, needs }: Metric, generated: FeatureSet, reference: FeatureSet | null): void {
  const has = (set: FeatureSet, need: Need): boolean => set[need] !== null || (need === 'moments' && set.features !== null);
  if (!reference && needs.reference.length > 0)
    throw new InputError(`${id}: no reference; a set to compare ${generated.name} with is needed`);
  for (const [set, list] of [
    [generated, needs.generated],
    [reference, needs.reference],
  ] as const) {
    const lacking = set && list.find((need) => !has(set, need));
    if (set && lacking) throw missing(id, set, lacking);
  }
}
