/** @file Models on disk: weights with a card that says which network they belong to, in one safetensors file or a checkpoint. */
import { createHash } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { artifactPath } from '../../data/artifacts.ts';
import { input } from '../../engine/graph/ops/leaf.ts';
import { InputError } from '../../engine/io/errors.ts';
import { nearest } from '../../engine/io/nearest.ts';
import { fromFloat32, readSafetensors, type StoredTensor, toFloat32, writeSafetensors } from '../../engine/io/safetensors.ts';
import { loadWeights, readFacts } from '../../engine/train/checkpoint.ts';
import type { Condition, Network, SampleType, Scope } from '../../engine/train/network.ts';
import { resolve } from '../../engine/train/options.ts';
import {
  checkWeights,
  type Declaration,
  recordingScope,
  type StoredWeight,
  type Weight,
  type Weights,
} from '../../engine/train/weights.ts';
import { adaptedScope } from '../../models/adapters.ts';
import { experts, together } from '../../models/experts.ts';
import { networkFamily } from '../../models/index.ts';
import { inForm } from '../../samplers/forms.ts';
import { isStudentFolder } from '../../student/folder.ts';
import { withLora } from './adapters.ts';
import { checkCard, type ModelCard, parseCard } from './card.ts';
import { openForeign, splitSpec } from './foreign.ts';

export type { ModelCard } from './card.ts';
export interface Model {
  readonly card: ModelCard;
  readonly weights: Weights;
  readonly source: string;
  /** Where the other parts of its pipeline are, for a card with `parts`. */
  readonly folder?: string;
}
/** What a checkpoint's meta holds for whoever loads it as a model: the players that it is made of, and its card. */
export interface CheckpointMeta {
  readonly players: readonly string[];
  readonly card: ModelCard;
}

/** Models that come with the package, by name. */
export const BUNDLED: Readonly<Record<string, string>> = {
  'digit-teacher': 'digit-teacher.safetensors',
  'fashion-teacher': 'fashion-teacher.safetensors',
};
/** The model of a run folder. */
export const MODEL_FILE = 'model.safetensors';

/** How a model's network is built under a scope: as it is used once it is finished. */
export function builderOf(card: ModelCard): (scope: Scope) => Network {
  const family = networkFamily(card.network);
  const options = resolve(card.network, family.options, card.networkOptions);
  const { experts: routes, form, lora } = card;
  const build = (scope: Scope): Network => family.build(lora ? adaptedScope(scope, lora) : scope, options, card.sample);
  if (!routes) return (scope) => inForm(build(scope), form);
  return (scope) => inForm(experts(scope, build, routes), form);
}

/** The weights of a model that is made of one network, or of several experts in their order. */
export const weightsOf = (card: ModelCard, parts: readonly Weights[]): Weights => (card.experts ? together(parts) : parts[0]!);

/** SHA-256 over names, types, shapes and bytes in the order of the names. */
function digest(tensors: Iterable<readonly [string, StoredTensor]>): string {
  const hash = createHash('sha256');
  const sorted = [...tensors].sort(([a], [b]) => (a < b ? -1 : 1));
  for (const [name, { dtype, shape, bytes }] of sorted) hash.update(`${name} ${dtype} [${shape.join()}]\n`).update(bytes);
  return hash.digest('hex');
}

/** Writes weights with their card and a checksum; `stored` leaves those that are in the bits of a file as they are. */
export async function saveModel(path: string, card: ModelCard, weights: Weights, dtype: 'F32' | 'F16' | 'stored' = 'F32'): Promise<void> {
  const tensorOf = (w: Weight | StoredWeight): StoredTensor =>
    dtype !== 'stored' ? fromFloat32(w.data, w.shape, dtype) : 'stored' in w ? w.stored : fromFloat32(w.data, w.shape);
  const tensors = [...weights].map(([name, w]) => [name, tensorOf(w)] as const);
  await writeSafetensors(path, tensors, { onestep: JSON.stringify(card), sha256: digest(tensors) });
}

/**
 * Reads a model: a bundled name, a weights file, a run folder, or one of its checkpoints.
 * @throws InputError for anything else, a damaged file, or weights that do not fit the network
 */
export async function loadModel(spec: string): Promise<Model> {
  const { path, options } = splitSpec(spec);
  const foreign = Object.hasOwn(BUNDLED, spec) ? null : await openForeign(path, options);
  if (foreign) return { ...(options.lora ? await withLora(foreign, options.lora) : foreign), source: spec };
  const idle = Object.keys(options)[0];
  if (idle)
    throw new InputError(`model: ${path} is no network from elsewhere, so that nothing is to be said of its ${idle}; give ${path} alone`);
  const place = await locate(path);
  const { card, weights } = place.kind === 'file' ? await readModelFile(place.path) : await readCheckpoint(place.path);
  checkWeights(`model: ${place.path}`, networkNeeds(card), weights);
  return { card, weights, source: spec, ...(card.parts ? { folder: await partsFolder(place, card.parts) } : {}) };
}

