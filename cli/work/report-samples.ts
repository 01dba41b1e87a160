/** @file Pictures of a report: samples of every run from the same noise, kept in the run folder, and the training images nearest to them. */

import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { toBytes } from '../../data/bytes.ts';
import { grid } from '../../data/image.ts';
import { loadDataset } from '../../data/registry.ts';
import { sha256, writeAtomic } from '../../engine/io/atomic.ts';
import { InputError } from '../../engine/io/errors.ts';
import type { DeviceName } from '../../engine/run/devices.ts';
import { evaluatedAs } from '../../eval/evaluation.ts';
import type { Picture } from '../../eval/report/comparison.ts';
import type { Flat } from '../config.ts';
import { drawSamples, labelsFor, type Pace } from './drawing.ts';
import { weightsOfRun } from './evaluations.ts';
import { isFlat, settingsOf } from './report-rows.ts';
import type { RunFolder } from './report-run.ts';
import { openSource, type Source } from './source.ts';

export interface SamplingRequest {
  readonly n: number;
  readonly seed: number;
  readonly threads: number;
  readonly device: DeviceName | 'auto';
  onPace?(run: string, pace: Pace): void;
}
/** A picture, or none; and what went wrong. */
export interface Pictured {
  readonly picture: Picture | null;
  readonly problem: string | null;
}

/** Where pictures are kept in a run folder. */
const FOLDER = 'report';
/** Changes where pictures come to look otherwise. */
const LOOK = 1;
/** Pixels of a sheet: images are enlarged or set in fewer columns to come near it. */
const [SHEET_WIDTH, COLUMNS] = [640, 10] as const;

/** Samples of a run as one picture: the k-th of every run has the same noise and class. A folder without a model yet has none. */
export async function samplesOf(run: RunFolder, request: SamplingRequest): Promise<Pictured> {
  const { n, seed } = request;
  const weights = await weightsOfRun(run.path);
  const words = {
    title: run.name,
    alt: `${n} samples of ${run.name}`,
    note: `${n} samples, seed ${seed}; not selected.`,
  };
  if (!weights) return { picture: null, problem: `${run.path}: has no model yet, so no samples are drawn` };
  const name = `samples-${sha256(JSON.stringify([LOOK, weights.model, n, seed])).slice(0, 16)}.png`;
  const kept = await readFile(join(run.path, FOLDER, name)).catch(() => null);
  if (kept) return { picture: { ...words, png: kept }, problem: null };
  try {
    const png = await drawSheet(run, request);
    return { picture: { ...words, png }, problem: await keep(run.path, name, png) };
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    return { picture: null, problem: `${run.path}: no samples are drawn: ${error.message}` };
  }
}

/** What could not be kept is drawn again next time. @returns why */
async function keep(path: string, name: string, png: Uint8Array): Promise<string | null> {
  try {
    await mkdir(join(path, FOLDER), { recursive: true });
    await writeAtomic(join(path, FOLDER, name), png);
    return null;
  } catch (error) {
    return `${path}: the samples are not kept: ${(error as Error).message}`;
  }
}

async function drawSheet(run: RunFolder, { n, seed, threads, device, onPace }: SamplingRequest): Promise<Uint8Array> {
  const source = await openSource(run.path, { threads, device, batch: Math.min(n, 100) });
  try {
    const shape = pictureShape(source);
    const labels = labelsFor(source, [], n);
    const { images } = await drawSamples(source, { n, seed, labels }, (pace) => onPace?.(run.name, pace));
    return await sheet(toBytes(images), [n, ...shape]);
  } finally {
    await source.generator.close();
  }
}

function pictureShape({ name, sample: { shape } }: Pick<Source, 'name' | 'sample'>): readonly [number, number, number] {
  const [channels, height, width] = shape;
  if (shape.length !== 3 || (channels !== 1 && channels !== 3))
    throw new InputError(`${name} makes [${shape}], which are no pictures of 1 or 3 channels`);
  return [channels, height!, width!];
}

/** Rows of images as PNG. @param images [n, channels, height, width] */
export function sheet(
  images: Uint8Array,
  shape: readonly [number, number, number, number],
  columns = columnsOf(shape[3]),
): Promise<Uint8Array> {
  const scale = Math.max(1, Math.floor(SHEET_WIDTH / (columns * (shape[3] + 2))));
  return grid(images, { shape, columns, scale, gap: 2 });
}
const columnsOf = (width: number): number => Math.max(4, Math.min(COLUMNS, Math.floor(SHEET_WIDTH / width)));

/** Samples of a sheet of neighbours. */
const SHOWN = 10;

/** The first samples of an evaluation above their nearest training images, where it says which these are and the samples can be drawn again. */
export async function neighboursOf(run: RunFolder, { threads, device, onPace }: SamplingRequest): Promise<Pictured> {
  const none: Pictured = { picture: null, problem: null };
  const found = run.evaluations.map((one) => ({ one, index: indicesOf(one) })).findLast(({ index }) => index !== null);
  if (!found) return none;
  const { one, index } = found;
  const settings = settingsOf(one);
  const data = typeof one['reference'] === 'string' ? one['reference'] : String(run.config?.['data'] ?? '');
  const seed = settings['seed'];
  if (evaluatedAs(data) === null || typeof seed !== 'number') return none;
  try {
    const source = await openSource(run.path, { threads, device, batch: SHOWN });
    try {
      const { sampler, nfe } = source.generator;
      if (settings['sampler'] !== sampler || settings['nfe'] !== nfe) return none; // drawn in another way
      const n = Math.min(SHOWN, index!.length);
      const { images } = await drawSamples(source, { n, seed, labels: labelsFor(source, [], n) }, (pace) => onPace?.(run.name, pace));
      return { picture: await neighboursPicture(run.name, toBytes(images), pictureShape(source), index!, data), problem: null };
    } finally {
      await source.generator.close();
    }
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    return { picture: null, problem: `${run.path}: no nearest training images are shown: ${error.message}` };
  }
}

function indicesOf({ nearest }: Flat): readonly number[] | null {
  const index = isFlat(nearest) ? nearest['index'] : null;
  return Array.isArray(index) && index.length > 0 && index.every((i) => Number.isInteger(i) && i >= 0) ? (index as number[]) : null;
}

/**
 * Samples above the training images nearest to them.
 * @param images [n, …shape] at least as many as are shown
 * @param index of the nearest training image of each
 */
export async function neighboursPicture(
  name: string,
  images: Uint8Array,
  shape: readonly [number, number, number],
  index: ArrayLike<number>,
  data: string,
): Promise<Picture> {
  const { train } = await loadDataset(data);
  const size = shape[0] * shape[1] * shape[2];
  const n = Math.min(SHOWN, index.length, images.length / size);
  const rows = new Uint8Array(2 * n * size);
  rows.set(images.subarray(0, n * size));
  for (let i = 0; i < n; i++) {
    const from = index[i]! * size;
    if (from + size > train.images.length) throw new InputError(`training image ${index[i]} is named, ${data} has ${train.size}`);
    rows.set(train.images.subarray(from, from + size), (n + i) * size);
  }
  return {
    title: name,
    png: await sheet(rows, [2 * n, ...shape], n),
    alt: `${n} samples of ${name} above their nearest training images`,
    note: 'Above: samples. Below: the training image nearest to each in pixels.',
  };
}
