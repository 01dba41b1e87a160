/** @file Runs a benchmark: job after job, from where it stopped, and a report of all that is measured. */
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileFailure } from '../../engine/io/failures.ts';
import { acquireLock } from '../../engine/io/lock.ts';
import type { Comparison, Picture, Run } from '../../eval/report/comparison.ts';
import type { Flat } from '../config.ts';
import { measureJob } from './benchmark-measure.ts';
import { type Expectation, expectations } from './benchmark-pace.ts';
import { entryFile, type PlannedJob } from './benchmark-plan.ts';
import type { Suite } from './benchmark-suite.ts';
import type { Pace } from './drawing.ts';
import { isRunFolder } from './evaluations.ts';
import { distinctRows, factsOf, filesOf, summaryOf, type Written, writeReport } from './report.ts';
import { referenceRows, rowOf } from './report-rows.ts';
import { readRun, runOf } from './report-run.ts';

/** What happens, for whoever shows it. */
export type BenchmarkEvent =
  | {
      readonly kind: 'job';
      readonly index: number;
      readonly of: number;
      readonly name: string;
      readonly pace: Pace | null;
      readonly secondsLeft: number;
    }
  | { readonly kind: 'measured'; readonly index: number; readonly of: number; readonly entry: Flat };

export interface BenchmarkRequest {
  readonly suite: Suite;
  readonly jobs: readonly PlannedJob[];
  readonly out: string;
  readonly signal?: AbortSignal;
  onEvent?(event: BenchmarkEvent): void;
}
export interface BenchmarkResult {
  readonly finished: boolean;
  /** How many there are of these now, and of all. */
  readonly measured: number;
  readonly of: number;
  readonly files: Written;
}

/** Jobs of one key are measured once. */
export const openJobs = (jobs: readonly PlannedJob[]): readonly PlannedJob[] =>
  jobs.filter(({ key, done }, i) => done === null && jobs.findIndex((other) => other.key === key) === i);

/** Measures what is missing and writes report.html, .json and .md; where the signal stops it, of what there is. Errors: the folder is in use or cannot be written. */
export async function runBenchmark(request: BenchmarkRequest): Promise<BenchmarkResult> {
  const { suite, jobs, out, signal } = request;
  await mkdir(out, { recursive: true }).catch((error: unknown) => {
    throw fileFailure('write', out, error);
  });
  const release = await acquireLock(out);
  try {
    const found = new Map<string, Flat>(jobs.flatMap(({ key, done }) => (done ? [[key, done] as const] : [])));
    const todo = openJobs(jobs);
    const now = (): readonly PlannedJob[] => jobs.map((job) => ({ ...job, done: found.get(job.key) ?? null }));
    const probed = new Map<string, number>();
    for (const [i, job] of todo.entries()) {
      if (signal?.aborted) break;
      const expected = await expectations(now(), suite.shared, probed); // sharper with every job
      const entry = await measured(request, job, todo.slice(i + 1), { index: i + 1, of: todo.length, expected });
      if (!entry) break;
      found.set(job.key, entry);
      request.onEvent?.({ kind: 'measured', index: i + 1, of: todo.length, entry });
    }
    const all = now();
    const files = filesOf(join(out, 'report.html'), { json: true, markdown: true });
    await writeReport(await benchmarkReport(suite, all, out), files);
    const count = all.filter(({ done }) => done !== null).length;
    return { finished: count === all.length, measured: count, of: all.length, files };
  } finally {
    await release();
  }
}

/** Null where the signal stopped it. */
async function measured(
  { suite, out, signal, onEvent }: BenchmarkRequest,
  job: PlannedJob,
  later: readonly PlannedJob[],
  { index, of, expected }: { readonly index: number; readonly of: number; readonly expected: Expectation },
): Promise<Flat | null> {
  const rest = later.reduce((sum, one) => sum + expected(one), 0);
  const tell = (pace: Pace | null): void => {
    const own = pace ? pace.secondsLeft + Math.max(0, expected(job) - pace.n / pace.imagesPerSecond) : expected(job);
    onEvent?.({ kind: 'job', index, of, name: job.name, pace, secondsLeft: own + rest });
  };
  tell(null);
  try {
    return await measureJob({ job, shared: suite.shared, out, ...(signal ? { signal } : {}), onPace: tell });
  } catch (error) {
    if (signal?.aborted && error === signal.reason) return null;
    throw error;
  }
}

/** The comparison of what is measured, with the curves of those models that are run folders. */
export async function benchmarkReport({ title, shared }: Suite, jobs: readonly PlannedJob[], out: string): Promise<Comparison> {
  const missing = jobs.filter(({ done }) => done === null).map(({ name }) => name);
  const done = jobs.flatMap((job) => (job.done ? [{ ...job, done: job.done }] : []));
  const rows = distinctRows(
    done.flatMap(({ done: entry, name, series, label }) => [rowOf(entry, { name, series, label }), ...referenceRows(entry)]),
  );
  const picture = async (ending: string, words: (name: string) => Omit<Picture, 'png' | 'title'>): Promise<readonly Picture[]> => {
    const found = await Promise.all(
      done.map(async ({ key, name }) => {
        const png = await readFile(entryFile(out, key, ending)).catch(() => null);
        return png ? [{ title: name, png, ...words(name) }] : [];
      }),
    );
    return found.flat();
  };
  return {
    title,
    summary: summaryOf(rows),
    problems: missing.length > 0 ? [`not measured yet: ${missing.join('; ')}`] : [],
    rows,
    runs: await runsAmong(done.map(({ model }) => model)),
    samples: await picture('.png', (name) => ({ alt: `samples of ${name}`, note: `seed ${shared.seed}; not selected.` })),
    neighbours: await picture('-nearest.png', (name) => ({
      alt: `samples of ${name} above their nearest training images`,
      note: 'Above: samples. Below: the training image nearest to each in pixels.',
    })),
    facts: factsOf(),
  };
}

async function runsAmong(models: readonly string[]): Promise<readonly Run[]> {
  const runs: Run[] = [];
  for (const model of new Set(models)) {
    if (!(await isRunFolder(model))) continue;
    const run = runOf(await readRun(model));
    runs.push({ ...run, notes: [] }); // its evaluations are here
  }
  return runs;
}
