/** @file How long the rest of a benchmark will take: from what was measured, else from a few samples of each model. */
import { openJob, type PlannedJob } from './benchmark-plan.ts';
import type { Shared } from './benchmark-suite.ts';
import { labelsFor } from './drawing.ts';

/** Seconds that a job takes. */
export type Expectation = (job: PlannedJob) => number;

/** Samples of a probe: enough that a step is as fast for each as in a whole batch. */
const PROBE = 50;
/** Seconds of an evaluation, features of the real images included, where none was measured yet: about what two cores take. */
const ASSUMED = 15;

const numberAt = (entry: PlannedJob['done'], name: string): number | null => {
  const value = entry?.[name];
  return typeof value === 'number' && value > 0 ? value : null;
};
/** Jobs whose steps cost the same. */
const kindOf = ({ weights, options }: PlannedJob): string => `${weights} ${String(options['hybrid'] ?? '')}`;

/**
 * Draws a few samples of each model of which nothing was measured, with the job that takes the fewest evaluations.
 * @param probed seconds of an evaluation by kind, from earlier calls; new ones are added
 */
export async function expectations(
  jobs: readonly PlannedJob[],
  shared: Shared,
  probed: Map<string, number> = new Map(),
): Promise<Expectation> {
  const paces = new Map<string, number>();
  for (const job of jobs) {
    const seconds = numberAt(job.done, 'samplingSeconds');
    if (seconds !== null) paces.set(kindOf(job), seconds / (shared.n * job.nfe));
  }
  for (const kind of new Set(jobs.filter(({ done }) => done === null).map(kindOf))) {
    if (paces.has(kind)) continue;
    const cheapest = jobs.filter((job) => kindOf(job) === kind).reduce((a, b) => (b.nfe < a.nfe ? b : a));
    if (!probed.has(kind)) probed.set(kind, (await probe(cheapest, shared)) / (PROBE * cheapest.nfe));
    paces.set(kind, probed.get(kind)!);
  }
  const evaluations = jobs.flatMap(({ done }) => numberAt(done, 'evaluationSeconds') ?? []);
  const evaluation = evaluations.length > 0 ? evaluations.reduce((a, b) => a + b) / evaluations.length : ASSUMED;
  return (job) => shared.n * job.nfe * paces.get(kindOf(job))! + evaluation;
}

/** Seconds of a few samples, compiling apart. */
async function probe(job: PlannedJob, shared: Shared): Promise<number> {
  const source = await openJob(job, { ...shared, batch: PROBE });
  try {
    const request = { n: PROBE, seed: shared.seed, labels: labelsFor(source, [], PROBE) };
    await source.generator.generate(request);
    const start = performance.now();
    await source.generator.generate(request);
    return (performance.now() - start) / 1000;
  } finally {
    await source.generator.close();
  }
}
