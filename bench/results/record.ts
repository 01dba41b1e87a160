/** @file What is kept of a row of the results: one small JSON file, and a strip of samples beside it. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { Flat } from '../../cli/config.ts';
import { writeAtomic } from '../../engine/io/atomic.ts';
import { errorCode } from '../../engine/io/failures.ts';
import type { LogLine, StepLine } from '../../engine/train/logs.ts';

/** Where a row belongs: `reference` are the teacher and real images. */
export type Stage = 'reference' | 'sweep' | 'long';

export interface Measured {
  /** Fréchet distances to held-out and to training images. */
  readonly heldOut: number;
  readonly training: number;
  readonly precision: number | null;
  readonly recall: number | null;
  readonly classAccuracy: number | null;
}
/** A measurement during training. */
export interface CurvePoint {
  readonly images: number;
  readonly cpuSeconds: number;
  readonly heldOut: number;
  readonly training: number;
}
export interface Training {
  readonly steps: number;
  readonly images: number;
  /** Processor time of training alone, evaluations apart: other work on the machine hardly changes it. */
  readonly cpuSeconds: number;
  readonly parameters: number;
  /** On samples fewer than those of the row. */
  readonly curve: readonly CurvePoint[];
}
export interface Row {
  readonly stage: Stage;
  /** Unique in its stage; the name of its files. */
  readonly id: string;
  readonly title: string;
  /** arXiv id of a method. */
  readonly reference: string | null;
  /** What the row was made with: with other settings it is made again. */
  readonly settings: Flat;
  /** Network evaluations a sample; null for real images and failures. */
  readonly evaluations: number | null;
  readonly samples: number;
  readonly scores: Measured | null;
  /** The same on as few samples as the curves have, for the rows with which curves are compared. */
  readonly few: Measured | null;
  readonly training: Training | null;
  /** Why there are no scores. */
  readonly failure: string | null;
}

export const fileOf = (folder: string, { stage, id }: Pick<Row, 'stage' | 'id'>, ending: 'json' | 'png'): string =>
  join(folder, stage, `${id}.${ending}`);

/** Six digits of every measured number. */
export function writeRow(folder: string, { settings, ...row }: Row): Promise<void> {
  const measured = JSON.parse(JSON.stringify(row), (_, value) =>
    typeof value === 'number' ? Number(value.toPrecision(6)) : value,
  ) as object;
  return writeAtomic(fileOf(folder, row, 'json'), `${JSON.stringify({ ...measured, settings }, null, 2)}\n`);
}

/** Null where there is none. */
export async function readRow(folder: string, row: Pick<Row, 'stage' | 'id'>): Promise<Row | null> {
  const content = await readFile(fileOf(folder, row, 'json'), 'utf8').catch((error: unknown) => {
    if (errorCode(error) === 'ENOENT') return null;
    throw error;
  });
  return content === null ? null : (JSON.parse(content) as Row);
}

/** All rows of a stage by id, sorted by id. */
export async function readRows(folder: string, stage: Stage): Promise<Row[]> {
  const names = await readdir(join(folder, stage)).catch(() => []);
  const ids = names.filter((name) => name.endsWith('.json')).map((name) => name.slice(0, -'.json'.length));
  const rows = await Promise.all(ids.sort().map((id) => readRow(folder, { stage, id })));
  return rows.filter((row) => row !== null);
}

/** Whether a row was made with these settings and did not fail. An option that came after the row, at what it `usual`ly is, is how the row was made. */
export function isDone(row: Row | null, settings: Flat, usual: Flat = {}): boolean {
  if (row === null || row.failure !== null) return false;
  const later = Object.fromEntries(Object.entries(usual).filter(([name]) => name in settings && !(name in row.settings)));
  return isDeepStrictEqual({ ...plain(later), ...row.settings }, plain(settings));
}
const plain = (value: Flat): Flat => JSON.parse(JSON.stringify(value)) as Flat;

const isStep = (line: LogLine): line is StepLine => 'seconds' in line;

/**
 * The logged steps that an evaluation was made beside: those after its step, up to the first that was logged after it. Of evaluations in line that is the next.
 */
function besideEvaluations(log: readonly LogLine[]): ReadonlySet<number> {
  const disturbed = new Set<number>();
  for (const [at, line] of log.entries()) {
    if (isStep(line)) continue;
    const next = log.findIndex((other, i) => i > at && isStep(other));
    const until = next === -1 ? log.length : next + 1;
    for (const other of log.slice(0, until)) if (isStep(other) && other.step > line.step) disturbed.add(other.step);
  }
  return disturbed;
}

/**
 * Core-seconds of training after each logged step, without evaluations: an interval between two lines of the log in which an evaluation lies counts
 * as long as the median of the others.
 */
export function trainingSeconds(log: readonly LogLine[]): ReadonlyMap<number, number> {
  const steps = log.filter(isStep);
  const beside = besideEvaluations(log);
  const paces = steps.map((line, i) => {
    const before = steps[i - 1];
    return {
      step: line.step,
      steps: line.step - (before?.step ?? 0),
      seconds: line.cpuSeconds - (before?.cpuSeconds ?? 0),
      disturbed: beside.has(line.step),
    };
  });
  const plain = paces.filter(({ disturbed }) => !disturbed).map(({ steps: n, seconds }) => seconds / n);
  const median = plain.toSorted((a, b) => a - b)[plain.length >> 1] ?? 0;
  let sum = 0;
  return new Map(
    paces.map(({ step, steps: n, seconds, disturbed }) => {
      sum += disturbed ? n * median : seconds;
      return [step, sum];
    }),
  );
}

/** The measurements that a training made on its way, images of `batch` a step. */
export function curveOf(log: readonly LogLine[], batch: number): CurvePoint[] {
  const seconds = trainingSeconds(log);
  return log.flatMap((line) => {
    if (isStep(line)) return [];
    const { frechetHeldOut: heldOut, frechetTraining: training } = line.scores;
    if (typeof heldOut !== 'number' || typeof training !== 'number') return [];
    return [{ images: line.step * batch, cpuSeconds: seconds.get(line.step) ?? 0, heldOut, training }];
  });
}
