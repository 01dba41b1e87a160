/** @file Which metrics are meant by names, before and after it is known whose features they take. */
import { InputError } from '../../engine/io/errors.ts';
import { type ExtractorIdentity, FID_EXTRACTOR, type Metric } from '../../eval/metric.ts';
import { metricsNamed } from '../../eval/metrics/index.ts';
import { type Flat, valuesOf } from '../config.ts';
import { checkClip, isOfClip } from './clip-part.ts';
import { metricGroup } from './measuring.ts';
import { measureGroup } from './side-options.ts';
import type { Side } from './sides.ts';

/** The metrics for features of a network. Errors: FID with another, or with weights that nobody vouches for. */
export function namedOf(names: readonly string[], extractor: ExtractorIdentity | null): readonly Metric[] {
  if (names.includes('fid') && extractor?.name.startsWith(`${FID_EXTRACTOR} (`))
    throw new InputError(
      `fid: the weights are not the published ones (SHA-256 ${extractor.checksum?.slice(0, 8)}…), so that it is no FID; give these, ask for frechet, or vouch for a conversion with --accept-weights`,
    );
  return metricsNamed(names, extractor);
}

/** The metrics, before it is known whether one of them may be called FID. */
export const known = (names: readonly string[]): readonly Metric[] => metricsNamed(names, { name: FID_EXTRACTOR, checksum: null });

/** What is measured where nothing is said. */
const USUAL = ['frechet', 'kid', 'prdc'];

/** Names that are no metrics, and settings out of range, are refused before anything is opened. */
export function wantedNames(flat: Flat): readonly string[] {
  const { metrics } = valuesOf(measureGroup, flat);
  for (const metric of known(metrics.length > 0 ? metrics : USUAL)) {
    valuesOf(metricGroup(metric), flat);
    if (isOfClip(metric, flat)) checkClip(metric, flat);
  }
  return metrics;
}

/** Errors: a metric compares with a reference, and none was given. */
export function checkAlone(names: readonly string[]): void {
  const comparing = known(names.length > 0 ? names : USUAL).find(({ needs }) => needs.reference.length > 0);
  if (comparing) throw new InputError(`${comparing.id}: compares with a reference; give one with --reference`);
}

/** The names, or what is usual for the sides: of statistics there is the Fréchet distance alone. */
export const namesFor = (names: readonly string[], sides: readonly Side[]): readonly string[] => {
  if (names.length > 0) return names;
  return sides.some((side) => side.kind === 'stored' && side.set.features === null) ? ['frechet'] : USUAL;
};
