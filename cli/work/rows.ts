/** @file Samples to train on that are not the data set's bytes: a teacher's own samples, or latents of images. Both are made once and kept in the run folder. */
import { join } from 'node:path';
import { indexer } from '../../data/assemble.ts';
import { toFloat } from '../../data/bytes.ts';
import type { Dataset, Split } from '../../data/dataset.ts';
import { leafOf } from '../../engine/graph/ops/leaf.ts';
import { topological } from '../../engine/graph/tensor.ts';
import { sha256 } from '../../engine/io/atomic.ts';
import { fromFloat32, readSafetensors, toFloat32, writeSafetensors } from '../../engine/io/safetensors.ts';
import { fillUniform, streamKey } from '../../engine/random/philox.ts';
import { type ConditionTable, gatherRows } from '../../engine/train/conditions.ts';
import type { SampleType } from '../../engine/train/network.ts';
import type { Batch, Trainer } from '../../engine/train/trainer.ts';
import { computeOf } from './device.ts';
import { openGenerator } from './generator.ts';
import { imageShape, openLatents } from './latents.ts';
import type { Model } from './model.ts';
import type { RunRequest } from './run.ts';
import { evenLabels } from './scores.ts';
import { TEACHER_DATA } from './teacher-words.ts';

const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** Samples [size, …sample] with their classes. */
interface Rows {
  readonly size: number;
  readonly values: Float32Array;
  readonly labels: ArrayLike<number> | null;
}

/** A data set of samples of this type that holds no bytes: its samples are rows. */
function emptySet(name: string, size: number, { shape, classes }: SampleType, labels: Dataset['labels'], licence: string): Dataset {
  const [channels = 1, height = 1, width = 1] = shape;
  const names = classes > 0 ? Array.from({ length: classes }, (_, i) => String(i)) : null;
  return { name, size, channels, height, width, images: new Uint8Array(0), labels, classes: names, mayFlip: false, licence };
}

/** The data set of a teacher's own samples, before they are made. */
export function teacherSplit({ card, source }: Model, n: number): Split {
  const train = emptySet(`samples of ${source}`, n, card.sample, evenLabels(n, card.sample.classes), card.licence);
  return { train, heldOut: { ...train, size: 0, labels: train.labels && new Int32Array(0) } };
}

/** Images as the latents that a teacher knows, before they are made. */
export function latentSplit({ card }: Model, { train, heldOut }: Split): Split {
  const of = (set: Dataset): Dataset => ({
    ...set,
    ...pick(card.sample.shape),
    images: set.images,
    mayFlip: false,
    ...(card.sample.classes === 0 ? { labels: null, classes: null } : {}),
  });
  return { train: of(train), heldOut: of(heldOut) };
}
const pick = ([channels = 1, height = 1, width = 1]: readonly number[]): Pick<Dataset, 'channels' | 'height' | 'width'> => ({
  channels,
  height,
  width,
});

/** Whether a method looks at samples at all with these options. */
const readsData = ({ phases }: Trainer): boolean =>
  phases.some(({ fused }) => topological(Object.values(fused.outputs)).some((node) => leafOf(node.outputs[0]!)?.label === 'data'));

export interface RowStream {
  next(step: number): Batch;
}
/** The batches of a run on rows. @param table of conditions beside classes */
export async function openRows(request: RunRequest, trainer: Trainer): Promise<RowStream> {
  const { plan, split, teacher, texts } = request;
  const { batch, seed, textDropout } = plan.run;
  const { sample } = teacher!.card;
  const rows = readsData(trainer) ? await rowsOf(request) : null;
  const at = indexer(rows?.size ?? split.train.size, batch, seed);
  const size = sizeOf(sample.shape);
  return {
    next(step) {
      const indices = at(step);
      const images = new Float32Array(batch * size);
      if (rows) for (const [i, index] of indices.entries()) images.set(rows.values.subarray(index * size, (index + 1) * size), i * size);
      const labels = rows ? rows.labels : split.train.labels;
      return {
        images,
        labels:
          sample.classes > 0 && labels
            ? oneHotRows(
                Array.from(indices, (i) => labels[i]!),
                sample.classes,
              )
            : null,
        ...(texts
          ? { conditions: conditionsAt(texts, sample, indices, ofRows(request, rows !== null), { seed, step, dropout: textDropout }) }
          : {}),
      };
    },
  };
}

/** Texts of samples in their order: a teacher's own were drawn by the prompts, images have captions or none. */
const ofRows = ({ plan, texts }: RunRequest, reads: boolean): ConditionTable | null =>
  !reads || plan.run.data === TEACHER_DATA ? texts!.table : (texts!.images ?? null);

