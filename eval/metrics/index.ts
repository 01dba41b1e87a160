/** @file All metrics by id, their groups, and what asks for several of them at once. */
import { InputError } from '../../engine/io/errors.ts';
import { didYouMean } from '../../engine/io/nearest.ts';
import { type ExtractorIdentity, FID_EXTRACTOR, type Metric } from '../metric.ts';
import { classAccuracy } from './class-accuracy.ts';
import { clipImageSimilarity } from './clip-image-similarity.ts';
import { clipScoreMetric } from './clip-score.ts';
import { cmmd } from './cmmd.ts';
import { coverage } from './coverage.ts';
import { density } from './density.ts';
import { frechet } from './frechet.ts';
import { frechetInfinity } from './frechet-infinity.ts';
import { inceptionScoreMetric } from './inception-score.ts';
import { kid } from './kid.ts';
import { lpipsDiversity } from './lpips-diversity.ts';
import { memorisation } from './memorisation.ts';
import { precision } from './precision.ts';
import { recall } from './recall.ts';
import { slicedWassersteinMetric } from './sliced-wasserstein.ts';
import { vendi } from './vendi.ts';

/** In the order of tables. */
export const METRICS: readonly Metric[] = [
  frechet,
  frechetInfinity,
  kid,
  inceptionScoreMetric,
  precision,
  recall,
  density,
  coverage,
  cmmd,
  clipScoreMetric,
  clipImageSimilarity,
  slicedWassersteinMetric,
  vendi,
  lpipsDiversity,
  classAccuracy,
  memorisation,
];

/** Names that mean several metrics. */
export const METRIC_GROUPS: Readonly<Record<string, readonly string[]>> = {
  prdc: ['precision', 'recall', 'density', 'coverage'],
};

/** What may be asked for. */
export const METRIC_NAMES: readonly string[] = [...METRICS.map(({ id }) => id), ...Object.keys(METRIC_GROUPS), 'fid'];

/**
 * The metrics of a list of names, each once and in that order. `fid` is the Fréchet distance with the features that alone may bear the name.
 * @throws InputError for no or unknown names, and for `fid` with another extractor
 */
export function metricsNamed(names: readonly string[], extractor: ExtractorIdentity | null): readonly Metric[] {
  if (names.length === 0) throw new InputError(`metrics: none named; some of ${METRIC_NAMES.join(', ')} expected`);
  const found = names.flatMap((name) => METRIC_GROUPS[name] ?? [name]).map((name) => metricNamed(name, extractor));
  return found.filter(({ id }, i) => found.findIndex((other) => other.id === id) === i);
}

function metricNamed(name: string, extractor: ExtractorIdentity | null): Metric {
  const metric = METRICS.find(({ id }) => id === (name === 'fid' ? 'frechet' : name));
  if (!metric)
    throw new InputError(`metrics: no metric '${name}'${didYouMean(name, METRIC_NAMES)}; some of ${METRIC_NAMES.join(', ')} expected`);
  if (name !== 'fid') return metric;
  if (extractor?.name !== FID_EXTRACTOR)
    throw new InputError(
      `metrics: fid takes features of the ${FID_EXTRACTOR}, not of ${extractor?.name ?? 'an unknown network'}; ask for frechet, the same distance under its proper name`,
    );
  return { ...metric, id: 'fid', label: 'FID' };
}
