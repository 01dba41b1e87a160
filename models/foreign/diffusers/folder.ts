/** @file Folders that diffusers' `save_pretrained` writes: whole pipelines (`model_index.json`) and their parts. */
import '../../../engine/graph/fluent.ts';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { input } from '../../../engine/graph/ops/leaf.ts';
import type { Tensor } from '../../../engine/graph/tensor.ts';
import { InputError } from '../../../engine/io/errors.ts';
import { fileFailure } from '../../../engine/io/failures.ts';
import type { Scope } from '../../../engine/train/network.ts';
import type { Weights } from '../../../engine/train/weights.ts';
import { type Autoencoder, autoencoderKL, readAutoencoderKL } from './autoencoder-kl.ts';
import { autoencoderTiny, readAutoencoderTiny } from './autoencoder-tiny.ts';
import * as key from './config.ts';
import { classNameOf, type DiffusersNetwork, diffusersNetwork } from './networks.ts';
import { type ForeignSchedule, readScheduler } from './schedulers.ts';
import { declaredBy, declaredWithin, findWeights, readComponentWeights } from './weights.ts';

/** Python writes infinities and NaN as bare words; they become texts. */
const pythonWords = (text: string): string =>
  text.replace(/"(?:[^"\\]|\\.)*"|-?Infinity|NaN/g, (word) =>
    word.startsWith('"') ? word : JSON.stringify(word.toLowerCase().replace('infinity', 'inf')),
  );
/** A JSON file as Python writes it. Errors: InputError for a missing file or anything that is no JSON. */
export async function readConfigFile(path: string): Promise<unknown> {
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    throw fileFailure('read', path, error);
  });
  try {
    return JSON.parse(pythonWords(text));
  } catch (error) {
    throw new InputError(`${path}: is not JSON: ${(error as Error).message.replace(/\s+/g, ' ')}`);
  }
}

/** A part of a pipeline: which library's class it is, and its folder. */
export interface Component {
  readonly name: string;
  readonly library: string;
  readonly className: string;
  readonly folder: string;
}
export interface PipelineIndex {
  readonly className: string;
  /** Parts by name; those that are switched off are left out. */
  readonly components: Readonly<Record<string, Component>>;
  /** What else stands in the index. */
  readonly settings: Readonly<Record<string, unknown>>;
}

/** Reads `model_index.json`. Errors: InputError where it is missing or malformed. */
export async function readPipelineIndex(folder: string): Promise<PipelineIndex> {
  const path = join(folder, 'model_index.json');
  const index = key.record(path, await readConfigFile(path));
  const className = index['_class_name'];
  if (typeof className !== 'string') throw new InputError(`${path}: _class_name is ${key.shown(className)}; it must name the pipeline`);
  const components: Record<string, Component> = {};
  const settings: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(index).filter(([name]) => !name.startsWith('_'))) {
    if (!Array.isArray(value) || value.length !== 2 || !value.every((part) => part === null || typeof part === 'string'))
      settings[name] = value;
    else if (value.every((part) => typeof part === 'string')) {
      if (!/^[\w-]+$/.test(name)) throw new InputError(`${path}: the part ${key.shown(name)} is not the name of a folder`);
      components[name] = { name, library: String(value[0]), className: String(value[1]), folder: join(folder, name) };
    }
  }
  return { className, components, settings };
}

/** The configuration of a part, whose class must be that of the index. */
async function configOf({ name, className, folder }: Component, file: string): Promise<{ readonly path: string; readonly json: unknown }> {
  const path = join(folder, file);
  if (!(await stat(folder).catch(() => null))?.isDirectory())
    throw new InputError(`${folder}: no such folder, but model_index.json names ${name}`);
  const json = await readConfigFile(path);
  const found = key.record(path, json)['_class_name'];
  if (found !== className) throw new InputError(`${path}: _class_name is ${key.shown(found)}, but model_index.json says ${className}`);
  return { path, json };
}

export interface LoadOptions {
  /** Such as fp16; default: full precision, or the only one that there is. */
  readonly variant?: string;
  /** Whether the network's weights stay in the bits of their file until they are looked at, for whoever does so once. */
  readonly asStored?: boolean;
}
export interface LoadedNetwork {
  readonly network: DiffusersNetwork;
  readonly weights: Weights;
  /** The file that the weights came from. */
  readonly path: string;
}
/**
 * A diffusion network from its own folder: `config.json` and weights.
 * @throws InputError for a class or key that is not supported, a missing file, or weights that do not fit
 */
export async function loadNetwork(folder: string, { variant, asStored }: LoadOptions = {}): Promise<LoadedNetwork> {
  const where = join(folder, 'config.json');
  const network = diffusersNetwork(where, await readConfigFile(where));
  const declared = declaredBy(where, network);
  const path = await findWeights(folder, variant);
  return { network, weights: await readComponentWeights(path, declared, asStored), path };
}

