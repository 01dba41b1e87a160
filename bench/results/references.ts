/** @file The rows with which students are compared: the teacher at several numbers of evaluations, and real images. */
import type { Flat } from '../../cli/config.ts';
import type { Dataset, Split } from '../../data/dataset.ts';
import { loadDataset } from '../../data/registry.ts';
import { type Evaluation, openEvaluation } from '../../eval/evaluation.ts';
import { CommandFailed } from './command.ts';
import { measure, measureReal, saveStrip, writeStrip } from './measuring.ts';
import { isDone, type Measured, type Row, readRow, writeRow } from './record.ts';
import type { Settings } from './settings.ts';
import type { Places } from './training.ts';

/** Heun takes two evaluations a level, but one at the last: an odd number of them. Even ones are Euler's. */
export const solverOf = (evaluations: number): { readonly sampler: 'euler' | 'heun'; readonly steps: number } =>
  evaluations % 2 === 1 && evaluations > 1 ? { sampler: 'heun', steps: (evaluations + 1) / 2 } : { sampler: 'euler', steps: evaluations };

interface Planned {
  readonly id: string;
  readonly settings: Flat;
  make(): Promise<Row>;
}

const blank = { stage: 'reference', reference: null, training: null, failure: null } as const;

function teacherRow(evaluations: number, settings: Settings, teacherSum: string, places: Places): Planned {
  const { sampler, steps } = solverOf(evaluations);
  const id = `teacher-${String(evaluations).padStart(2, '0')}`;
  const { seed, samples, pointSamples } = settings;
  const best = evaluations === Math.max(...settings.evaluations);
  const made = { teacher: teacherSum, sampler, steps, seed, samples, ...(best ? { pointSamples } : {}) };
  const words = ['--sampler', sampler, '--steps', String(steps)];
  return {
    id,
    settings: made,
    async make() {
      const { evaluations: counted, scores } = await measure(settings.teacher, settings, samples, words);
      const few = best ? (await measure(settings.teacher, settings, pointSamples, words)).scores : null;
      await saveStrip(settings.teacher, settings, places, { stage: 'reference', id }, words);
      return { ...blank, id, title: `teacher, ${sampler}`, settings: made, evaluations: counted, samples, scores, few };
    },
  };
}

function realRow(settings: Settings, places: Places): Planned {
  const { data, samples, pointSamples } = settings;
  const made = { data, samples, pointSamples };
  const place = { stage: 'reference', id: 'real' } as const;
  return {
    id: place.id,
    settings: made,
    async make() {
      const split = await loadDataset(data);
      const evaluation = await openEvaluation(data, { neighbours: 0 });
      const [scores, few] = [await floorOf(evaluation, split, samples), await floorOf(evaluation, split, pointSamples)];
      await evaluation.close();
      await writeStrip(places, place, ...firstOfEach(split.heldOut));
      return { ...blank, ...place, title: 'real images (floor)', settings: made, evaluations: null, samples, scores, few };
    },
  };
}

/** The floor: to the training images the distance of held-out ones, to the held-out images that of training ones. */
async function floorOf(evaluation: Evaluation, { train, heldOut }: Split, n: number): Promise<Measured> {
  const [known, fresh] = [await measureReal(evaluation, train, n), await measureReal(evaluation, heldOut, n)];
  const { precision, recall, classAccuracy } = fresh;
  return { heldOut: known.frechet.heldOut, training: fresh.frechet.training, precision, recall, classAccuracy };
}

/** The first image of each class, their number and their side. */
function firstOfEach({ images, labels, classes, width: size }: Dataset): [Uint8Array, number, number] {
  const pixels = size * size;
  const first = (classes ?? ['']).map((_, wanted) => Math.max(0, labels?.indexOf(wanted) ?? 0));
  return [Uint8Array.from(first.flatMap((i) => Array.from(images.subarray(i * pixels, (i + 1) * pixels)))), first.length, size];
}

/** Rows that are not there yet, or were made with other settings. */
export async function missingReferences(settings: Settings, teacherSum: string, places: Places): Promise<Planned[]> {
  const all = [realRow(settings, places), ...settings.evaluations.map((count) => teacherRow(count, settings, teacherSum, places))];
  const there = await Promise.all(
    all.map(async ({ id, settings: made }) => isDone(await readRow(places.results, { stage: 'reference', id }), made)),
  );
  return all.filter((_, i) => !there[i]);
}

/** Makes one of them. Returns the reason where that failed. */
export async function makeReference(planned: Planned, { results }: Places): Promise<string | null> {
  try {
    await writeRow(results, await planned.make());
    return null;
  } catch (error) {
    if (error instanceof CommandFailed) return error.message;
    throw error;
  }
}
