/** @file Measures everything that is published, on held-out captions, and writes table, numbers and picture. */
import { mkdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { loadModel, type Model } from '../../cli/work/model.ts';
import { grid, toBytes } from '../../data/image.ts';
import { writeAtomic } from '../../engine/io/atomic.ts';
import { type Drawings, floats, NAMES, PIXELS, readDrawings, SIZE } from './drawings.ts';
import { readWeights, readWithBytes } from './files.ts';
import { openJudge } from './judge.ts';
import { decode, encode } from './latents.ts';
import { commonest, drawCaptions, firstOf, type Measured, measure, tableOf } from './measure.ts';
import type { Settings } from './settings.ts';
import { type Context, places, STYLED } from './stages.ts';
import { atDusk, atNoon, shareAtDusk } from './style.ts';

const SEED = 1;
const there = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );
const range = (n: number): readonly number[] => Array.from({ length: n }, (_, i) => i);

/** What draws, by the name of its column. */
export interface Artist {
  readonly name: string;
  readonly model: Model;
  readonly guidance?: number;
  readonly steps?: number;
  readonly styled?: boolean;
}
/** The published models in the folder of the teacher. Those that are not there are left out. */
export async function artistsOf(folder: string, { students, guidance, teacherSteps }: Settings): Promise<readonly Artist[]> {
  const artists: Artist[] = [{ name: 'teacher', model: await loadModel(folder), guidance, steps: teacherSteps }];
  for (const name of Object.keys(students)) {
    const path = join(folder, `${name}.safetensors`);
    if (await there(path)) artists.push({ name, model: await loadModel(path) });
  }
  const [style, styled] = [join(folder, 'dusk.safetensors'), join(folder, `${STYLED}.safetensors`)];
  if (!(await there(style))) return artists;
  artists.push({ name: 'dusk teacher', model: await loadModel(`${folder}:lora=${style}`), guidance, steps: teacherSteps, styled: true });
  if (!(await there(styled))) return artists;
  const { card, ...rest } = await loadModel(`${folder}:lora=${style}|${styled}`);
  // With its adapters the teacher's network is the student: one call at the highest level.
  artists.push({ name: STYLED, model: { ...rest, card: { ...card, levels: [card.schedule.sigmaMax] } }, styled: true });
  return artists;
}

export async function report(context: Context): Promise<void> {
  const { settings, artifacts, results, threads, say } = context;
  await mkdir(results, { recursive: true });
  const { heldOut } = await readDrawings(places(context).drawings);
  const real = firstOf(heldOut, Math.min(settings.measured, heldOut.n));
  const images = floats(real, range(real.n));
  const judge = await openJudge(await readWithBytes(join(artifacts, 'judge.safetensors')), threads);
  const autoencoder = await readWeights(join(artifacts, 'vae', 'diffusion_pytorch_model.safetensors'));
  const columns: Record<string, Measured> = {};
  const pictures: (readonly [string, Float32Array])[] = [['drawn by rule', images]];
  const add = async (name: string, drawn: Float32Array, calls: number | null): Promise<void> => {
    columns[name] = await measure(judge, drawn, real, calls);
    say(`${name}: mean accuracy ${columns[name].mean.toFixed(3)}`);
  };
  const shares: Record<string, number> = {};
  try {
    await add('drawings', images, null);
    const copies = await decode(autoencoder, await encode(autoencoder, images, threads), threads);
    await add('autoencoder', copies, null);
    for (const { name, model, styled, ...how } of await artistsOf(artifacts, settings)) {
      const drawn = await drawCaptions(model, real.captions, { ...how, seed: SEED, threads });
      pictures.push([name, drawn.images]);
      await add(name, styled ? atNoon(drawn.images) : drawn.images, drawn.calls);
      shares[name] = shareAtDusk(drawn.images);
    }
  } finally {
    await judge.close();
  }
  const facts = { measured: real.n, seed: SEED, guidance: settings.guidance, teacherSteps: settings.teacherSteps };
  const common = commonest(real);
  const json = { ...facts, commonest: common, columns, shareAtDusk: { ...shares, drawings: shareAtDusk(atDusk(images)) } };
  await writeAtomic(join(results, 'accuracy.json'), `${JSON.stringify(json, null, 1)}\n`);
  const mean = NAMES.reduce((sum, name) => sum + common[name], 0) / NAMES.length;
  const table = tableOf({ 'commonest value': { accuracy: common, mean }, ...columns });
  await writeAtomic(join(results, 'accuracy.md'), `${table}\n`);
  say(table);
  await writeAtomic(join(results, 'avatars.png'), await pictureOf(real, pictures));
}

/** A row for each artist, a column for each caption. */
const COLUMNS = 10;
async function pictureOf({ n }: Drawings, rows: readonly (readonly [string, Float32Array])[]): Promise<Uint8Array> {
  const columns = Math.min(COLUMNS, n);
  const bytes = new Uint8Array(rows.length * columns * PIXELS);
  rows.forEach(([, images], row) => {
    bytes.set(toBytes(images.slice(0, columns * PIXELS)), row * columns * PIXELS);
  });
  return grid(bytes, {
    shape: [rows.length * columns, 3, SIZE, SIZE],
    ...{ columns, scale: 2, gap: 4, labels: rows.map(([name]) => name) },
  });
}
