/**
 * @file Checkpoints: weights by name, one file per player and average, so that each is usable by itself; slots of the optimizers; counters.
 * Written beside their place and renamed, so that there is never half a checkpoint.
 */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { flushFolder, writeAtomic } from '../io/atomic.ts';
import { verifyManifest, writeManifest } from '../io/checksums.ts';
import { InputError } from '../io/errors.ts';
import { fileFailure } from '../io/failures.ts';
import { fromFloat32, readSafetensors, type StoredTensor, toFloat32, writeSafetensors } from '../io/safetensors.ts';
import { type CheckpointFacts, FACTS_NAME, FORMAT, type PlayerFiles, readFacts } from './checkpoint-facts.ts';
import { checkpointsFolder, putInPlace, removeDebris, temporaryPath } from './checkpoint-folders.ts';
import type { Snapshot } from './trainer.ts';
import { type Layout, layoutSize, unpackWeights, type Weights } from './weights.ts';

export { type CheckpointFacts, readFacts } from './checkpoint-facts.ts';
export {
  type CheckpointPlace,
  checkpointPath,
  keepLast,
  type LatestCheckpoint,
  latestCheckpoint,
  listCheckpoints,
  removeDebris,
} from './checkpoint-folders.ts';

type Layouts = Readonly<Record<string, Layout>>;
const SLOTS_NAME = 'optimizer.safetensors';

export interface CheckpointContent {
  readonly snapshot: Snapshot;
  /** How the vectors are cut into weights, and the buffers of each trained player: a Trainer. */
  readonly trainer: { readonly layouts: Layouts; readonly fixed: Readonly<Record<string, Weights>> };
  readonly meta: Readonly<Record<string, unknown>>;
}
export interface Checkpoint extends CheckpointFacts {
  readonly path: string;
  readonly snapshot: Snapshot;
}

const stored = (weights: Weights, prefix = ''): [string, StoredTensor][] =>
  [...weights].map(([name, { data, shape }]) => [prefix + name, fromFloat32(data, shape)]);

/** Letters that every file system takes. */
const fileName = (text: string): string => `${text.replace(/[^A-Za-z0-9._-]/g, '-')}.safetensors`;

function filesOf(player: string, { snapshot, trainer }: CheckpointContent): PlayerFiles {
  const own = Object.keys(snapshot.vectors).flatMap((label) => (label.startsWith(`${player}/`) ? [label.slice(player.length + 1)] : []));
  const averages = own.flatMap((label) => (label.startsWith('average/') ? [label.slice('average/'.length)] : []));
  return {
    weights: fileName(player),
    averages: Object.fromEntries(averages.map((name) => [name, fileName(`${player}.average-${name}`)])),
    slots: own.filter((label) => !label.startsWith('average/')),
    order: trainer.layouts[player]!.map(({ name }) => name),
  };
}

/** @returns the names of the files written */
async function writeFiles(folder: string, content: CheckpointContent): Promise<string[]> {
  const { snapshot, trainer, meta } = content;
  const { step, nimg, skipped, updates, scales, vectors } = snapshot;
  const players = Object.fromEntries(Object.keys(trainer.layouts).map((player) => [player, filesOf(player, content)]));
  const slots: [string, StoredTensor][] = [];
  const names = [FACTS_NAME, SLOTS_NAME];
  for (const [player, files] of Object.entries(players)) {
    const named = (label: string): Weights => unpackWeights(trainer.layouts[player]!, vectors[label]!);
    const write = async (file: string, label: string, facts: Readonly<Record<string, string>>): Promise<void> => {
      if (names.includes(file)) throw new Error(`internal: two of the player ${player}'s weights would be ${file}`);
      names.push(file);
      // `format` is what the readers of the PyTorch world ask for.
      const metadata = { format: 'pt', player, step: String(step), nimg: String(nimg), ...facts };
      await writeSafetensors(join(folder, file), stored(new Map([...named(label), ...trainer.fixed[player]!])), metadata);
    };
    await write(files.weights, player, {});
    for (const [average, file] of Object.entries(files.averages)) await write(file, `${player}/average/${average}`, { average });
    for (const slot of files.slots) slots.push(...stored(named(`${player}/${slot}`), `${player}/${slot}/`));
  }
  await writeSafetensors(join(folder, SLOTS_NAME), slots);
  const facts: CheckpointFacts = {
    format: FORMAT,
    step,
    nimg,
    skipped,
    updates: { ...updates },
    ...(scales ? { scales: { ...scales } } : {}),
    players,
    meta,
  };
  await writeAtomic(join(folder, FACTS_NAME), JSON.stringify(facts, null, 2) + '\n');
  return names;
}