/** The conditions of some samples of a run: of a share of them, and of all that have none, the null condition. @param own texts of all samples in their order */
export function conditionsAt(
  texts: RunTexts,
  { conditions = {} }: SampleType,
  indices: Uint32Array,
  own: ConditionTable | null,
  { seed, step, dropout }: { readonly seed: number; readonly step: number; readonly dropout: number },
): Record<string, Float32Array> {
  const chance = new Float32Array(indices.length);
  fillUniform(chance, streamKey(seed, step, 'data.text dropout'), 1, 0);
  const table: ConditionTable = {
    size: indices.length,
    row: (name, i) => (own && chance[i]! >= dropout ? own.row(name, indices[i]! % own.size) : texts.nulls.row(name, 0)),
  };
  return Object.fromEntries(
    Object.keys(conditions).map((name) => [
      name,
      gatherRows(
        table,
        name,
        indices.map((_, i) => i),
      ),
    ]),
  );
}

/** Texts of a run that conditions are drawn from, and what stands for none. */
export interface RunTexts {
  readonly table: ConditionTable;
  readonly nulls: ConditionTable;
  /** Captions of the images to train on, in their order. */
  readonly images?: ConditionTable;
}
/** A table in which a share of the rows, to the nearest hundredth, is the null condition. */
export function withDropout({ table, nulls }: RunTexts, share: number): ConditionTable {
  const [copies, dropped] = [100, Math.round(100 * share)];
  if (dropped === 0) return table;
  return { size: copies * table.size, row: (name, i) => (i < dropped * table.size ? nulls.row(name, 0) : table.row(name, i % table.size)) };
}

function oneHotRows(labels: readonly number[], classes: number): Float32Array {
  const out = new Float32Array(labels.length * classes);
  labels.forEach((label, i) => {
    out[i * classes + label] = 1;
  });
  return out;
}

/** Made, or read where the run folder holds them already. */
async function rowsOf(request: RunRequest): Promise<Rows> {
  const { plan, split, teacher, folder, onEvent } = request;
  const own = plan.run.data === TEACHER_DATA;
  const { labels, size } = split.train;
  const facts = own
    ? { kind: 'samples', ...drawnAs(request) }
    : { kind: 'latents', data: split.train.name, images: sha256(split.train.images) };
  const path = join(folder, own ? 'teacher-samples.safetensors' : 'latents.safetensors');
  const stored = await readSafetensors(path).catch(() => null);
  const shape = [size, ...teacher!.card.sample.shape];
  const known = stored?.metadata['made'] === JSON.stringify(facts) ? stored.tensors.get('samples') : undefined;
  const make = async (): Promise<Float32Array> => {
    onEvent?.({ kind: 'note', text: own ? `drawing ${size} samples of the teacher to train on` : `encoding ${size} images` });
    const made = own ? await samplesOf(request) : await latentsOf(request);
    await writeSafetensors(path, { samples: fromFloat32(made, shape) }, { made: JSON.stringify(facts) });
    return made;
  };
  const values = known?.shape.join() === shape.join() ? toFloat32(known) : await make();
  return { size, values, labels };
}

/** How a teacher draws samples to train on: guided as the method guides it. */
function drawnAs({ plan, split, teacher }: RunRequest) {
  const { guidance } = plan.options;
  return {
    teacher: teacher!.source,
    n: split.train.size,
    steps: plan.run.teacherSampleSteps,
    guidance: typeof guidance === 'number' && guidance > 1 ? guidance : 1,
    seed: plan.run.seed,
    prompts: plan.run.prompts,
  };
}
async function samplesOf(request: RunRequest): Promise<Float32Array> {
  const { n, steps, guidance, seed } = drawnAs(request);
  const { teacher, split, texts, plan } = request;
  const batch = Math.min(n, 32);
  const generator = openGenerator(teacher!, { sampler: 'heun', steps, guidance, ...computeOf(plan.run), latents: true, batch });
  try {
    return await generator.generate({ labels: split.train.labels, ...(texts ? { conditions: texts.table } : {}), n, seed });
  } finally {
    await generator.close();
  }
}
async function latentsOf({ teacher, split, plan }: RunRequest): Promise<Float32Array> {
  const latents = openLatents(teacher!, computeOf(plan.run));
  const [inside, outside] = [sizeOf(imageShape(teacher!.card)), sizeOf(teacher!.card.sample.shape)];
  const out = new Float32Array(split.train.size * outside);
  const AT_ONCE = 64;
  try {
    for (let first = 0; first < split.train.size; first += AT_ONCE) {
      const end = Math.min(first + AT_ONCE, split.train.size);
      out.set(await latents.encode(toFloat(split.train.images.subarray(first * inside, end * inside))), first * outside);
    }
    return out;
  } finally {
    await latents.close();
  }
}
