/** @file Rows of features: some of them, as float64, and what is remembered of a set. */
import { InputError } from '../engine/io/errors.ts';
import type { FeatureSet, Need } from './metric.ts';
import type { Features } from './moments.ts';

/** Rows of [n, d] by index, in the type of the array. */
export function rowsOf<T extends Features>(features: T, d: number, indices: ArrayLike<number>): T {
  const out = new (features.constructor as new (length: number) => T)(indices.length * d);
  for (let i = 0; i < indices.length; i++) out.set(features.subarray(indices[i]! * d, (indices[i]! + 1) * d), i * d);
  return out;
}

/** Rows from … to in float64. */
export const doubles = (features: Features, d: number, from = 0, to = features.length / d): Float64Array =>
  Float64Array.from(features.subarray(from * d, to * d));

/** What was computed of a set stays as long as the set does. */
const known = new WeakMap<object, Map<string, unknown>>();

/** Makes a value of a set once for each key. */
export function remembered<T>(set: object, key: string, make: () => T): T {
  const values = known.get(set) ?? new Map<string, unknown>();
  known.set(set, values);
  if (!values.has(key)) values.set(key, make());
  return values.get(key) as T;
}

/** The features of a set. @throws InputError where it has only statistics */
export function featuresOf(metric: string, set: FeatureSet): Features {
  if (!set.features) throw missing(metric, set, 'features');
  return set.features;
}

export const missing = (metric: string, set: FeatureSet, need: Need): InputError =>
  new InputError(
    `${metric}: ${set.name} has no ${need}${set.moments && !set.features ? ' but statistics alone' : ''}; ${need} of single samples are needed`,
  );

/** The other side. @throws InputError where there is none, or one of another size */
export function referenceOf(metric: string, generated: FeatureSet, reference: FeatureSet | null): FeatureSet {
  if (!reference) throw new InputError(`${metric}: no reference; a set to compare ${generated.name} with is needed`);
  if (reference.dimensions !== generated.dimensions)
    throw new InputError(
      `${metric}: ${generated.name} has ${generated.dimensions} dimensions, ${reference.name} ${reference.dimensions}; features of one network are needed on both sides`,
    );
  return reference;
}

/** @throws InputError for fewer samples than a metric can take */
export function atLeast(metric: string, set: FeatureSet, least: number): void {
  if (set.n !== null && set.n < least) throw new InputError(`${metric}: ${set.name} has ${set.n} samples; at least ${least} are needed`);
}