/**
 * Writes `run/checkpoints/step-NNNNNNN`. One process at a time (see io/lock.ts); what an interrupted save left is removed first.
 * @returns the checkpoint's folder
 * @throws InputError where the system refuses (no space, no permission); earlier checkpoints stay, and nothing of this one does
 */
export async function saveCheckpoint(run: string, content: CheckpointContent): Promise<string> {
  const { step } = content.snapshot;
  const temporary = temporaryPath(run, step);
  try {
    await mkdir(checkpointsFolder(run), { recursive: true });
    await removeDebris(run);
    await mkdir(temporary);
    await writeManifest(temporary, await writeFiles(temporary, content));
    const path = await putInPlace(temporary, run, step);
    await flushFolder(run);
    return path;
  } catch (error) {
    await rm(temporary, { recursive: true, force: true }).catch(() => {}); // the first failure is the one to tell
    const failure = fileFailure('write', checkpointsFolder(run), error);
    if (!(failure instanceof InputError)) throw failure;
    throw new InputError(`checkpoint: step ${step} was not saved, earlier ones are as they were: ${failure.message}`, { cause: error });
  }
}

async function readTensors(file: string): Promise<ReadonlyMap<string, StoredTensor>> {
  return (await readSafetensors(file)).tensors;
}

/** One vector of the named tensors. Errors: one that is missing or of another shape. */
function packTensors(file: string, tensors: ReadonlyMap<string, StoredTensor>, layout: Layout, prefix = ''): Float32Array {
  const vector = new Float32Array(layoutSize(layout));
  for (const { name, shape, offset } of layout) {
    const tensor = tensors.get(prefix + name);
    if (!tensor || tensor.shape.join() !== shape.join())
      throw new InputError(
        `${file}: ${prefix + name} should be [${shape}], but is ${tensor ? `[${tensor.shape}]` : 'missing'}; was the run made with another network?`,
      );
    vector.set(toFloat32(tensor), offset);
  }
  return vector;
}

/** The layout as it was when the checkpoint was written. */
function storedLayout(file: string, order: readonly string[], tensors: ReadonlyMap<string, StoredTensor>): Layout {
  let offset = 0;
  return order.map((name) => {
    const shape = tensors.get(name)?.shape;
    if (!shape) throw new InputError(`${file}: ${name} is missing; the checkpoint is damaged`);
    const from = offset;
    offset += shape.reduce((n, d) => n * d, 1);
    return { name, shape, offset: from };
  });
}

/**
 * Checks a checkpoint's folder against its manifest and reads it.
 * @param layouts those of the trainer that goes on; where they are given, weights are matched by name and the order may have changed
 * @throws InputError naming the file that is missing, truncated or changed, or the weight that does not fit
 */
export async function loadCheckpoint(path: string, layouts?: Layouts): Promise<Checkpoint> {
  await verifyManifest(path);
  const facts = await readFacts(path);
  const vectors: Record<string, Float32Array> = {};
  const slotsFile = join(path, SLOTS_NAME);
  const slots = await readTensors(slotsFile);
  for (const [player, files] of Object.entries(facts.players)) {
    const file = join(path, files.weights);
    const tensors = await readTensors(file);
    const layout = layouts?.[player] ?? storedLayout(file, files.order, tensors);
    vectors[player] = packTensors(file, tensors, layout);
    for (const slot of files.slots) vectors[`${player}/${slot}`] = packTensors(slotsFile, slots, layout, `${player}/${slot}/`);
    for (const [average, name] of Object.entries(files.averages))
      vectors[`${player}/average/${average}`] = packTensors(join(path, name), await readTensors(join(path, name)), layout);
  }
  const { step, nimg, skipped, updates, scales } = facts;
  return { ...facts, path, snapshot: { step, nimg, skipped, updates, ...(scales ? { scales } : {}), vectors } };
}

/** Weights and buffers of one trained player, or of one of its averages. Errors: no such player or average; a damaged file. */
export async function loadWeights(path: string, player: string, average?: string): Promise<Weights> {
  await verifyManifest(path);
  const { players } = await readFacts(path);
  const files = players[player];
  if (!files) throw new InputError(`${path}: no player ${player}; it has ${Object.keys(players).join(', ')}`);
  const file = average === undefined ? files.weights : files.averages[average];
  if (file === undefined)
    throw new InputError(`${path}: no average ${average} of ${player}; it has ${Object.keys(files.averages).join(', ') || 'none'}`);
  const tensors = await readTensors(join(path, file));
  return new Map([...tensors].map(([name, tensor]) => [name, { shape: tensor.shape, data: toFloat32(tensor) }]));
}
