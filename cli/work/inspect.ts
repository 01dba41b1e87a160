/** @file What a teacher and a student take a sample for at each of their levels, from the same noise: a sheet of pictures, and the same in numbers. */

import { toBytes } from '../../data/bytes.ts';
import { grid } from '../../data/image.ts';
import { InputError } from '../../engine/io/errors.ts';
import type { DeviceName } from '../../engine/run/devices.ts';
import { captioned, captionedShape, levelText } from './captions.ts';
import { openLatents } from './latents.ts';
import type { Model } from './model.ts';
import { solverOf } from './solver.ts';
import type { TeacherSampling } from './teacher-sampling.ts';
import { evaluationsOf, openTrajectories } from './trajectory.ts';

export interface Inspected extends TeacherSampling {
  readonly role: 'teacher' | 'student';
  readonly model: Model;
}
/** One sample of one model on its way. */
export interface Way {
  readonly role: Inspected['role'];
  readonly source: string;
  readonly sampler: string;
  readonly nfe: number;
  /** Null without classes. */
  readonly label: number | null;
  readonly levels: readonly number[];
  /** Of each level, the estimate of the clean sample [...sample]. */
  readonly estimates: readonly Float32Array[];
}
interface Noise {
  readonly labels: Int32Array | null;
  readonly n: number;
  readonly seed: number;
  readonly threads: number;
  readonly device?: DeviceName;
}

/** A student as it is called. Errors: it is none, or of other samples than the teacher. */
export function studentOf(model: Model, teacher: Model): Inspected {
  const { card, source } = model;
  if (!card.levels) throw new InputError(`inspect: ${source} is a teacher; give one teacher, and its student after it`);
  const [own, other] = [card.sample, teacher.card.sample];
  if (own.shape.join() !== other.shape.join() || own.classes !== other.classes)
    throw new InputError(
      `inspect: the student ${source} makes [${own.shape}] with ${own.classes} classes, the teacher ${teacher.source} [${other.shape}] with ${other.classes}; give models of the same samples`,
    );
  return { role: 'student', model, ...solverOf(model, {}), guidance: 1, clip: 0 };
}

/** The ways of n samples, those of one sample together. All models start from the same noise, each at its own first level. */
export async function waysOf(models: readonly Inspected[], noise: Noise): Promise<readonly Way[]> {
  const ways: (readonly Way[])[] = [];
  for (const inspected of models) ways.push(await walksOf(inspected, noise));
  return Array.from({ length: noise.n }, (_, i) => ways.map((own) => own[i]!)).flat();
}

async function walksOf(
  { role, model, sampler, levels, guidance, clip }: Inspected,
  { labels, n, seed, threads, device }: Noise,
): Promise<readonly Way[]> {
  const compute = { threads, ...(device ? { device } : {}) };
  const trajectories = openTrajectories(model, sampler, { guidance, clip, ...compute });
  const latents = model.card.image ? openLatents(model, compute) : null;
  try {
    const walked = await trajectories.walk({ levels, labels, seed, first: 0, count: n });
    const estimates: Float32Array[] = [];
    for (const estimate of walked.estimates) estimates.push(latents ? await latents.decode(estimate) : estimate);
    const facts = { role, source: model.source, sampler: sampler.name, nfe: evaluationsOf(sampler, levels, 0, guidance), levels };
    const size = estimates[0]!.length / n;
    return Array.from({ length: n }, (_, i) => ({
      ...facts,
      label: labels ? labels[i]! : null,
      estimates: estimates.map((all) => all.subarray(i * size, (i + 1) * size)),
    }));
  } finally {
    await trajectories.close();
    await latents?.close();
  }
}

/** A level, and the estimate there in numbers. */
export interface StepFacts {
  readonly sigma: number;
  readonly mean: number;
  readonly deviation: number;
  /** Root mean square of its difference from the last estimate, which is the sample. */
  readonly fromLast: number;
}
export const factsOf = ({ levels, estimates }: Way): readonly StepFacts[] =>
  levels.map((sigma, k) => {
    const own = estimates[k]!;
    const [mean, squares] = [meanOf(own, (v) => v), meanOf(own, (v) => v * v)];
    const apart = meanOf(own, (v, i) => (v - estimates.at(-1)![i]!) ** 2);
    return { sigma, mean, deviation: Math.sqrt(Math.max(0, squares - mean ** 2)), fromLast: Math.sqrt(apart) };
  });

const meanOf = (values: Float32Array, of: (value: number, i: number) => number): number =>
  values.reduce((sum, v, i) => sum + of(v, i), 0) / values.length;

/** Width in pixels to which images are enlarged, at least once. */
const SHOWN_WIDTH = 56;

/** A row for each way, its levels from left to right, each written under its picture. */
export async function sheetOf(ways: readonly Way[], shape: readonly number[]): Promise<Uint8Array> {
  const [channels, height, width] = shape as readonly [number, number, number];
  const columns = Math.max(...ways.map(({ levels }) => levels.length));
  const to = captionedShape(
    [channels, height, width],
    ways.flatMap(({ levels }) => levels.map(levelText)),
  );
  const cells = ways.flatMap(({ levels, estimates }) =>
    Array.from({ length: columns }, (_, k) =>
      captioned(
        estimates[k] ? toBytes(estimates[k]) : null,
        [channels, height, width],
        levels[k] === undefined ? '' : levelText(levels[k]),
        to,
      ),
    ),
  );
  const size = to[0] * to[1] * to[2];
  const sheet = new Uint8Array(cells.length * size);
  cells.forEach((cell, i) => {
    sheet.set(cell, i * size);
  });
  const labels = ways.map(({ role, label }) => (label === null ? role : `${role} ${label}`));
  return grid(sheet, { shape: [cells.length, ...to], columns, scale: Math.max(1, Math.floor(SHOWN_WIDTH / width)), labels });
}
