/** @file The best checkpoint of a run, by the distance of its samples. The log says it, so that a run that is continued knows it too. */
import { listCheckpoints } from '../../engine/train/checkpoint.ts';
import { readLog } from '../../engine/train/logs.ts';

export interface Best {
  readonly step: number;
  /** Fréchet distance to the training images: the held-out ones have no say in what is kept. */
  readonly distance: number;
}
/** The entry of the log that is compared. */
export const COMPARED = 'frechetTraining';

/** The evaluated checkpoint with the smallest distance, of those that a run folder still holds; of equal ones the first. Null where none was evaluated. */
export async function bestOf(folder: string): Promise<Best | null> {
  const kept = new Set((await listCheckpoints(folder)).map(({ step }) => step));
  const evaluated = (await readLog(folder)).flatMap((line): Best[] => {
    const distance = 'scores' in line ? line.scores[COMPARED] : null;
    return typeof distance === 'number' && kept.has(line.step) ? [{ step: line.step, distance }] : [];
  });
  return evaluated.reduce<Best | null>((best, one) => (best === null || one.distance < best.distance ? one : best), null);
}
