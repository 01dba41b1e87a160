/** @file `onestep evaluate` of any two sets: which command lines mean it, and what it prints. */
import { existsSync, statSync } from 'node:fs';
import { InputError } from '../../engine/io/errors.ts';
import { classifiedData } from '../../eval/features/shipped.ts';
import { METRICS } from '../../eval/metrics/index.ts';
import type { Flat } from '../config.ts';
import { flatFacts, valuesOf } from '../config.ts';
import { clearProgress, notice, say } from '../output.ts';
import { interruptedFeatures, showExtraction, showPace } from '../show.ts';
import { compare } from './comparing.ts';
import { comparisonJson, comparisonLines } from './comparison-report.ts';
import { evaluationOptions } from './evaluating.ts';
import { metricGroup } from './measuring.ts';
import { featureGroup, measureGroup } from './side-options.ts';
import { isModel } from './sides.ts';
import { drawing as drawingGroup } from './source.ts';

/** `--clip` is the folder of a CLIP, or a number: the bound of what a teacher says at every step. @returns the options of drawing, and all with the folder */
export function clipOf(given: Flat): { readonly flat: Flat; readonly sets: Flat } {
  const { clip, ...rest } = given;
  if (clip === undefined) return { flat: given, sets: given };
  const number = Number(clip);
  if (String(clip).trim() !== '' && Number.isFinite(number)) return { flat: { ...rest, clip: number }, sets: rest };
  return { flat: rest, sets: given };
}

/** Whether sets are compared by metrics that are named or by features that are chosen: everything but samples of digits and Fashion-MNIST in the usual way. */
export async function isOfSets(generated: string, given: Flat): Promise<boolean> {
  const { sets } = clipOf(given);
  const own = [...flatFacts([measureGroup, featureGroup]), ...flatFacts(METRICS.map(metricGroup))].map(({ name }) => name);
  const shared = ['seed', 'neighbours', 'n'];
  if (own.some((name) => sets[name] !== undefined && !shared.includes(name))) return true;
  const { reference } = given;
  if (reference !== undefined && reference !== 'auto' && !classifiedData.some((data) => data === reference)) return true;
  return !(existsSync(generated) && statSync(generated).isDirectory()) && existsSync(generated) && !(await isModel(generated));
}

/** Stores a report where a run folder was measured. */
export type Keep = (evaluation: Flat) => Promise<unknown>;

export async function compareSets(generated: string, given: Flat, words: Flat, keep: Keep): Promise<void> {
  if (words['save'] !== undefined)
    throw new InputError('save: keeps features of digits and Fashion-MNIST; those of any images are written by onestep features');
  const json = words['json'] === true;
  const { flat: drawing, sets: flat } = clipOf(given);
  const reference = given['reference'] === undefined || given['reference'] === 'auto' ? null : String(given['reference']);
  const { n } = valuesOf({ where: 'evaluate', schema: evaluationOptions }, { n: given['n'] ?? 2 });
  const comparison = await compare({
    generated,
    reference,
    flat,
    drawing,
    n: given['n'] === undefined ? null : n,
    seed: valuesOf(drawingGroup, drawing).seed,
    signal: interruptedFeatures(),
    ...(json ? {} : { onPace: showPace(), onProgress: showExtraction() }),
  });
  clearProgress();
  const report = comparisonJson(comparison);
  await keep(report);
  if (json) return say(JSON.stringify(report));
  for (const line of comparisonLines(comparison, generated)) say(line);
  for (const note of comparison.notes) notice(`note: ${note}`);
}
