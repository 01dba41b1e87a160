/** @file Measures one job of a benchmark as `onestep evaluate` does, and keeps pictures of its first samples. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { toBytes } from '../../data/bytes.ts';
import { writeAtomic } from '../../engine/io/atomic.ts';
import { fileFailure } from '../../engine/io/failures.ts';
import { shippedClassifiers } from '../../eval/features/shipped.ts';
import { accuracy } from '../../eval/metrics/class-accuracy.ts';
import type { Flat } from '../config.ts';
import { kebab } from '../flags.ts';
import { ENTRIES, entryFile, openJob, type PlannedJob } from './benchmark-plan.ts';
import type { Shared } from './benchmark-suite.ts';
import { drawSamples, labelsFor, type Pace } from './drawing.ts';
import { type Evaluation, evaluate, type Samples } from './evaluating.ts';
import { commandLine } from './evaluations.ts';
import { neighboursPicture, sheet } from './report-samples.ts';

export interface MeasureRequest {
  readonly job: PlannedJob;
  readonly shared: Shared;
  readonly out: string;
  readonly signal?: AbortSignal;
  onPace?(pace: Pace): void;
}

/** Nearest training images that are kept by number. */
const SHOWN = 10;

/** Draws, measures and keeps a job. Where it is stopped it throws the signal's reason and leaves nothing. @returns what is kept */
export async function measureJob(request: MeasureRequest): Promise<Flat> {
  const { job, shared, out } = request;
  const start = performance.now();
  const { samples, shape, imagesPerSecond, samplingSeconds } = await draw(request);
  const evaluation = await evaluate({ reference: job.reference, samples, neighbours: shared.neighbours, threads: shared.threads });
  request.signal?.throwIfAborted();
  const seconds = (performance.now() - start) / 1000;
  const { name, series, label, model, key, weights, options, sampler, nfe } = job;
  const entry: Flat = {
    kind: 'evaluation',
    ...{ key, name, series, label, model, weights, sampler, nfe, imagesPerSecond },
    n: samples.n,
    seed: shared.seed,
    reference: job.reference.spec,
    settings: { model, ...options, sampler, nfe, n: samples.n, seed: shared.seed, reference: job.reference.spec },
    ...scoresOf(job, evaluation, samples),
    command: evaluateCommand(job, shared),
    ...{ seconds, samplingSeconds, evaluationSeconds: seconds - samplingSeconds },
    at: new Date().toISOString(),
  };
  await mkdir(join(out, ENTRIES), { recursive: true }).catch((error: unknown) => {
    throw fileFailure('write', out, error);
  });
  await keepPictures(request, samples, shape, evaluation);
  // Last: an entry that is there has its pictures.
  await writeAtomic(entryFile(out, key, '.json'), `${JSON.stringify(entry, null, 2)}\n`);
  return entry;
}

async function draw({ job, shared, signal, onPace }: MeasureRequest) {
  const source = await openJob(job, shared);
  try {
    const { n, seed } = shared;
    const labels = labelsFor(source, [], n);
    const drawn = await drawSamples(source, { n, seed, labels }, (pace) => {
      signal?.throwIfAborted();
      onPace?.(pace);
    });
    const samples: Samples = { images: toBytes(drawn.images), n, labels };
    const shape = source.sample.shape as readonly [number, number, number]; // that of the reference's images
    return { samples, shape, imagesPerSecond: drawn.imagesPerSecond, samplingSeconds: drawn.seconds };
  } finally {
    await source.generator.close();
  }
}

/** In the words of `onestep evaluate --json`. */
function scoresOf({ reference }: PlannedJob, { scores, extraction, metrics }: Evaluation, { labels, n }: Samples): Flat {
  const { metric, frechet, floor, precision, recall, classAccuracy, checksum, nearest } = scores;
  const shown = nearest && { median: nearest.median, low: nearest.low, heldOut: nearest.heldOut, close: nearest.close };
  return {
    metric,
    metrics,
    frechetHeldOut: frechet.heldOut,
    frechetTraining: frechet.training,
    floor,
    precision,
    recall,
    classAccuracy,
    extractor: shippedClassifiers[reference.data].name,
    extractorSha256: checksum,
    perClass: labels && extraction.logits ? perClass(extraction.logits, labels, extraction.logits.length / n) : null,
    nearest: shown && { samples: nearest.index.length, ...shown, index: Array.from(nearest.index.slice(0, SHOWN)) },
  };
}

/** Accuracy on the samples of each class that was asked for. */
export function perClass(logits: Float32Array, labels: ArrayLike<number>, classes: number): readonly Flat[] {
  return Array.from({ length: classes }, (_, c) => c).flatMap((c) => {
    const own = Array.from(labels).flatMap((label, i) => (label === c ? [i] : []));
    if (own.length === 0) return [];
    const rows = Float32Array.from(own.flatMap((i) => Array.from(logits.subarray(i * classes, (i + 1) * classes))));
    const wanted = own.map(() => c);
    return [{ class: String(c), n: own.length, accuracy: accuracy(rows, wanted, classes) }];
  });
}

async function keepPictures(
  { job, shared, out }: MeasureRequest,
  { images, n }: Samples,
  shape: readonly [number, number, number],
  { scores: { nearest } }: Evaluation,
): Promise<void> {
  const size = shape[0] * shape[1] * shape[2];
  const shown = Math.min(n, shared.samples);
  if (shown > 0) await writeAtomic(entryFile(out, job.key, '.png'), await sheet(images.subarray(0, shown * size), [shown, ...shape]));
  if (!nearest) return;
  const { png } = await neighboursPicture(job.name, images, shape, nearest.index, job.reference.spec);
  await writeAtomic(entryFile(out, job.key, '-nearest.png'), png);
}

/** The same by itself. */
function evaluateCommand({ model, options, reference }: PlannedJob, { n, seed, neighbours }: Shared): string {
  const flags = { n, seed, reference: reference.spec, neighbours, ...options };
  const words = Object.entries(flags).flatMap(([name, value]) => [`--${kebab(name)}`, Array.isArray(value) ? value.join() : String(value)]);
  return commandLine(['evaluate', model, ...words]);
}