export interface LoadedAutoencoder {
  readonly className: string;
  readonly latentChannels: number;
  /** Images [N,C,H,W] in −1…1 → the latents that the diffusion network sees; of a posterior the mean. */
  encode(scope: Scope, image: Tensor): Tensor;
  /** The reverse. */
  decode(scope: Scope, latent: Tensor): Tensor;
  readonly weights: Weights;
  readonly path: string;
}
type Half = (scope: Scope, x: Tensor) => Tensor;
interface DescribedAutoencoder {
  readonly channels: number;
  readonly latentChannels: number;
  readonly encode: Half;
  readonly decode: Half;
  /** latents = (z − shift)·scale */
  readonly scale: number;
  readonly shift: number;
}
const AUTOENCODERS: Readonly<Record<string, (where: string, json: unknown) => DescribedAutoencoder>> = {
  AutoencoderKL(where, json) {
    const c = readAutoencoderKL(where, json);
    if (c.latents_mean !== null || c.latents_std !== null)
      throw new InputError(`${where}: latents_mean and latents_std are not supported; only scaling_factor and shift_factor are`);
    const of = (scope: Scope): Autoencoder => autoencoderKL(scope, c);
    return {
      channels: c.in_channels,
      latentChannels: c.latent_channels,
      encode: (scope, image) => of(scope).encode(image).mean,
      decode: (scope, latent) => of(scope).decode(latent),
      scale: c.scaling_factor,
      shift: c.shift_factor ?? 0,
    };
  },
  AutoencoderTiny(where, json) {
    const c = readAutoencoderTiny(where, json);
    return {
      channels: c.in_channels,
      latentChannels: c.latent_channels,
      encode: (scope, image) => autoencoderTiny(scope, c).encode(image),
      decode: (scope, latent) => autoencoderTiny(scope, c).decode(latent),
      scale: c.scaling_factor,
      shift: c.shift_factor,
    };
  },
};
/**
 * An autoencoder from its own folder, with the scaling of its pipelines.
 * @throws InputError as `loadNetwork`
 */
export async function loadAutoencoder(folder: string, { variant }: LoadOptions = {}): Promise<LoadedAutoencoder> {
  const where = join(folder, 'config.json');
  const json = await readConfigFile(where);
  const className = classNameOf(where, json);
  if (!Object.hasOwn(AUTOENCODERS, className))
    throw new InputError(
      `${where}: class ${className} is not an autoencoder that is supported; supported are ${Object.keys(AUTOENCODERS).join(', ')}`,
    );
  const { channels, latentChannels, encode, decode, scale, shift } = AUTOENCODERS[className]!(where, json);
  const declared = declaredWithin(where, (scope) => {
    encode(scope, input('image', [1, channels, 64, 64]));
    decode(scope, input('latent', [1, latentChannels, 8, 8]));
  });
  const path = await findWeights(folder, variant);
  return {
    className,
    latentChannels,
    encode: (scope, image) => encode(scope, image).sub(shift).mul(scale),
    decode: (scope, latent) => decode(scope, latent.mul(1 / scale).add(shift)),
    weights: await readComponentWeights(path, declared),
    path,
  };
}

/** A scheduler from its own folder. Errors: InputError as `readScheduler`. */
export async function loadScheduler(folder: string): Promise<ForeignSchedule> {
  const path = join(folder, 'scheduler_config.json');
  return readScheduler(path, await readConfigFile(path));
}

/** Errors: InputError for a network and a scheduler that cannot have been trained together. */
export function checkTogether(where: string, network: DiffusersNetwork, schedule: ForeignSchedule): void {
  const { className } = network;
  if (network.flow && schedule.prediction !== 'flow_prediction')
    throw new InputError(`${where}: ${className} predicts the flow, but the scheduler ${schedule.className} says ${schedule.prediction}`);
  if (schedule.learnedVariance && !network.learnedVariance)
    throw new InputError(
      `${where}: the scheduler ${schedule.className} takes a learned variance, but ${className} gives ${network.channels} channels only`,
    );
  if (network.toldSigma)
    throw new InputError(
      `${where}: ${className} with time_embedding_type fourier is told σ, but the scheduler ${schedule.className} tells times`,
    );
}

export interface LoadedPipeline extends LoadedNetwork {
  readonly index: PipelineIndex;
  readonly schedule: ForeignSchedule;
  /** Null for networks of images. */
  readonly autoencoder: LoadedAutoencoder | null;
}
const NETWORK_PARTS = ['unet', 'transformer'];
/**
 * The diffusion network, scheduler and autoencoder of a whole pipeline. Text encoders are left to whoever encodes text: `index` says where they are.
 * @throws InputError naming the file: a missing part, a class that the index does not say, weights that do not fit, a scheduler that contradicts the network
 */
export async function loadPipeline(folder: string, options: LoadOptions = {}): Promise<LoadedPipeline> {
  const index = await readPipelineIndex(folder);
  const where = join(folder, 'model_index.json');
  const { components } = index;
  const part = NETWORK_PARTS.map((name) => components[name]).find((found) => found !== undefined);
  if (!part) throw new InputError(`${where}: the pipeline ${index.className} has no ${NETWORK_PARTS.join(' or ')}`);
  const scheduler = components['scheduler'];
  if (!scheduler) throw new InputError(`${where}: the pipeline ${index.className} has no scheduler`);
  const { path, json } = await configOf(scheduler, 'scheduler_config.json');
  const schedule = readScheduler(path, json);
  await configOf(part, 'config.json');
  const network = await loadNetwork(part.folder, options);
  checkTogether(where, network.network, schedule);
  const { vae } = components;
  if (vae) await configOf(vae, 'config.json');
  const autoencoder = vae ? await loadAutoencoder(vae.folder, options) : null;
  if (autoencoder && autoencoder.latentChannels !== network.network.channels)
    throw new InputError(
      `${where}: the autoencoder has ${autoencoder.latentChannels} latent channels, ${network.network.className} takes ${network.network.channels}`,
    );
  return { index, ...network, schedule, autoencoder };
}
