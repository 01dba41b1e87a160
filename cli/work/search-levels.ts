/**
 * @file Noise levels of a student's calls, searched for the smallest distance of its samples to real ones. The first level stays; those after it are
 * found one at a time, each by a ternary search given the ones before. Song et al. 2023, arXiv:2303.01469, section 3 and algorithm 1.
 */

import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { toBytes } from '../../data/bytes.ts';
import { InputError } from '../../engine/io/errors.ts';
import { acquireLock } from '../../engine/io/lock.ts';
import type { DeviceName } from '../../engine/run/devices.ts';
import type { Evaluation } from '../../eval/evaluation.ts';
import { inBatches } from './generator.ts';
import { BUNDLED, MODEL_FILE, type Model, saveModel } from './model.ts';
import { evenLabels } from './scores.ts';
import { solverOf } from './solver.ts';
import { type TrainedLevels, trainedLevels } from './trained-levels.ts';
import { openTrajectories, type Trajectories } from './trajectory.ts';

/** Levels and what they were measured to give. */
export interface Tried<Measured> {
  readonly levels: readonly number[];
  readonly measured: Measured;
}
export interface Search<Measured> {
  /** The level of the first call. */
  readonly first: number;
  /** At least 2. */
  readonly calls: number;
  /** Between which the others lie. */
  readonly low: number;
  readonly high: number;
  /** Thirds are taken of σ^(1/rho), in which the levels of the schedule are evenly spaced. */
  readonly rho: number;
  /** How often an interval is cut to two thirds of it, for each level. */
  readonly iterations: number;
  measure(levels: readonly number[]): Promise<Measured>;
  /** What is to be small. */
  distance(measured: Measured): number;
  onTry?(tried: Tried<Measured>): void;
}

/** The best levels of those tried. A ternary search finds the lowest point of a function that falls, then rises. */
export async function searchLevels<Measured>(search: Search<Measured>): Promise<Tried<Measured>> {
  let found = await nextLevel(search, [search.first]);
  for (let call = 2; call < search.calls; call++) found = await nextLevel(search, found.levels);
  return found;
}

async function nextLevel<Measured>(search: Search<Measured>, before: readonly number[]): Promise<Tried<Measured>> {
  const { low, high, rho, iterations, measure, distance, onTry } = search;
  let [left, right] = [low, Math.min(high, before.at(-1)!)].map((level) => level ** (1 / rho)) as [number, number];
  const all: Tried<Measured>[] = [];
  const at = async (place: number): Promise<number> => {
    const levels = [...before, Number((place ** rho).toPrecision(5))];
    const tried = { levels, measured: await measure(levels) };
    all.push(tried);
    onTry?.(tried);
    return distance(tried.measured);
  };
  for (let i = 0; i < iterations; i++) {
    const third = (right - left) / 3;
    if ((await at(left + third)) < (await at(right - third))) right -= third;
    else left += third;
  }
  return all.reduce((best, tried) => (distance(tried.measured) < distance(best.measured) ? tried : best));
}

export interface StudentSearch {
  readonly calls: number;
  /** [lowest, highest] level; empty for all at which the student was trained. */
  readonly range: readonly number[];
  readonly iterations: number;
  readonly samples: number;
  readonly seed: number;
  /** Samples that are drawn at once. */
  readonly batch: number;
  readonly threads: number;
  readonly device?: DeviceName;
  onTry?(tried: Tried<Distances>): void;
}
export interface FoundLevels {
  readonly before: Tried<Distances>;
  /** The levels from before where none better were found. */
  readonly after: Tried<Distances>;
}
/** Fréchet distances of samples to real images. */
export type Distances = Awaited<ReturnType<Evaluation['frechet']>>;
/** Measures image bytes [n, …sample]. */
export type Measure = (images: Uint8Array, n: number) => Promise<Distances>;

/** Distance to the training images: the held-out ones stay unseen, so that they still measure what was found. */
export const searched = ({ training }: Distances): number => training;

/**
 * Searches the levels of a student, with the same noise for all that are tried.
 * @throws InputError for a teacher, for a student that knows one level only, and for a range outside of what it was trained at
 */
