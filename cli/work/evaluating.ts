/** @file Measures samples, of a model or out of a folder, against a reference set. */
import { availableParallelism } from 'node:os';
import { InputError } from '../../engine/io/errors.ts';
import { fromBigInt64, fromFloat32, writeSafetensors } from '../../engine/io/safetensors.ts';
import { options, text, whole } from '../../engine/train/options.ts';
import { type EvaluationOptions, evaluatedAs, type Evaluation as Opened, openEvaluation, type Scores } from '../../eval/evaluation.ts';
import type { Extraction } from '../../eval/features/extractor.ts';
import { type ClassifiedData, shippedClassifiers } from '../../eval/features/shipped.ts';
import { around, groupsOf, type Interval, jackknifeError, ofShare, without } from '../../eval/intervals.ts';
import { openSpread } from '../../eval/manifold/pool.ts';
import { openPool } from '../../eval/pool.ts';
import { rowsOf } from '../../eval/rows.ts';
import { throughPool } from '../../eval/through-pool.ts';

export const evaluationOptions = options({
  n: whole(5000, 'samples; distances compare only at equal numbers', { min: 2 }),
  reference: text(
    'auto',
    'real images that samples are compared with: digits, fashion-mnist, or any set of images, features or statistics; auto: those that the model was trained on, digits for a folder',
  ),
  neighbours: whole(64, 'samples whose nearest training images are searched; 0 for none', { min: 0 }),
});

/** A reference set: its name, where it is, and the samples that compare with it. */
export interface Reference {
  readonly data: ClassifiedData;
  /** As the command line and configurations write it. */
  readonly spec: string;
  /** Shape and classes of a sample. */
  readonly shape: readonly [number, number, number];
  readonly classes: number;
}
export interface Samples {
  /** [n, …shape], 0..255 */
  readonly images: Uint8Array;
  readonly n: number;
  readonly labels: Int32Array | null;
}
export interface EvaluationRequest {
  readonly reference: Reference;
  readonly samples: Samples;
  /** Samples whose nearest training images are searched. */
  readonly neighbours: number;
  /** Threads that compute features; 0 for all cores. */
  readonly threads: number;
}
export interface Evaluation {
  readonly scores: Scores;
  /** Of the samples: features [n, d] and logits [n, classes]. */
  readonly extraction: Extraction;
  /** The same numbers with their intervals of about 95 %; those that were not measured are left out. */
  readonly metrics: Readonly<Record<string, Interval & { readonly value: number }>>;
}

/** The reference that is meant by the option, for samples of a model of the data set `trainedOn` (empty: unknown). */
export function referenceFor(option: string, trainedOn: string): Reference {
  const spec = option === 'auto' ? (evaluatedAs(trainedOn) ? trainedOn : 'digits') : option;
  const data = evaluatedAs(spec)!;
  const { size, network } = shippedClassifiers[data];
  return { data, spec, shape: [1, size, size], classes: network.classes };
}

/** Errors: samples of another type than the reference. */
export function checkSamples(where: string, reference: Reference, shape: readonly number[], classes: number): void {
  const { data } = reference;
  if (shape.join() !== reference.shape.join())
    throw new InputError(`evaluate: ${where} makes [${shape}], ${data} are [${reference.shape}]; give a model of ${data}`);
  if (classes !== 0 && classes !== reference.classes)
    throw new InputError(`evaluate: ${where} has ${classes} classes, ${data} have ${reference.classes}; give a model of ${data}`);
}

/** Compares samples with real images. Errors: fewer than two samples, labels that the reference does not have. */
export async function evaluate({ reference, samples, neighbours, threads }: EvaluationRequest): Promise<Evaluation> {
  const { data, spec, classes } = reference;
  const wrong = samples.labels?.find((label) => label >= classes);
  if (wrong !== undefined) throw new InputError(`evaluate: a sample is labelled ${wrong}; ${data} are 0 to ${classes - 1}`);
  const workers = openWorkers(data, threads || availableParallelism());
  const kept: Extraction[] = [];
  const evaluation = await openEvaluation(spec, {
    neighbours,
    spread: workers.spread,
    async extract(images, n) {
      const extraction = await workers.extract(images, n);
      if (images === samples.images) kept.push(extraction);
      return extraction;
    },
  });
  try {
    const scores = await evaluation.evaluate(samples);
    const extraction = kept[0]!;
    return { scores, extraction, metrics: await withIntervals(evaluation, scores, extraction.features, samples.n) };
  } finally {
    await evaluation.close();
    await workers.close();
  }
}

/** Groups of samples that are left out in turn. */
const GROUPS = 10;

/** Of the distances by leaving out groups of the samples (the jackknife), of the shares Wilson's. */
async function withIntervals(
  { frechet, nReal }: Pick<Opened, 'frechet' | 'nReal'>,
  scores: Scores,
  features: Float32Array,
  n: number,
): Promise<Evaluation['metrics']> {
  const d = features.length / n;
  const parts = n < 2 * GROUPS ? [] : groupsOf(n, GROUPS, 0, 'frechet');
  const apart: Scores['frechet'][] = [];
  for (let g = 0; g < parts.length; g++) {
    const rows = without(parts, g);
    apart.push(await frechet(rowsOf(features, d, rows), rows.length));
  }
  const distance = (to: keyof Scores['frechet']) => {
    const value = scores.frechet[to];
    return { value, ...around(value, jackknifeError(apart.map((one) => one[to])), GROUPS - 1) };
  };
  const share = (name: string, value: number | null, of: number) => (value === null ? {} : { [name]: { value, ...ofShare(value, of) } });
  return {
    frechetHeldOut: distance('heldOut'),
    frechetTraining: distance('training'),
    ...share('precision', scores.precision, n),
    ...share('recall', scores.recall, nReal),
    ...share('classAccuracy', scores.classAccuracy, n),
  };
}

/** Features, precision and recall by worker threads; their bits do not depend on how many there are. */
function openWorkers(
  data: ClassifiedData,
  threads: number,
): Required<Pick<EvaluationOptions, 'extract' | 'spread'>> & { close(): Promise<void> } {
  const pool = openPool({ threads });
  const spread = openSpread({ threads });
  return {
    extract: throughPool(pool, data),
    spread,
    async close() {
      await pool.close();
      await spread.close();
    },
  };
}

/** Stores features and logits of samples, and what belongs to them. */
export async function saveFeatures(
  path: string,
  { extraction }: Evaluation,
  { n, labels }: Samples,
  facts: Readonly<Record<string, string>>,
): Promise<void> {
  const { features, logits } = extraction;
  const tensors = {
    features: fromFloat32(features, [n, features.length / n]),
    ...(logits ? { logits: fromFloat32(logits, [n, logits.length / n]) } : {}),
    ...(labels ? { labels: fromBigInt64(BigInt64Array.from(labels, BigInt), [n]) } : {}),
  };
  await writeSafetensors(path, tensors, facts);
}
