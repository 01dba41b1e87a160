/** @file The numbers of an evaluation from features and logits that a network has given already. */
import { accuracy } from './metrics/class-accuracy.ts';
import { frechetDistance } from './metrics/frechet.ts';
import { type Features, type Moments, moments } from './moments.ts';

export interface Generated {
  /** [n, d] */
  readonly features: Features;
  readonly n: number;
  /** [n, classes] */
  readonly logits: Float32Array | Float64Array;
  /** The classes that were asked for, n of them. */
  readonly labels: ArrayLike<number>;
}

export interface Scores<Name extends string> {
  /** Fréchet distance to each reference, in squared units of the features. */
  readonly frechet: Readonly<Record<Name, number>>;
  /** Share of samples classified as what was asked for. */
  readonly accuracy: number;
}

/** Distances to the moments of every reference (test set, teacher, …) and the accuracy of one set of samples. Throws an InputError where sizes do not fit. */
export function evaluateFeatures<Name extends string>(input: {
  readonly generated: Generated;
  readonly references: Readonly<Record<Name, Moments>>;
  readonly d: number;
}): Scores<Name> {
  const { generated, references, d } = input;
  const own = moments(generated.features, generated.n, d);
  const distances = Object.entries<Moments>(references).map(([name, reference]) => [name, frechetDistance(own, reference)]);
  return {
    frechet: Object.fromEntries(distances) as Record<Name, number>,
    accuracy: accuracy(generated.logits, generated.labels, generated.logits.length / generated.n),
  };
}
