/** @file Weights of a component's folder: which file holds them, whether they fit the network, and their values. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { input } from '../../../engine/graph/ops/leaf.ts';
import { ShapeError } from '../../../engine/graph/tensor.ts';
import { InputError } from '../../../engine/io/errors.ts';
import { fileFailure } from '../../../engine/io/failures.ts';
import { type SafetensorsFile, toFloat32 } from '../../../engine/io/safetensors.ts';
import { openWeightsFile } from '../../../engine/io/safetensors-shards.ts';
import type { Scope } from '../../../engine/train/network.ts';
import { type Declaration, recordingScope, storedWeight, type Weight, type Weights } from '../../../engine/train/weights.ts';
import type { DiffusersNetwork } from './networks.ts';

/** The name of weights in diffusers' folders. */
const STEM = 'diffusion_pytorch_model';
const FLOATS = ['F32', 'F16', 'BF16', 'F64'];
/** Tables that early checkpoints hold although they follow from the configuration. */
const COMPUTED = ['pos_embed.pos_embed'];

/** What a file in a folder is: whole weights or an index of shards, and of which variant ('' for none). */
function variantOf(file: string): string | undefined {
  const whole = new RegExp(`^${STEM}(?:\\.([^.]+))?\\.safetensors$`).exec(file);
  const index = new RegExp(`^${STEM}(?:\\.([^.]+))?\\.safetensors\\.index(?:\\.([^.]+))?\\.json$`).exec(file);
  if (whole) return whole[1] ?? '';
  return index ? (index[1] ?? index[2] ?? '') : undefined;
}

/**
 * The file of a component's weights: without a variant the one that has none, otherwise the only one that there is.
 * @throws InputError where there is none, or several variants and none is asked for
 */
export async function findWeights(folder: string, variant?: string): Promise<string> {
  const files = await readdir(folder).catch((error: unknown) => {
    throw fileFailure('read', folder, error);
  });
  const found = files.flatMap((file) => {
    const is = variantOf(file);
    return is === undefined ? [] : [{ file, variant: is }];
  });
  const names = [...new Set(found.map((f) => f.variant))];
  const wanted = variant ?? (names.includes('') || names.length !== 1 ? '' : names[0]!);
  const candidates = found.filter((f) => f.variant === wanted).map((f) => f.file);
  const [file] = candidates.sort((a, b) => Number(a.endsWith('.json')) - Number(b.endsWith('.json')));
  if (file !== undefined) return join(folder, file);
  const pickled = files.find((name) => /\.(bin|ckpt|pt)$/.test(name));
  const there =
    names.length > 0
      ? `there are the variants ${names.map((name) => name || '(none)').join(', ')}`
      : pickled
        ? `${pickled} is a pickle, which is not read; save the folder with safetensors`
        : `there are ${files.slice(0, 5).join(', ') || 'no files'}`;
  throw new InputError(`${folder}: no ${STEM}${wanted ? `.${wanted}` : ''}.safetensors; ${there}`);
}

/** Runs what builds a network; sizes in a configuration that do not fit each other are a mistake in it. */
export function asConfigured<T>(where: string, build: () => T): T {
  try {
    return build();
  } catch (error) {
    if (error instanceof ShapeError) throw new InputError(`${where}: its sizes do not fit each other: ${error.message}`, { cause: error });
    throw error;
  }
}

/** Names and shapes of all weights of a network, from a graph that never runs. */
export function declaredBy(where: string, network: DiffusersNetwork): ReadonlyMap<string, Declaration> {
  const { scope, declared } = recordingScope('network');
  const sides = [network.unit, network.unit]; // names and shapes of weights do not depend on the size of samples
  const conditions = Object.entries(network.conditions).map(([name, shape]) => [name, input(name, [1, ...shape])] as const);
  asConfigured(where, () =>
    network.raw(scope)(input('x', [1, network.channels, ...sides]), input('time', [1]), Object.fromEntries(conditions)),
  );
  return declared;
}
/** The same of anything else that is built under a scope. */
export function declaredWithin(where: string, build: (scope: Scope) => void): ReadonlyMap<string, Declaration> {
  const { scope, declared } = recordingScope('component');
  asConfigured(where, () => build(scope));
  return declared;
}

/** What attention layers were called in 2022. */
const EARLY: Readonly<Record<string, string>> = { query: 'to_q', key: 'to_k', value: 'to_v', proj_attn: 'to_out.0' };
const presentName = (name: string): string =>
  name.replace(/\.(query|key|value|proj_attn)\.(weight|bias)$/, (_, layer: string, part: string) => `.${EARLY[layer]}.${part}`);

/** Where the file holds each weight of the network. Errors: InputError naming the first three weights that are missing, too many, or of another shape or type. */
function located(
  where: string,
  file: Pick<SafetensorsFile, 'names' | 'info'>,
  declared: ReadonlyMap<string, Declaration>,
): ReadonlyMap<string, string> {
  const places = new Map(file.names.map((name) => [declared.has(name) ? name : presentName(name), name]));
  const show = (shape: readonly number[]): string => `[${shape.join(',')}]`;
  const faults = [...declared.values()].flatMap(({ name, shape }) => {
    const place = places.get(name);
    if (place === undefined) return [`${name} ${show(shape)} is missing`];
    const found = file.info(place);
    if (found.shape.join() !== shape.join()) return [`${place} is ${show(found.shape)}, should be ${show(shape)}`];
    return FLOATS.includes(found.dtype) ? [] : [`${place} is ${found.dtype}, should be one of ${FLOATS.join(', ')}`];
  });
  for (const [name, place] of places)
    if (!declared.has(name) && !COMPUTED.includes(name)) faults.push(`${place} ${show(file.info(place).shape)} is not part of the network`);
  if (faults.length > 0) {
    const more = faults.length > 3 ? `; and ${faults.length - 3} more` : '';
    throw new InputError(`${where}: the weights do not fit the configuration: ${faults.slice(0, 3).join('; ')}${more}`);
  }
  return places;
}

/**
 * The weights of a network out of a file or an index of shards, one tensor at a time.
 * @param asStored whether they stay in the bits of the file until they are looked at; otherwise they are float32
 * @throws InputError where they do not fit, before any is read
 */
export async function readComponentWeights(path: string, declared: ReadonlyMap<string, Declaration>, asStored = false): Promise<Weights> {
  const file = await openWeightsFile(path);
  try {
    const places = located(path, file, declared);
    const weights = new Map<string, Weight>();
    for (const { name, shape } of declared.values()) {
      const tensor = await file.read(places.get(name)!);
      weights.set(name, asStored ? storedWeight(tensor) : { shape, data: toFloat32(tensor) });
    }
    return weights;
  } finally {
    await file.close();
  }
}
