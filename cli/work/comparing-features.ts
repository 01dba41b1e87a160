/** @file The features of both sides by one network: stored ones are read, images are sent through it, and what does not fit is refused. */
import { InputError } from '../../engine/io/errors.ts';
import type { ExtractorFacts, ExtractorSpec } from '../../eval/features/extractor.ts';
import type { FeatureSet, Metric } from '../../eval/metric.ts';
import type { ExtractedSet } from '../../eval/pool.ts';
import { type Flat, valuesOf } from '../config.ts';
import { asFeatureSet, type Extracting, extractorFor, extractorJson } from './extracting.ts';
import { withImages } from './image-pixels.ts';
import { type Compared, checkSameFeatures } from './measuring.ts';
import { namedOf } from './metric-names.ts';
import { featureGroup, measureGroup } from './side-options.ts';
import type { Side } from './sides.ts';

export interface Opened {
  readonly generated: Side;
  readonly reference: Side | null;
  readonly extracting: Extracting;
  readonly names: readonly string[];
  readonly early: ExtractorSpec | null;
  /** Images that were asked for of the generated side; null for all. */
  readonly wanted: number | null;
}

/** Both sides with the features of one network. */
export interface Featured extends Compared {
  readonly extractor: Flat | null;
  readonly notes: readonly string[];
}

/** With the network that alone gives FID. */
export const inception = (flat: Flat): Flat => ({ ...flat, extractor: 'inception' });

/** Errors: sides, an extractor and metrics that do not go together; whatever is wrong with the images. */
export async function featuresOf(
  { generated, reference, extracting, early, wanted }: Opened,
  flat: Flat,
  metrics: readonly Metric[],
): Promise<Featured> {
  const { features } = valuesOf(measureGroup, flat);
  const { acceptWeights } = valuesOf(featureGroup, flat);
  // A reference that no metric takes is not computed.
  const compared = metrics.some(({ needs }) => needs.reference.length > 0) ? reference : null;
  const sides: readonly Side[] = compared ? [generated, compared] : [generated];
  const images = sides.some(({ kind }) => kind === 'images');
  const isFid = metrics.some(({ id }) => id === 'fid');
  if (!images && early !== null && !isFid)
    throw new InputError('extractor: both sides are features already; leave --extractor and --features out');
  const spec = images ? (early ?? (await extractorFor(isFid ? inception(flat) : flat, sides, features))) : null;
  const facts = spec && (await extracting.pool.describe(spec));
  if (facts && isFid) namedOf(['fid'], facts);
  const stored = sides.find((side) => side.kind === 'stored');
  if (facts && stored?.kind === 'stored')
    checkSameFeatures(
      { generated: blankSet(facts, sides.find(({ kind }) => kind === 'images')!.name), reference: stored.set },
      acceptWeights,
    );
  const found: FeatureSet[] = [];
  const notes: string[] = facts?.note === undefined ? [] : [facts.note];
  for (const side of sides) {
    const set = side.kind === 'images' ? await extracting.extract(side, spec!) : null;
    if (set && side === generated) checkEnough(side.name, set, wanted);
    found.push(side.kind === 'images' ? await withImages(asFeatureSet(side.name, set!), side, metrics, sides.indexOf(side)) : side.set);
    if (set && set.left.length > 0)
      notes.push(`${side.name}: ${set.left.length} images could not be read and are left out: ${set.left[0]!.why}`);
    if (facts && side.kind === 'stored' && side.resize !== null && side.resize !== facts.resize)
      notes.push(`${side.name}: its images were resized by ${side.resize}, the others by ${facts.resize}; that moves the distance`);
  }
  const pair: Compared = { generated: found[0]!, reference: found[1] ?? null };
  return {
    ...pair,
    extractor: extractorOf(facts, pair),
    notes: [...notes, ...[checkSameFeatures(pair, acceptWeights)].filter((line) => line !== null)],
  };
}

/** Errors: an archive that does not say how many it holds had fewer images than were asked for. */
function checkEnough(name: string, { n, left }: ExtractedSet, wanted: number | null): void {
  if (wanted !== null && n + left.length < wanted)
    throw new InputError(`${name}: holds ${n + left.length} images, not ${wanted}; give a set with enough of them, or a smaller --n`);
}

/** A set of which only the network is known yet. */
const blankSet = ({ name: network, checksum, dimensions }: ExtractorFacts, name: string): FeatureSet => ({
  name,
  extractor: { name: network, checksum },
  dimensions,
  ...{ n: 0, features: null, moments: null, logits: null, labels: null, images: null, pairs: null },
});

/** In a report: what computed the features, or what the files say of it. */
function extractorOf(facts: ExtractorFacts | null, { generated, reference }: Compared): Flat {
  if (facts) return extractorJson(facts);
  const said = generated.extractor ?? reference?.extractor ?? null;
  return { name: said?.name ?? 'given features', sha256: said?.checksum ?? null, dimensions: generated.dimensions, resize: null };
}
