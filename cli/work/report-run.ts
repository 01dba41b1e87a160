/** @file Reads a run folder for a report. What is broken in it becomes a line that says so; the rest is used. */
import { readFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { InputError } from '../../engine/io/errors.ts';
import { errorCode, fileFailure } from '../../engine/io/failures.ts';
import { type LogLine, readLog } from '../../engine/train/logs.ts';
import type { Row, Run } from '../../eval/report/comparison.ts';
import { type Flat, readConfig } from '../config.ts';
import { commandLine, isRunFolder, readEvaluations, type StoredEvaluation, type Weights, weightsOfRun } from './evaluations.ts';
import { curvesOf, lastStep } from './report-curves.ts';
import { isFlat, labelOf, metricsOf, referenceRows, rowOf, settingsOf } from './report-rows.ts';

export interface RunFolder {
  readonly path: string;
  /** Unique among the runs of a report. */
  readonly name: string;
  readonly config: Flat | null;
  readonly log: readonly LogLine[];
  readonly weights: Weights | null;
  /** The last of each kind of evaluation. */
  readonly evaluations: readonly (Flat | StoredEvaluation)[];
  readonly problems: readonly string[];
}

/**
 * Errors: the folder is no run.
 * @param log where it was read already
 */
export async function readRun(path: string, name = basename(resolve(path)), log?: readonly LogLine[]): Promise<RunFolder> {
  if (!(await isRunFolder(path)))
    throw new InputError(
      `${path}: is no run folder (no config.json, log.jsonl or model.safetensors in it); give what train or distill wrote`,
    );
  const problems: string[] = [];
  const attempted = async <T>(read: () => Promise<T>, otherwise: T): Promise<T> =>
    read().catch((error: unknown) => {
      if (!(error instanceof InputError)) throw error;
      problems.push(error.message);
      return otherwise;
    });
  const stored = await attempted(() => readEvaluations(path), { evaluations: [], problems: [] });
  const config = await attempted(() => configOf(path), null);
  const quick = await attempted(() => quickstartEvaluation(path, config !== null), null);
  return {
    path,
    name,
    config,
    log: log ?? (await attempted(() => readLog(path), [])),
    weights: await weightsOfRun(path),
    evaluations: latest([...(quick ? [quick] : []), ...stored.evaluations]),
    problems: [...problems, ...stored.problems],
  };
}

const exists = (error: unknown): null => {
  if (errorCode(error) === 'ENOENT') return null;
  throw error;
};

async function configOf(path: string): Promise<Flat | null> {
  const file = join(path, 'config.json');
  const there = await readFile(file)
    .catch(exists)
    .catch((error: unknown) => Promise.reject(fileFailure('read', file, error)));
  return there === null ? null : readConfig(path);
}

/** What `onestep quickstart` wrote, in the words of an evaluation; null where there is none. */
async function quickstartEvaluation(path: string, configured: boolean): Promise<Flat | null> {
  const file = join(path, 'metrics.json');
  const content = await readFile(file, 'utf8')
    .catch(exists)
    .catch((error: unknown) => Promise.reject(fileFailure('read', file, error)));
  if (content === null) return null;
  const metrics = parsed(content);
  if (!isFlat(metrics?.['student'])) throw new InputError(`${file}: does not hold the measurements of onestep quickstart; remove it`);
  const { student, teacher, samples, seed, floor, extractor } = metrics;
  const common = { n: samples, reference: 'digits', extractor: { name: 'digit classifier', sha256: extractor } };
  return {
    ...common,
    ...(student as Flat),
    seed,
    sampler: 'student',
    floor,
    ...(isFlat(teacher) ? { teacher: { ...common, ...teacher, name: 'teacher' } } : {}),
    command: commandLine(['quickstart', ...(configured ? ['--config', path] : [])]),
  };
}

function parsed(text: string): Flat | null {
  try {
    const value: unknown = JSON.parse(text);
    return isFlat(value) ? value : null;
  } catch {
    return null;
  }
}

/** Of evaluations with the same settings the last one. */
function latest(evaluations: readonly Flat[]): readonly Flat[] {
  const bySettings = new Map<string, Flat>();
  for (const one of evaluations) {
    const { imagesPerSecond: _, ...settings } = settingsOf(one);
    const key = JSON.stringify([Object.entries(settings).sort(), one['n'], one['reference'], one['extractorSha256'] ?? one['extractor']]);
    bySettings.delete(key);
    bySettings.set(key, one);
  }
  return [...bySettings.values()];
}

/** The rows of a run, named by what tells them apart. */
export function rowsOf({ name, evaluations }: RunFolder): readonly Row[] {
  const measured = evaluations.filter((one) => Object.keys(metricsOf(one)).length > 0);
  const labels = measured.map(labelOf);
  const rows = measured.map((one, i) => {
    const same = labels.filter((label) => label === labels[i]).length > 1;
    const n = Array.isArray(one['n']) ? (one['n'][0] as unknown) : one['n'];
    const label = [labels[i], same ? `${String(n)} samples, seed ${String(settingsOf(one)['seed'])}` : ''].filter(Boolean).join(', ');
    return rowOf(one, {
      name: measured.length > 1 && label ? `${name}, ${label}` : name,
      series: name,
      label: measured.length > 1 ? label : '',
    });
  });
  return [...rows, ...measured.flatMap(referenceRows)];
}

/** The section of a run. */
export function runOf({ path, name, config, log, weights, evaluations }: RunFolder): Run {
  const last = lastStep(log);
  const method = config?.['method'];
  const steps = config?.['steps'];
  const curves = curvesOf(log);
  return {
    name,
    path,
    notes: notesOf({ path, evaluations, weights }),
    command: typeof method === 'string' ? trainingCommand(path, config!) : null,
    settings: config ?? {},
    facts: {
      folder: path,
      ...(typeof method === 'string' ? { method } : {}),
      ...(last ? { steps: `${last.step}${typeof steps === 'number' ? ` of ${steps}` : ''}`, 'images seen': String(last.nimg) } : {}),
      ...(last ? { seconds: last.seconds.toFixed(0), 'steps skipped': String(last.skipped ?? 0) } : {}),
      ...(weights ? { 'SHA-256 of the weights': weights.sha256 } : {}),
    },
    ...curves,
  };
}

function notesOf({ path, evaluations, weights }: Pick<RunFolder, 'path' | 'evaluations' | 'weights'>): readonly string[] {
  if (evaluations.length === 0)
    return [`No evaluations are stored, so there are curves only; ${commandLine(['evaluate', path])} makes one.`];
  const old = evaluations.filter((one) => {
    const measured = one['weights'];
    return weights && isFlat(measured) && measured['model'] !== weights.model;
  });
  return old.length === 0
    ? []
    : [
        `${old.length} of ${evaluations.length} evaluations are of an earlier model of this run; ${commandLine(['evaluate', path])} measures the present one.`,
      ];
}

/** A run's own configuration says everything, defaults too. */
function trainingCommand(path: string, config: Flat): string {
  const again = `${path.replace(/\/+$/, '')}-again`;
  const words = config['command'] === 'distill' ? ['distill', String(config['method'])] : ['train'];
  return commandLine([...words, '--config', path, '--out', again]);
}