/** Where the parts of a model are: beside its file, or beside the checkpoints of its run. Errors: a part is missing. */
async function partsFolder({ kind, path }: Place, parts: readonly string[]): Promise<string> {
  const folder = kind === 'checkpoint' ? join(path, '..', '..') : dirname(path);
  for (const part of parts)
    if (!(await exists(join(folder, part))))
      throw new InputError(`model: ${path} is a part of a pipeline, whose ${part} should be in ${folder}; copy the folder as a whole`);
  return folder;
}

async function readModelFile(path: string): Promise<Omit<Model, 'source'>> {
  const { tensors, metadata } = await readSafetensors(path);
  const text = metadata['onestep'];
  if (!text)
    throw new InputError(
      `model: ${path} does not say which network it belongs to (no onestep entry in its metadata); give a run folder or a file written by onestep`,
    );
  const wanted = metadata['sha256'];
  const found = wanted === undefined ? undefined : digest(tensors);
  if (found !== wanted)
    throw new InputError(
      `model: ${path} is damaged: the SHA-256 of its weights is ${found}, it should be ${wanted}; copy it again, or give a checkpoint of its run`,
    );
  return {
    card: parseCard(`model: ${path}`, text),
    weights: new Map([...tensors].map(([name, t]) => [name, { shape: t.shape, data: toFloat32(t) }])),
  };
}

async function readCheckpoint(path: string): Promise<Omit<Model, 'source'>> {
  const { meta } = await readFacts(path);
  const { players, card } = meta as Partial<CheckpointMeta>;
  if (!Array.isArray(players) || card === undefined)
    throw new InputError(`model: ${path} has no model card, it was written by an older version; give its run folder`);
  const checked = checkCard(`model: ${path}`, card);
  const parts: Weights[] = [];
  for (const player of players as CheckpointMeta['players']) parts.push(await loadWeights(path, player, checked.average ?? undefined));
  return { card: checked, weights: weightsOf(checked, parts) };
}

interface Place {
  readonly kind: 'file' | 'checkpoint';
  readonly path: string;
}
const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

async function locate(spec: string): Promise<Place> {
  if (Object.hasOwn(BUNDLED, spec)) return { kind: 'file', path: artifactPath(BUNDLED[spec]!) };
  const facts = await stat(spec).catch(() => null);
  if (!facts) {
    const near = nearest(spec, Object.keys(BUNDLED));
    throw new InputError(
      `model: there is no ${spec}${near ? `; did you mean ${near}?` : ''}; give a run folder, a checkpoint, a .safetensors file or one of ${Object.keys(BUNDLED).join(', ')}`,
    );
  }
  if (facts.isFile() ? spec.endsWith('.onnx') : await isStudentFolder(spec))
    throw new InputError(
      `model: ${spec} is a finished student, which can be sampled and evaluated only; give the run folder that it comes from${facts.isFile() ? `, or say of a denoiser what it predicts and on which schedule, such as ${spec}:kind=eps,schedule=vp` : ''}`,
    );
  if (facts.isFile()) return { kind: 'file', path: spec };
  // First: a player of a checkpoint may be called model too.
  if (await exists(join(spec, 'checkpoint.json'))) return { kind: 'checkpoint', path: spec };
  if (await exists(join(spec, MODEL_FILE))) return { kind: 'file', path: join(spec, MODEL_FILE) };
  throw new InputError(
    `model: ${spec} holds neither ${MODEL_FILE} nor checkpoint.json; give a run folder whose first checkpoint is written, or a checkpoint (run/checkpoints/step-…)`,
  );
}

/** Inputs for what samples are conditioned on, by their names. */
export const conditionOf = ({ classes, conditions = {} }: SampleType): Condition => ({
  ...(classes > 0 ? { label: input('label', ['N', classes]) } : {}),
  ...Object.fromEntries(Object.entries(conditions).map(([name, shape]) => [name, input(name, ['N', ...shape])])),
});

/** Names, shapes and starts of the weights that the network of a card asks for. */
export function networkNeeds(card: ModelCard): Iterable<Declaration> {
  const { scope, declared: found } = recordingScope('model');
  builderOf(card)(scope).predict(input('x', ['N', ...card.sample.shape]), input('sigma', []), conditionOf(card.sample));
  return found.values();
}
