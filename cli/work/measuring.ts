/** @file Measures one set of images, features or samples against another, and says with what. */
import { InputError } from '../../engine/io/errors.ts';
import { measure } from '../../eval/measure.ts';
import type { FeatureSet, Measured, Metric, Need } from '../../eval/metric.ts';
import { FID_EXTRACTOR } from '../../eval/metric.ts';
import type { Flat, Group } from '../config.ts';

/** What one metric gave. */
export interface Figure extends Measured {
  readonly id: string;
  readonly label: string;
  readonly better: Metric['better'];
}

/** The two sides as one metric sees them. */
export interface Compared {
  readonly generated: FeatureSet;
  readonly reference: FeatureSet | null;
}

/** A Fréchet distance is called FID with the features of one network alone, and by its features' name with any other. */
export function labelOf({ id, label }: Metric, { generated }: Compared): string {
  if (id !== 'frechet') return label;
  const name = generated.extractor?.name;
  return name === FID_EXTRACTOR ? 'FID' : `FD (${name ?? 'given features'})`;
}

/** Options of metrics as flags. */
export const metricGroup = ({ id, settings }: Metric): Group => ({ where: id, schema: settings });

/** One metric. @throws InputError for sets that are too small or lack what it takes */
export async function figureOf(metric: Metric, sets: Compared, flat: Flat): Promise<Figure> {
  const { metrics } = await measure([metric], sets.generated, sets.reference, flat);
  return { id: metric.id, label: labelOf(metric, sets), better: metric.better, ...metrics[metric.id]! };
}

/** A metric of two halves of the reference. Null where it compares nothing with the reference's features, and where the halves are too small. */
export async function floorOf({ needs, ...metric }: Metric, halves: Compared, flat: Flat): Promise<Figure | null> {
  const isOfFeatures = (need: Need): boolean => need === 'features' || need === 'moments';
  if (!needs.reference.some(isOfFeatures) || !needs.generated.every(isOfFeatures)) return null;
  try {
    return await figureOf({ needs, ...metric }, halves, flat);
  } catch (error) {
    if (error instanceof InputError) return null; // too few for this metric
    throw error;
  }
}

/** Weights that were vouched for once and once not are told apart by their checksum, not by their name. */
export const familyOf = (name: string): string => name.replace(/^(FID Inception) \(weights [0-9a-f]+\)/, '$1');

/** Errors: features of two networks, or of two sizes. @returns a line where it is not certain that they are of one */
export function checkSameFeatures({ generated, reference }: Compared, accept: boolean): string | null {
  if (!reference) return null;
  const [a, b] = [generated.extractor, reference.extractor];
  if (a && b && (familyOf(a.name) !== familyOf(b.name) || (a.checksum !== null && b.checksum !== null && a.checksum !== b.checksum))) {
    const words = (one: typeof a): string => `${one.name}${one.checksum ? `, SHA-256 ${one.checksum.slice(0, 12)}…` : ''}`;
    throw new InputError(
      `${reference.name}: has features of ${words(b)}, ${generated.name} of ${words(a)}; a distance between different features means nothing`,
    );
  }
  if (generated.dimensions !== reference.dimensions)
    throw new InputError(
      `${reference.name}: has ${reference.dimensions} features a sample, ${generated.name} has ${generated.dimensions}; a distance between different features means nothing`,
    );
  if ((a === null) === (b === null)) return null;
  const [silent, said] = a === null ? [generated, b!] : [reference, a];
  const words = `${silent.name}: does not say which network gave its features; the other side's are of ${said.name}`;
  // Files of statistics have been those of the FID Inception since there are any.
  const usual = said.name === FID_EXTRACTOR && silent.features === null;
  if (accept || usual) return `${words}${usual ? ', for which it is taken' : ''}`;
  throw new InputError(`${words}, and a distance between different features means nothing: give --accept-weights where they are the same`);
}
