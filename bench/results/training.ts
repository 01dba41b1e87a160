/** @file One row of a method: trains the student, measures it and keeps some of its samples. */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { loadModel } from '../../cli/work/model.ts';
import { writeAtomic } from '../../engine/io/atomic.ts';
import { readLog } from '../../engine/train/logs.ts';
import { CommandFailed, onestep } from './command.ts';
import type { Job } from './jobs.ts';
import { measure, saveStrip } from './measuring.ts';
import { curveOf, type Row, type Training, trainingSeconds, writeRow } from './record.ts';
import type { Settings } from './settings.ts';

export interface Places {
  /** Where rows are kept. */
  readonly results: string;
  /** Where runs and what they share lie. */
  readonly work: string;
}

const short = (value: unknown): string => createHash('sha256').update(JSON.stringify(value)).digest('hex').slice(0, 8);
export const sumOf = async (path: string): Promise<string> =>
  createHash('sha256')
    .update(await readFile(path))
    .digest('hex');

/** Where the teacher's pairs are kept. */
export const pairsFile = ({ pairs, pairLevels, seed }: Settings, teacherSum: string, { work }: Places): string =>
  join(work, `pairs-${short({ teacherSum, pairs, pairLevels, seed })}.safetensors`);

/** The teacher's pairs, made once. @returns their file */
export async function sharedPairs(settings: Settings, teacherSum: string, places: Places): Promise<string> {
  const { teacher, pairs, pairLevels, seed, threads } = settings;
  const path = pairsFile(settings, teacherSum, places);
  const words = ['--n', pairs, '--steps', pairLevels, '--seed', seed, '--threads', threads, '--out', path].map(String);
  if (!existsSync(path)) await onestep(['pairs', teacher, ...words]);
  return path;
}

/** The folder of a job's run; of other settings it is another one. */
const runFolder = ({ stage, id, settings }: Job, { work }: Places): string => join(work, stage, `${id}-${short(settings)}`);

/** Trains, goes on where it was stopped, measures, and writes the row; that of a failure too. Errors: it was stopped. */
export async function makeRow(
  job: Job,
  settings: Settings,
  places: Places,
  pairsOf: () => Promise<string>,
  tell: (line: string) => void,
): Promise<Row> {
  const row = await attempt(job, settings, places, pairsOf, tell).catch((error: unknown) => {
    if (error instanceof CommandFailed) return failed(job, settings, error.message);
    throw error;
  });
  await writeRow(places.results, row);
  return row;
}

const frame = ({ stage, id, loss, seed, settings: made }: Job, { samples, seed: first }: Settings) => ({
  stage,
  id,
  title: seed === first ? loss.name : `${loss.name}, seed ${seed}`,
  reference: loss.reference,
  settings: made,
  samples,
});

const failed = (job: Job, settings: Settings, failure: string): Row => ({
  ...frame(job, settings),
  evaluations: null,
  scores: null,
  few: null,
  training: null,
  failure,
});

async function attempt(
  job: Job,
  settings: Settings,
  places: Places,
  pairsOf: () => Promise<string>,
  tell: (line: string) => void,
): Promise<Row> {
  const folder = runFolder(job, places);
  await train(job, settings, folder, job.needsPairs ? await pairsOf() : null, tell);
  const { evaluations, scores } = await measure(folder, settings, settings.samples);
  await saveStrip(folder, settings, places, job);
  return { ...frame(job, settings), evaluations, scores, few: null, training: await trainingOf(job, folder), failure: null };
}

async function train(job: Job, { teacher }: Settings, folder: string, pairs: string | null, tell: (line: string) => void): Promise<void> {
  const config = `${folder}.json`;
  await mkdir(join(folder, '..'), { recursive: true });
  await writeAtomic(config, JSON.stringify({ method: job.loss.name, ...job.options, ...(pairs ? { pairs } : {}) }, null, 2));
  const words = ['distill', job.loss.name, '--config', config, '--teacher', teacher, '--out', folder];
  const resume = existsSync(join(folder, 'checkpoints'));
  await onestep([...words, ...(job.start ? ['--start', job.start] : []), ...(resume ? ['--resume'] : [])], (line) => {
    if (line['kind'] !== 'scores') return;
    const { frechet } = line['scores'] as { frechet: { heldOut: number; training: number } };
    tell(`step ${String(line['step'])}: ${frechet.heldOut.toFixed(3)} held-out, ${frechet.training.toFixed(3)} training`);
  });
}

async function trainingOf({ plan: { run } }: Job, folder: string): Promise<Training> {
  const log = await readLog(folder);
  const { weights } = await loadModel(folder);
  return {
    steps: run.steps,
    images: run.steps * run.batch,
    cpuSeconds: [...trainingSeconds(log).values()].at(-1) ?? 0,
    parameters: [...weights.values()].reduce((sum, { data }) => sum + data.length, 0),
    curve: curveOf(log, run.batch),
  };
}