export async function searchStudent(
  model: Model,
  { calls, range, iterations, onTry, ...drawing }: StudentSearch,
  distances: Measure,
): Promise<FoundLevels> {
  const levels = checkStudent(model);
  const limits = rangeOf(model, await trainedLevels(model), range);
  // Opened once: levels are fed, so that no candidate compiles anything.
  const trajectories = openTrajectories(model, solverOf(model, {}).sampler, drawing);
  try {
    const measure = async (at: readonly number[]): Promise<Distances> =>
      distances(await imagesAt(model, trajectories, at, drawing), drawing.samples);
    const before = { levels, measured: await measure(levels) };
    const { rho } = model.card.schedule;
    const search = { first: levels[0]!, calls, ...limits, rho, iterations, measure, distance: searched, ...(onTry ? { onTry } : {}) };
    const found = await searchLevels(search);
    const kept = levels.length === calls && searched(before.measured) <= searched(found.measured);
    return { before, after: kept ? before : found };
  } finally {
    await trajectories.close();
  }
}

/** Samples of the student called at these levels, those that a generator gives, as bytes. */
async function imagesAt(
  model: Model,
  trajectories: Trajectories,
  levels: readonly number[],
  { samples: n, seed, batch }: Pick<StudentSearch, 'samples' | 'seed' | 'batch'>,
): Promise<Uint8Array> {
  const labels = evenLabels(n, model.card.sample.classes);
  return toBytes(await inBatches({ labels, n, seed }, batch, model, async (piece) => (await trajectories.walk({ ...piece, levels })).x));
}

function checkStudent({ card, source }: Model): readonly number[] {
  if (card.levels) return card.levels;
  throw new InputError(`search-levels: ${source} is a teacher, which has no levels of its own; give a student`);
}

/** The range of the search. Errors: none is left, or none of it was trained. */
function rangeOf(
  { card, source }: Model,
  trained: TrainedLevels,
  given: readonly number[],
): { readonly low: number; readonly high: number } {
  if (trained.kind === 'single' && trained.levels.length < 2)
    throw new InputError(
      `search-levels: ${source} was trained by ${card.method} at level ${trained.levels[0]} alone, and is right nowhere else; give a student of several levels, or of a method that trains at all levels`,
    );
  const first = card.levels![0]!;
  const [lowest, highest] = trained.kind === 'single' ? [trained.levels.at(-1)!, trained.levels[0]!] : [trained.low, trained.high];
  const whole = { low: Math.max(lowest, card.schedule.sigmaMin), high: Math.min(highest, first) };
  const [low = whole.low, high = whole.high] = given;
  if (given.length !== 0 && given.length !== 2) throw new InputError(`range: [${given}] is not LOWEST,HIGHEST`);
  if (!(low < high) || low < whole.low * (1 - 1e-6) || high > whole.high * (1 + 1e-6))
    throw new InputError(
      `range: ${low},${high} does not lie within ${whole.low},${whole.high}, where ${source} was trained; give levels in it`,
    );
  return { low, high };
}

/**
 * Where levels can be written: the model file of a run folder, or a weights file.
 * @throws InputError for bundled models, and for checkpoints, whose files are sealed by a manifest
 */
export async function cardFile(spec: string): Promise<string> {
  if (Object.hasOwn(BUNDLED, spec)) throw new InputError(`write: ${spec} comes with the package; copy it and give the copy`);
  if (!(await stat(spec)).isDirectory()) return spec;
  const file = join(spec, MODEL_FILE);
  const there = await stat(file).catch(() => null);
  const sealed = await stat(join(spec, 'checkpoint.json')).catch(() => null);
  if (sealed || !there)
    throw new InputError(`write: ${spec} is a checkpoint, whose files are sealed; give its run folder or a weights file`);
  return file;
}

/** Writes a model with other levels in its place. Errors: its run is going on. */
export async function writeLevels(spec: string, { card, weights }: Model, levels: readonly number[]): Promise<void> {
  const file = await cardFile(spec);
  const release = file === spec ? null : await acquireLock(spec);
  try {
    await saveModel(file, { ...card, levels }, weights);
  } finally {
    await release?.();
  }
}
