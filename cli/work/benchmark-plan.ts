/** @file What of a suite is measured already and what is not, after every job was opened once, so that mistakes come before the first hour. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { artifactPath } from '../../data/artifacts.ts';
import { sha256 } from '../../engine/io/atomic.ts';
import { InputError } from '../../engine/io/errors.ts';
import { shippedClassifiers } from '../../eval/features/shipped.ts';
import type { Flat } from '../config.ts';
import { modelChecksum } from './benchmark-checksum.ts';
import type { Job, Shared, Suite } from './benchmark-suite.ts';
import { labelsFor } from './drawing.ts';
import { checkSamples, type Reference, referenceFor } from './evaluating.ts';
import { openDrawn } from './hybrid.ts';
import { isFlat } from './report-rows.ts';
import type { Source } from './source.ts';

export interface PlannedJob extends Job {
  /** Same key, same numbers: a hash of the settings and of the model. */
  readonly key: string;
  readonly weights: string;
  readonly reference: Reference;
  readonly nfe: number;
  readonly sampler: string;
  /** Its finished measurement. */
  readonly done: Flat | null;
}

/** Changes where a measurement comes to mean something else. */
const FORMAT = 1;

export const ENTRIES = 'entries';
export const entryFile = (out: string, key: string, ending: string): string => join(out, ENTRIES, `${key}${ending}`);

/** Errors: whatever is wrong with a model or its options, led by the job's name. */
export async function planBenchmark({ jobs, shared }: Suite, out: string): Promise<readonly PlannedJob[]> {
  const checksums = new Map<string, Promise<string>>();
  const checksumOf = (spec: string): Promise<string> => {
    if (!checksums.has(spec)) checksums.set(spec, modelChecksum(spec));
    return checksums.get(spec)!;
  };
  const planned: PlannedJob[] = [];
  for (const job of jobs) {
    try {
      planned.push(await planJob(job, shared, out, checksumOf));
    } catch (error) {
      throw error instanceof InputError ? new InputError(`${job.name}: ${error.message}`) : error;
    }
  }
  return planned;
}

async function planJob(job: Job, shared: Shared, out: string, checksumOf: (spec: string) => Promise<string>): Promise<PlannedJob> {
  const { hybrid } = job.options;
  const weights = await checksumOf(job.model);
  const other = typeof hybrid === 'string' && hybrid !== '' ? await checksumOf(hybrid) : null;
  const source = await openJob(job, shared);
  try {
    const reference = referenceFor(shared.reference, source.data);
    checkSamples(job.model, reference, source.sample.shape, source.sample.classes);
    labelsFor(source, [], 1);
    const { nfe, sampler } = source.generator;
    const { n, seed, neighbours } = shared;
    const { hybrid: _, ...options } = job.options;
    const extractor = sha256(await readFile(artifactPath(shippedClassifiers[reference.data].file)));
    const settings = {
      format: FORMAT,
      weights,
      other,
      options: Object.entries(options).sort(),
      n,
      seed,
      neighbours,
      reference: reference.spec,
      extractor,
    };
    const key = sha256(JSON.stringify(settings)).slice(0, 20);
    return { ...job, key, weights, reference, nfe, sampler, done: await readEntry(out, key) };
  } finally {
    await source.generator.close();
  }
}

/** The source that a job draws from. */
export const openJob = ({ model, options }: Job, { threads, device, batch }: Shared): Promise<Source> =>
  openDrawn(model, { ...options, threads, device, batch });

/** The finished measurement of a key; null where there is none that can be read whole. */
export async function readEntry(out: string, key: string): Promise<Flat | null> {
  try {
    const value: unknown = JSON.parse(await readFile(entryFile(out, key, '.json'), 'utf8'));
    return isFlat(value) && value['kind'] === 'evaluation' && value['key'] === key ? value : null;
  } catch {
    return null;
  }
}
