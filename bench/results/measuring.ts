/** @file Measures models and real images, and keeps a strip of a model's samples: one of each class, from the same noise for all models. */
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { referenceFor } from '../../cli/work/evaluating.ts';
import { toBytes } from '../../data/bytes.ts';
import type { Dataset } from '../../data/dataset.ts';
import { encodePng } from '../../data/image.ts';
import { writeAtomic } from '../../engine/io/atomic.ts';
import { InputError } from '../../engine/io/errors.ts';
import { readSafetensors, toFloat32 } from '../../engine/io/safetensors.ts';
import type { Evaluation, Scores } from '../../eval/evaluation.ts';
import { onestep } from './command.ts';
import { fileOf, type Measured, type Row } from './record.ts';
import type { Settings } from './settings.ts';
import type { Places } from './training.ts';

/** Scores of n samples of a model, with extra words such as a sampler. */
export async function measure(
  model: string,
  { seed, threads }: Settings,
  n: number,
  words: readonly string[] = [],
): Promise<{ readonly evaluations: number; readonly scores: Measured }> {
  const common = ['--n', n, '--seed', seed, '--threads', threads, '--neighbours', 0].map(String);
  const found = await onestep(['evaluate', model, ...common, ...words]);
  const { frechetHeldOut, frechetTraining, precision, recall, classAccuracy, nfe } = found as Record<string, number>;
  return {
    evaluations: nfe!,
    scores: { heldOut: frechetHeldOut!, training: frechetTraining!, precision: precision!, recall: recall!, classAccuracy: classAccuracy! },
  };
}

/** Scores of the first real images, as if they were samples. */
export function measureReal(evaluation: Evaluation, { size, images, labels }: Dataset, n: number): Promise<Scores> {
  if (n > size) throw new InputError(`results: ${n} real images of ${size} are to be measured; take fewer samples`);
  return evaluation.evaluate({ images: images.subarray(0, (n * images.length) / size), n, labels: labels?.subarray(0, n) ?? null });
}

/** One image of each class in a row, as PNG. @param images [classes, size, size] bytes */
export async function writeStrip(
  places: Places,
  row: Pick<Row, 'stage' | 'id'>,
  images: Uint8Array,
  classes: number,
  size: number,
): Promise<void> {
  const wide = new Uint8Array(images.length);
  for (let y = 0; y < size; y++)
    for (let c = 0; c < classes; c++) wide.set(images.subarray((c * size + y) * size, (c * size + y + 1) * size), (y * classes + c) * size);
  const path = fileOf(places.results, row, 'png');
  await mkdir(dirname(path), { recursive: true });
  await writeAtomic(path, await encodePng(wide, classes * size, size, 1));
}

/** Draws the strip of a model's samples. */
export async function saveStrip(
  model: string,
  { data, seed, threads }: Settings,
  places: Places,
  row: Pick<Row, 'stage' | 'id'>,
  words: readonly string[] = [],
): Promise<void> {
  const { classes, shape } = referenceFor('auto', data);
  const out = join(places.work, 'strip.safetensors');
  await onestep(['sample', model, '--n', String(classes), '--seed', String(seed), '--threads', String(threads), '--out', out, ...words]);
  const samples = (await readSafetensors(out)).tensors.get('images');
  if (!samples) throw new Error(`internal: ${out} holds no images`);
  await writeStrip(places, row, toBytes(toFloat32(samples)), classes, shape[2]);
}
