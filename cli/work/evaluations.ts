/** @file The evaluations that a run folder keeps: one JSON file each, in `evaluations/`. */
import { mkdir, readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import { sha256, writeAtomic } from '../../engine/io/atomic.ts';
import { errorCode, fileFailure } from '../../engine/io/failures.ts';
import { openSafetensors } from '../../engine/io/safetensors.ts';
import type { Flat } from '../config.ts';
import { MODEL_FILE } from './model.ts';

export const EVALUATIONS = 'evaluations';

/** Which weights were measured. */
export interface Weights {
  readonly sha256: string;
  /** Of the weights and their card: with other levels the same weights make other samples. */
  readonly model: string;
  readonly step: number | null;
}
/** What `onestep evaluate --json` prints, and how it came about. */
export interface StoredEvaluation {
  readonly kind: 'evaluation';
  /** With which it can be made again. */
  readonly command: string;
  /** That it took. */
  readonly seconds: number;
  /** When it ended, as ISO 8601. */
  readonly at: string;
  /** Null where they changed meanwhile. */
  readonly weights: Weights | null;
  readonly [name: string]: unknown;
}

const schema = z.looseObject({
  kind: z.literal('evaluation'),
  command: z.string(),
  seconds: z.number(),
  at: z.string(),
  weights: z.object({ sha256: z.string(), model: z.string(), step: z.number().nullable() }).nullable(),
});

/**
 * Keeps a finished evaluation in its run folder.
 * @param run what was evaluated; nothing is kept, and null comes back, where that is no run folder (a file, a checkpoint, a bundled name)
 * @param evaluation what `evaluate --json` prints
 * @param made the command line, see `commandLine`, and the seconds that it took
 * @returns the path of the file
 * @throws InputError where the folder cannot be written
 */
export async function storeEvaluation(
  run: string,
  evaluation: Flat,
  made: { readonly command: string; readonly seconds: number; readonly at?: Date },
): Promise<string | null> {
  if (!(await isRunFolder(run))) return null;
  const { command, seconds, at = new Date() } = made;
  const weights = await unchangedWeights(run, at.getTime() - 1000 * seconds);
  const stored: StoredEvaluation = { ...evaluation, kind: 'evaluation', command, seconds, at: at.toISOString(), weights };
  const content = `${JSON.stringify(stored, null, 2)}\n`;
  const folder = join(run, EVALUATIONS);
  await mkdir(folder, { recursive: true }).catch((error: unknown) => {
    throw fileFailure('write', folder, error);
  });
  // Sorted by time, and two of one second have two names.
  const path = join(folder, `${at.toISOString().replace(/[-:]|\.\d+/g, '')}-${sha256(content).slice(0, 8)}.json`);
  await writeAtomic(path, content);
  return path;
}

/** The evaluations of a run folder, the oldest first, and a line for each file that is none. None where there is no such folder. */
export async function readEvaluations(
  run: string,
): Promise<{ readonly evaluations: readonly StoredEvaluation[]; readonly problems: readonly string[] }> {
  const folder = join(run, EVALUATIONS);
  const names = await readdir(folder).catch((error: unknown) => {
    if (errorCode(error) === 'ENOENT') return [];
    throw fileFailure('read', folder, error);
  });
  const evaluations: StoredEvaluation[] = [];
  const problems: string[] = [];
  for (const name of names.filter((one) => one.endsWith('.json') && !one.startsWith('.')).sort()) {
    const path = join(folder, name);
    const found = await readFile(path, 'utf8').then(parseEvaluation, () => null);
    if (found) evaluations.push(found);
    else problems.push(`${path}: is no stored evaluation; remove it, or evaluate the run again`);
  }
  return { evaluations, problems };
}

function parseEvaluation(text: string): StoredEvaluation | null {
  try {
    const parsed = schema.safeParse(JSON.parse(text));
    return parsed.success ? (parsed.data as StoredEvaluation) : null;
  } catch {
    return null;
  }
}

/** A folder that a training writes into: not one of its checkpoints. */
export async function isRunFolder(path: string): Promise<boolean> {
  const isFile = (name: string): Promise<boolean> =>
    stat(join(path, name)).then(
      (facts) => facts.isFile(),
      () => false,
    );
  const [model, config, log, checkpoint] = await Promise.all([MODEL_FILE, 'config.json', 'log.jsonl', 'checkpoint.json'].map(isFile));
  return (model || config || log) === true && checkpoint !== true;
}

/** Checksum and step that the model of a run folder bears; null without one. */
export async function weightsOfRun(run: string): Promise<Weights | null> {
  const file = await openSafetensors(join(run, MODEL_FILE)).catch(() => null);
  if (!file) return null;
  try {
    const { sha256: checksum, onestep = '{}' } = file.metadata;
    const { step } = JSON.parse(onestep) as { step?: unknown };
    if (checksum === undefined) return null;
    return { sha256: checksum, model: sha256(`${checksum}\n${onestep}`), step: typeof step === 'number' ? step : null };
  } catch {
    return null;
  } finally {
    await file.close();
  }
}

/** Null where the model was written after `since`, in milliseconds: a training went on beside the evaluation. */
async function unchangedWeights(run: string, since: number): Promise<Weights | null> {
  const written = await stat(join(run, MODEL_FILE)).catch(() => null);
  return written && written.mtimeMs <= since ? weightsOfRun(run) : null;
}

/** A command as a shell takes it. @param words those after `onestep`, such as process.argv.slice(2) */
export const commandLine = (words: readonly string[]): string => ['onestep', ...words].map(quoted).join(' ');

const quoted = (word: string): string => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`);
