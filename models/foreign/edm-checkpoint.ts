/** @file Checkpoints of NVlabs/edm and edm2: the snapshot that their training writes (.pkl), which names class, arguments and weights. */

import { input } from '../../engine/graph/ops/leaf.ts';
import { InputError } from '../../engine/io/errors.ts';
import { toFloat32 } from '../../engine/io/safetensors.ts';
import { isObject, isTensor, moduleTensors, openTorch, type PickleObject, type PickleValue, readTensor } from '../../engine/io/torch.ts';
import { checkWeights, recordingScope, type Weight, type Weights } from '../../engine/train/weights.ts';
import { type EdmModel, edmModel } from '../edm.ts';

/** A network with its weights. */
export interface EdmCheckpoint {
  /** Path of the file. */
  readonly source: string;
  /** Class of the preconditioning, such as EDMPrecond. */
  readonly className: string;
  /** Arguments of its constructor. */
  readonly kwargs: Readonly<Record<string, unknown>>;
  /** Family and options, sample type and labels, noise levels, and the functions that build it. */
  readonly model: EdmModel;
  /** In float32, by EDM's names. */
  readonly weights: Weights;
}

/** Where snapshots keep the network, in order of preference: the average is what is published. */
const KEYS = ['ema', 'net', 'model', 'G_ema'];

/** A value as JSON would have it: dictionaries are objects. */
function plain(value: PickleValue): unknown {
  if (value instanceof Map) return Object.fromEntries([...value].map(([key, v]) => [String(key), plain(v)]));
  return Array.isArray(value) ? value.map(plain) : value;
}

/** The network among what is pickled. */
function networkOf(path: string, value: PickleValue): PickleObject {
  if (isObject(value)) return value;
  const found = value instanceof Map ? KEYS.map((key) => value.get(key)).find((v) => isObject(v)) : undefined;
  if (isObject(found)) return found;
  throw new InputError(`${path}: no network in it; a snapshot of NVlabs/edm or edm2 holds one under 'ema' (weights alone take --network)`);
}

/**
 * Reads a snapshot. Nothing in it is executed: the source text that it carries is passed over.
 * @throws InputError where the file cannot be read, holds other functions, no network or one that is not supported, or other weights than its network has
 */
export async function loadEdm(path: string): Promise<EdmCheckpoint> {
  const file = await openTorch(path);
  try {
    const network = networkOf(path, file.value);
    const { className, state } = network;
    const given = state instanceof Map ? plain(state.get('_init_kwargs') ?? null) : null;
    if (typeof given !== 'object' || given === null || Array.isArray(given))
      throw new InputError(`${path}: the network ${className} does not say with which arguments it was made (_init_kwargs)`);
    const args = state instanceof Map ? state.get('_init_args') : undefined;
    if (Array.isArray(args) && args.length > 0)
      throw new InputError(`${path}: ${className} was made with arguments that have no name; only named ones are read`);
    const kwargs = given as Readonly<Record<string, unknown>>;
    const model = modelOf(path, className, kwargs);
    const weights = new Map<string, Weight>();
    for (const [name, tensor] of moduleTensors(path, network)) {
      const stored = isTensor(tensor) ? await readTensor(tensor) : tensor.tensor;
      weights.set(name, { shape: stored.shape, data: toFloat32(stored) });
    }
    checkEdmWeights(path, model, weights);
    return { source: path, className, kwargs, model, weights };
  } finally {
    await file.close();
  }
}

/** Errors carry the file. */
function modelOf(path: string, className: string, kwargs: Readonly<Record<string, unknown>>): EdmModel {
  try {
    return edmModel(className, kwargs);
  } catch (error) {
    if (error instanceof InputError) throw new InputError(`${path}: ${error.message}`, { cause: error });
    throw error;
  }
}

/** @throws InputError for weights that do not fit: the first three are named */
export function checkEdmWeights(where: string, { sample, build }: EdmModel, weights: Weights): void {
  const { scope, declared } = recordingScope('net');
  const one = sample.shape.map(() => 1);
  build(scope).network.denoise(input('x', [1, ...sample.shape]), input('sigma', [1, ...one]));
  checkWeights(where, declared.values(), weights);
}
