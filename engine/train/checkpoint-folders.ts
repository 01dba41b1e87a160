/** @file Where checkpoints lie: run/checkpoints/step-0001234. Finding, replacing and removing whole folders; hidden names are what an interrupted run left. */
import { randomBytes } from 'node:crypto';
import { readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { flushFolder } from '../io/atomic.ts';
import { MANIFEST_NAME, verifyManifest } from '../io/checksums.ts';
import { InputError } from '../io/errors.ts';
import { errorCode, fileFailure } from '../io/failures.ts';

export interface CheckpointPlace {
  readonly path: string;
  readonly step: number;
}

export const checkpointsFolder = (run: string): string => join(run, 'checkpoints');
export const checkpointName = (step: number): string => `step-${String(step).padStart(7, '0')}`;
/** Where the checkpoint of a step lies. */
export const checkpointPath = (run: string, step: number): string => join(checkpointsFolder(run), checkpointName(step));
/** A hidden name for a folder that is being written or removed. */
export const temporaryPath = (run: string, step: number): string =>
  join(checkpointsFolder(run), `.${checkpointName(step)}-${process.pid}-${randomBytes(4).toString('hex')}.tmp`);
const REPLACED = '.replaced';

async function namesIn(run: string): Promise<string[]> {
  const folder = checkpointsFolder(run);
  return readdir(folder).catch((error: unknown) => {
    if (errorCode(error) === 'ENOENT') return [];
    throw fileFailure('read', folder, error);
  });
}

/** The checkpoints of a run by step, oldest first; none where there is no such folder. Nothing is checked. */
export async function listCheckpoints(run: string): Promise<CheckpointPlace[]> {
  const names = (await namesIn(run)).filter((name) => /^step-\d{7,}$/.test(name));
  return names.map((name) => ({ path: join(checkpointsFolder(run), name), step: Number(name.slice(5)) })).sort((a, b) => a.step - b.step);
}

/** The newest checkpoint that is intact, with those that were passed over for being damaged, and why. */
export interface LatestCheckpoint extends CheckpointPlace {
  readonly skipped: readonly { readonly path: string; readonly reason: string }[];
}

/** @returns undefined where the run has no checkpoint @throws InputError where it has some, but every one is damaged */
export async function latestCheckpoint(run: string): Promise<LatestCheckpoint | undefined> {
  const skipped: { path: string; reason: string }[] = [];
  for (const { path, step } of (await listCheckpoints(run)).toReversed()) {
    try {
      await verifyManifest(path);
      return { path, step, skipped };
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      skipped.push({ path, reason: error.message });
    }
  }
  if (skipped.length === 0) return undefined;
  const all = skipped.length === 1 ? 'the only checkpoint is' : `all ${skipped.length} checkpoints are`;
  throw new InputError(`${checkpointsFolder(run)}: ${all} damaged (${skipped[0]!.reason}); remove the folder to start again`);
}

/** Puts a finished folder in the place of its step. What was there (the run came this way before) goes only then. */
export async function putInPlace(temporary: string, run: string, step: number): Promise<string> {
  const folder = checkpointsFolder(run);
  const path = checkpointPath(run, step);
  const old = join(folder, `.${checkpointName(step)}${REPLACED}`);
  const replaces = await rename(path, old).then(
    () => true,
    (error: unknown) => {
      if (errorCode(error) === 'ENOENT') return false;
      throw error;
    },
  );
  await rename(temporary, path);
  await flushFolder(folder);
  if (replaces) await rm(old, { recursive: true, force: true });
  return path;
}

/**
 * Removes what interrupted saves and removals left. Only for the process that holds the run's lock: a save under way would lose its files.
 * @returns the names of what was found
 */
export async function removeDebris(run: string): Promise<string[]> {
  const folder = checkpointsFolder(run);
  const names = await namesIn(run);
  const debris = names.filter((name) => /^\.step-\d{7,}(-.*\.tmp|\.replaced)$/.test(name));
  for (const name of debris) {
    const original = name.endsWith(REPLACED) ? name.slice(1, -REPLACED.length) : undefined;
    // Interrupted between the two renames of a replacement: the old one counts.
    if (original && !names.includes(original)) await rename(join(folder, name), join(folder, original));
    else await rm(join(folder, name), { recursive: true, force: true });
  }
  return debris;
}

const writtenAt = async ({ path }: CheckpointPlace): Promise<number> =>
  stat(join(path, MANIFEST_NAME)).then(
    (found) => found.mtimeMs,
    () => 0,
  );

/**
 * Removes all checkpoints but `keep`: the one written last, which need not be the one of the highest step where a run went on from before a
 * damaged one, and the others of the highest steps. Those of the steps to `spare` stay beside them.
 * @returns what was removed
 */
export async function keepLast(run: string, keep: number, spare: readonly number[] = []): Promise<CheckpointPlace[]> {
  if (!Number.isInteger(keep) || keep < 1) throw new RangeError(`checkpoints: cannot keep ${keep}; keep at least 1`);
  const dated = await Promise.all((await listCheckpoints(run)).map(async (place) => ({ place, at: await writtenAt(place) })));
  const last = dated.toSorted((a, b) => b.at - a.at || b.place.step - a.place.step)[0]?.place;
  const others = dated.flatMap(({ place }) => (place === last ? [] : [place]));
  const removed = others.slice(0, Math.max(0, others.length - (keep - 1))).filter(({ step }) => !spare.includes(step));
  for (const { path, step } of removed) {
    const aside = temporaryPath(run, step);
    await rename(path, aside); // half removed it must not look like a checkpoint
    await rm(aside, { recursive: true, force: true });
  }
  return removed;
}
