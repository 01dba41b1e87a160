/** @file What a checkpoint tells of itself: checkpoint.json with counters, the names of its files and the caller's own facts. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import { InputError } from '../io/errors.ts';
import { fileFailure } from '../io/failures.ts';

export const FACTS_NAME = 'checkpoint.json';
export const FORMAT = 1;

const count = z.int().min(0);
/** Names, never paths: a checkpoint may come from elsewhere. */
const file = z.string().regex(/^[A-Za-z0-9_-][A-Za-z0-9._-]*$/);
const playerSchema = z.object({
  weights: file,
  averages: z.record(z.string(), file),
  slots: z.array(z.string()),
  order: z.array(z.string()),
});
const factsSchema = z.object({
  format: z.literal(FORMAT),
  step: count,
  nimg: count,
  skipped: count,
  updates: z.record(z.string(), count),
  scales: z.record(z.string(), z.object({ scale: z.number().min(1), good: count })).optional(),
  players: z.record(z.string(), playerSchema),
  meta: z.record(z.string(), z.unknown()),
});

/** Files of a player's weights and, by name, of its averages; slots of its optimizer; what is trained, in the order of the vector. */
export type PlayerFiles = Readonly<z.output<typeof playerSchema>>;
/** `meta` is the caller's: method, network, options, sample type, seed, … */
export type CheckpointFacts = Readonly<z.output<typeof factsSchema>>;

function parse(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new InputError(`${path}: not JSON; the checkpoint is damaged`);
  }
}

/**
 * Counters and meta of the checkpoint in `folder`, without the weights.
 * @throws InputError where the file is missing, damaged or of a newer version
 */
export async function readFacts(folder: string): Promise<CheckpointFacts> {
  const path = join(folder, FACTS_NAME);
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    throw fileFailure('read', path, error);
  });
  const value = parse(text, path);
  const format = (value as { readonly format?: unknown } | null)?.format;
  if (typeof format === 'number' && format > FORMAT)
    throw new InputError(`${path}: format ${format} is newer than this version reads (${FORMAT}); update onestep`);
  const result = factsSchema.safeParse(value);
  if (result.success) return result.data;
  const { path: at, message } = result.error.issues[0]!;
  throw new InputError(`${path}: ${at.join('.') || 'the file'}: ${message}; the checkpoint is damaged`);
}
