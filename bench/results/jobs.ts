/** @file The trainings of a stage: which method, with which options, from which weights, and how long they may take. */
import type { Flat } from '../../cli/config.ts';
import type { ModelCard } from '../../cli/work/card.ts';
import { type Plan, planOf } from '../../cli/work/plan.ts';
import { InputError } from '../../engine/io/errors.ts';
import { didYouMean } from '../../engine/io/nearest.ts';
import { type Loss, learnsFromPairs } from '../../engine/train/loss.ts';
import { isDone, type Row } from './record.ts';
import type { Settings } from './settings.ts';

export interface Job {
  readonly stage: 'sweep' | 'long';
  readonly id: string;
  readonly loss: Loss;
  readonly seed: number;
  /** Steps and batch are in it. */
  readonly plan: Plan;
  /** As a configuration file of `onestep distill` holds them, without pairs. */
  readonly options: Flat;
  /** What the trained players start from; empty: the teacher. */
  readonly start: string;
  readonly needsPairs: boolean;
  /** What the row is made with. */
  readonly settings: Flat;
  /** What options are where nothing is said of them. */
  readonly usual: Flat;
}
/** What all trainings start from: SHA-256 of the files, by the names of the settings, and what the teacher says of itself. */
export interface Origins extends Readonly<Record<'teacher' | 'start', string>> {
  readonly card: ModelCard | null;
}

const DEFAULT_BATCH = 64;
/** Pictures during a training would cost time and are not kept. Every step is logged, so that its seconds are known where it is evaluated. */
const QUIET: Flat = { sampleEvery: 0, keep: 1, logEvery: 1 };

interface Wanted {
  readonly stage: Job['stage'];
  readonly id: string;
  readonly seed: number;
  readonly images: number;
  readonly start: string;
}

/** Errors: settings that the method does not take. */
export function jobOf(loss: Loss, settings: Settings, origins: Origins, { stage, id, seed, images, start }: Wanted): Job {
  const own = { ...settings.options, ...loss.recommended, ...settings.methods[loss.name], ...(stage === 'long' ? settings.long : {}) };
  const batch = Number(own['batch'] ?? DEFAULT_BATCH);
  const steps = Math.max(1, Math.round(images / batch));
  const evaluateEvery = Math.max(1, Math.ceil(steps / settings.points));
  const { data, threads, pointSamples: evaluateSamples } = settings;
  const rest = { data, threads, seed, steps, batch, evaluateEvery, evaluateSamples, checkpointEvery: evaluateEvery };
  const options = { ...QUIET, ...own, ...rest };
  const plan = planOf(loss, null, options, origins.card);
  const needsPairs = learnsFromPairs(loss, plan.options);
  const { samples, pairs, pairLevels } = settings;
  return {
    stage,
    id,
    loss,
    seed,
    plan,
    options,
    start,
    needsPairs,
    usual: planOf(loss, null, {}, origins.card).flat,
    settings: {
      method: loss.name,
      ...plan.flat,
      samples,
      teacher: origins.teacher,
      ...(start ? { start: origins.start } : {}),
      ...(needsPairs ? { pairs: `${pairs} of ${pairLevels} levels` } : {}),
    },
  };
}

const distils = ({ name, players }: Loss): boolean => name !== 'edm' && ('student' in players || 'teacher' in players);

/** Of all methods those that distil, or those that are named. Errors: a name that no method has. */
export function chosenMethods(methods: readonly Loss[], only: readonly string[], settings: Settings): Loss[] {
  const all = methods.filter((loss) => distils(loss) || 'student1' in loss.players);
  const names = all.map(({ name }) => name);
  for (const name of [...only, ...Object.keys(settings.methods)])
    if (!names.includes(name))
      throw new InputError(`results: there is no method ${name}${didYouMean(name, names)}; there are ${names.join(', ')}`);
  return only.length > 0 ? all.filter(({ name }) => only.includes(name)) : all;
}

/** Every method once, all with the same student and as many images. */
export const sweepJobs = (methods: readonly Loss[], settings: Settings, origins: Origins): Job[] =>
  methods.map((loss) => {
    const { seed, images, start } = settings;
    return jobOf(loss, settings, origins, { stage: 'sweep', id: loss.name, seed, images, start });
  });

/** The best of the given rows with the teacher's own size. */
export function longJobs(methods: readonly Loss[], sweep: readonly Row[], settings: Settings, origins: Origins): Job[] {
  const known = bestOf(sweep, settings.best).flatMap(({ id }) => methods.find(({ name }) => name === id) ?? []);
  return known.map((loss) => longJob(loss, settings, origins, settings.seed));
}

export function longJob(loss: Loss, settings: Settings, origins: Origins, seed: number): Job {
  const id = seed === settings.seed ? loss.name : `${loss.name}-seed-${seed}`;
  return jobOf(loss, settings, origins, { stage: 'long', id, seed, images: settings.longImages, start: '' });
}

/** Rows with scores, the one nearest to the held-out images first. */
export const bestOf = (rows: readonly Row[], count: number = rows.length): Row[] =>
  rows
    .filter(({ scores }) => scores !== null && Number.isFinite(scores.heldOut))
    .sort((a, b) => a.scores!.heldOut - b.scores!.heldOut)
    .slice(0, count);

/** Seconds around a training: start, evaluations, drawing and measuring. */
const AROUND = 75;

/** Seconds that a job will take: none if its row is there, as long as an earlier row of other images says, or as the settings expect. */
export function estimate(job: Job, row: Row | null, settings: Settings): number {
  if (isDone(row, job.settings, job.usual)) return 0;
  const images = job.plan.run.steps * job.plan.run.batch;
  const pace = row?.training
    ? (row.training.images / row.training.cpuSeconds) * settings.threads
    : job.stage === 'long'
      ? settings.longImagesPerSecond
      : settings.imagesPerSecond;
  return images / pace + AROUND;
}
