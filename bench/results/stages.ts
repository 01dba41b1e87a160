/** @file The stages of `npm run results`: rows of reference, the sweep over all methods, and the long runs of the best. */
import { existsSync } from 'node:fs';
import { clock } from '../../cli/output.ts';
import type { Loss } from '../../engine/train/loss.ts';
import { bestOf, estimate, type Job, longJob, longJobs, type Origins, sweepJobs } from './jobs.ts';
import { isDone, type Row, readRow, readRows } from './record.ts';
import { makeReference, missingReferences } from './references.ts';
import type { Settings } from './settings.ts';
import { makeRow, type Places, pairsFile, sharedPairs } from './training.ts';

export interface Context {
  readonly settings: Settings;
  readonly origins: Origins;
  readonly places: Places;
  readonly methods: readonly Loss[];
  /** Only tell what would be done. */
  readonly dry: boolean;
  say(line: string): void;
}

/** Makes the rows of jobs that are missing; a method that fails gets a row that says why, and the next one has its turn. */
async function work(jobs: readonly Job[], context: Context): Promise<number> {
  const { settings, origins, places, dry, say } = context;
  let planned = pairSeconds(jobs, context);
  for (const [i, job] of jobs.entries()) {
    const before = await readRow(places.results, job);
    const seconds = estimate(job, before, settings);
    planned += seconds;
    const name = `${job.stage} ${i + 1}/${jobs.length} ${job.id}`;
    if (isDone(before, job.settings, job.usual)) say(`${name}: is there`);
    else if (dry)
      say(`${name}: ${job.plan.run.steps} steps of ${job.plan.run.batch}, about ${clock(seconds)}${job.needsPairs ? ', needs pairs' : ''}`);
    else {
      say(`${name}: ${job.plan.run.steps} steps of ${job.plan.run.batch}`);
      const row = await makeRow(
        job,
        settings,
        places,
        () => sharedPairs(settings, origins.teacher, places),
        (line) => say(`  ${line}`),
      );
      say(`  ${told(row)}`);
    }
  }
  return planned;
}

const told = ({ failure, scores, training }: Row): string =>
  failure
    ? `failed: ${failure}`
    : `${scores!.heldOut.toFixed(3)} held-out, ${scores!.training.toFixed(3)} training, ${Math.round(training!.cpuSeconds)} core-seconds of training`;

/** Seconds that the pairs will take, where a job needs them and they are not there; Heun takes two evaluations a level, but one at the last. */
function pairSeconds(jobs: readonly Job[], { settings, origins, places }: Context): number {
  if (!jobs.some(({ needsPairs }) => needsPairs) || existsSync(pairsFile(settings, origins.teacher, places))) return 0;
  return (settings.pairs * (2 * settings.pairLevels - 1)) / settings.teacherPerSecond;
}

async function references({ settings, origins, places, dry, say }: Context): Promise<number> {
  const missing = await missingReferences(settings, origins.teacher, places);
  const evaluations = settings.evaluations.reduce((sum, count) => sum + count, 0) * settings.samples;
  for (const planned of missing) {
    say(`reference ${planned.id}`);
    const failure = dry ? null : await makeReference(planned, places);
    if (failure) say(`  failed: ${failure}`);
  }
  return missing.length > 0 ? evaluations / settings.teacherPerSecond : 0;
}

/** Seconds as in `sweep`. */
export async function long(context: Context): Promise<number> {
  const { methods, settings, origins, places, say } = context;
  const sweep = (await readRows(places.results, 'sweep')).filter(({ id }) => methods.some(({ name }) => name === id));
  const jobs = longJobs(methods, sweep, settings, origins);
  if (jobs.length === 0) say('long: the sweep has no rows yet, so that its best methods are not known');
  const planned = await work(jobs, context);
  const first = new Set(jobs.map(({ id }) => id));
  const [best] = bestOf((await readRows(places.results, 'long')).filter(({ id }) => first.has(id)));
  const loss = best && methods.find(({ name }) => name === best.id);
  return loss ? planned + (await work([longJob(loss, settings, origins, settings.seed + 1)], context)) : planned;
}

/** Rows of reference, then every method. @returns the seconds that were expected of what was missing */
export const sweep = async (context: Context): Promise<number> =>
  (await references(context)) + (await work(sweepJobs(context.methods, context.settings, context.origins), context));
