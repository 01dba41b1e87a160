/** @file Teachers that were trained elsewhere, as they are brought: folders of diffusers and ONNX files become models of ours. */
import { readFile, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { input } from '../../engine/graph/ops/leaf.ts';
import { InputError } from '../../engine/io/errors.ts';
import { fileFailure } from '../../engine/io/failures.ts';
import { nearest } from '../../engine/io/nearest.ts';
import type { SampleType } from '../../engine/train/network.ts';
import { constantScope, type Weights } from '../../engine/train/weights.ts';
import { checkTogether, type LoadedAutoencoder, loadNetwork, loadPipeline, readConfigFile } from '../../models/foreign/diffusers/folder.ts';
import type { DiffusersNetwork } from '../../models/foreign/diffusers/networks.ts';
import { type ForeignSchedule, readScheduler } from '../../models/foreign/diffusers/schedulers.ts';
import { loadEdm } from '../../models/foreign/edm-checkpoint.ts';
import { denoiserOf, type OnnxDenoiserOptions } from '../../models/foreign/onnx/denoiser.ts';
import { withoutWeights } from '../../models/foreign/onnx/family.ts';
import { importOnnx } from '../../models/foreign/onnx/import.ts';
import { type DenoiserKind, denoiserKinds, type ScheduleName, scheduleNames } from '../../models/foreign/onnx/schedules.ts';
import { checkCard, type ModelCard } from './card.ts';
import type { Model } from './model.ts';
import { textsOf } from './texts.ts';

/** What a path does not say of a network; written behind it as `:kind=eps,schedule=vp`. */
export interface ForeignOptions {
  /** What the network predicts. */
  readonly kind?: DenoiserKind;
  /** The process that it was trained on. */
  readonly schedule?: ScheduleName;
  /** Such as fp16, for folders that hold several precisions. */
  readonly variant?: string;
  /** Side of the samples, for networks that take any. */
  readonly size?: number;
  /** For ONNX files that take class numbers: how many there are, and which stands for none. */
  readonly classes?: number;
  readonly nullClass?: number;
  /** ONNX initializers that are weights, by pattern; default all of them. */
  readonly trainable?: readonly string[];
  /** What guidance pushes away from; default the empty text. */
  readonly negativePrompt?: string;
  /** Files of adapters that are added to the weights, with `|` between them. */
  readonly lora?: readonly string[];
}
const WORDS = { kind: denoiserKinds, schedule: scheduleNames } as const;
const NUMBERS = ['size', 'classes', 'nullClass'];
const NAMES = ['kind', 'schedule', 'variant', ...NUMBERS, 'trainable', 'negativePrompt', 'lora'];

/** A path and what is said behind it: `denoiser.onnx:kind=eps,schedule=vp`. Errors: names and values that do not exist. */
export function splitSpec(spec: string): { readonly path: string; readonly options: ForeignOptions } {
  const match = /^(.+?):(\w+=.*)$/s.exec(spec);
  if (!match) return { path: spec, options: {} };
  const entries = match[2]!
    .split(/,(?=\w+=)/)
    .map((part) => [part.slice(0, part.indexOf('=')), part.slice(part.indexOf('=') + 1)] as const);
  return { path: match[1]!, options: Object.fromEntries(entries.map(([name, value]) => [name, readValue(name, value)])) as ForeignOptions };
}
function readValue(name: string, value: string): unknown {
  if (!NAMES.includes(name)) {
    const near = nearest(name, NAMES);
    throw new InputError(
      `model: ${name} is nothing that can be said of a model${near ? `; did you mean ${near}?` : `; there are ${NAMES.join(', ')}`}`,
    );
  }
  const words: readonly string[] | undefined = Object.hasOwn(WORDS, name) ? WORDS[name as keyof typeof WORDS] : undefined;
  if (words && !words.includes(value)) throw new InputError(`${name}: ${value || 'nothing'} is not one of ${words.join(', ')}`);
  if (name === 'trainable' || name === 'lora') return value.split('|');
  if (!NUMBERS.includes(name)) return value;
  const number = Number(value);
  if (value === '' || !Number.isInteger(number) || number < 0) throw new InputError(`${name}: ${value || 'nothing'} is not a whole number`);
  return number;
}

const isFile = (path: string): Promise<boolean> =>
  stat(path).then(
    (s) => s.isFile(),
    () => false,
  );

/**
 * Opens a model that was not made here; null where the path is something else. Errors: whatever is wrong with it.
 * @param asStored whether weights of diffusers' folders stay in the bits of their files until they are looked at
 */
export async function openForeign(path: string, options: ForeignOptions, asStored = false): Promise<Model | null> {
  if (path.endsWith('.onnx') && (options.kind || options.schedule)) return openOnnx(path, options);
  if (path.endsWith('.pkl') && (await isFile(path))) return openEdm(path, options);
  if (await isFile(join(path, 'model_index.json'))) return openPipeline(path, options, asStored);
  if ((await isFile(join(path, 'config.json'))) && !(await isFile(join(path, 'model.safetensors')))) {
    const json = await readConfigFile(join(path, 'config.json'));
    if (typeof json === 'object' && json !== null && '_class_name' in json) return openNetwork(path, json, options, asStored);
  }
  return null;
}

/** No level above this is asked for: a flow's and a zero terminal signal's are pure noise, which every lower one that is high enough stands for. */
const HIGHEST = 1000;
const LOWEST = 1e-3;
const rangeOf = ({ sigmaMin, sigmaMax }: { readonly sigmaMin: number; readonly sigmaMax: number }): ModelCard['schedule'] => ({
  sigmaMin: Math.max(sigmaMin, LOWEST),
  sigmaMax: Math.min(sigmaMax, HIGHEST),
  rho: 7,
});

const cardOf = (own: Pick<ModelCard, 'network' | 'networkOptions' | 'sample' | 'schedule'> & Partial<ModelCard>): ModelCard =>
  checkCard('import', {
    format: 1,
    levels: null,
    method: 'import',
    data: '',
    seed: 0,
    step: 0,
    nimg: 0,
    average: null,
    licence: 'that of the teacher that it was made from',
    ...own,
  });

function sampleOf(where: string, { channels, sides, classes, unit }: DiffusersNetwork, { size }: ForeignOptions): SampleType {
  const [height, width] = size === undefined ? (sides ?? [0, 0]) : [size, size];
  if (height === 0) throw new InputError(`${where}: does not say how large its samples are; add :size=… behind the path`);
  if (height % unit !== 0 || width % unit !== 0)
    throw new InputError(`${where}: samples of ${height}x${width} do not divide by ${unit}; give another size`);
  return { shape: [channels, height, width], classes };
}

/** Standard deviations of latents and of images in −1…1, as the samplers' and methods' scalings take them. */
const [LATENT_DEVIATION, IMAGE_DEVIATION] = [1, 0.5];

async function openPipeline(folder: string, options: ForeignOptions, asStored: boolean): Promise<Model> {
  const pipeline = await loadPipeline(folder, { asStored, ...(options.variant ? { variant: options.variant } : {}) });
  const { index, network, schedule, autoencoder } = pipeline;
  const part = index.components['unet'] ?? index.components['transformer']!;
  const where = join(part.folder, 'config.json');
  const sample = sampleOf(where, network, options);
  const image = autoencoder ? imageOf(autoencoder, sample) : sample.shape;
  const texts = await textsOf({ folder, index, network, sample, image, negativePrompt: options.negativePrompt ?? '' });
  const parts = [...(autoencoder ? ['vae'] : []), ...(texts?.parts ?? [])];
  const card = cardOf({
    network: 'diffusers',
    networkOptions: {
      config: JSON.stringify(await readConfigFile(where)),
      scheduler: JSON.stringify(await readConfigFile(join(folder, 'scheduler', 'scheduler_config.json'))),
      nulls: JSON.stringify(texts?.nullShapes ?? {}),
      sigmaData: autoencoder ? LATENT_DEVIATION : IMAGE_DEVIATION,
    },
    sample: { ...sample, ...(texts ? { conditions: texts.conditions } : {}) },
    schedule: rangeOf(schedule),
    ...(autoencoder ? { image } : {}),
    ...(texts ? { text: texts.recipe } : {}),
    ...(parts.length > 0 ? { parts } : {}),
  });
  return { card, weights: new Map([...pipeline.weights, ...(texts?.nulls ?? [])]), source: folder, folder };
}

/** The shape of the image that a latent stands for. */
function imageOf({ decode, weights }: LoadedAutoencoder, { shape }: SampleType): readonly number[] {
  return decode(constantScope(weights), input('latent', [1, ...shape]))
    .shape.slice(1)
    .map(Number);
}

/** A network by itself, of which the path must say on which schedule it was trained. */
async function openNetwork(folder: string, json: object, options: ForeignOptions, asStored: boolean): Promise<Model> {
  const { network, weights } = await loadNetwork(folder, { asStored, ...(options.variant ? { variant: options.variant } : {}) });
  const where = join(folder, 'config.json');
  const needed = Object.keys(network.conditions).filter((name) => name !== 'label' && name !== 'mask');
  if (needed.length > 0)
    throw new InputError(
      `${folder}: ${network.className} is conditioned on ${needed.join(', ')}; give its whole pipeline, whose folder holds model_index.json`,
    );
  const scheduler = schedulerOf(folder, network, options);
  const schedule = readScheduler('schedule', scheduler);
  checkTogether(where, network, schedule);
  const card = cardOf({
    network: 'diffusers',
    networkOptions: { config: JSON.stringify(json), scheduler: JSON.stringify(scheduler), sigmaData: IMAGE_DEVIATION },
    sample: sampleOf(where, network, options),
    schedule: rangeOf(schedule),
  });
  return { card, weights, source: folder };
}

const PREDICTIONS: Readonly<Partial<Record<DenoiserKind, ForeignSchedule['prediction']>>> = {
  eps: 'epsilon',
  v: 'v_prediction',
  x0: 'sample',
};
const BETAS: Readonly<Partial<Record<ScheduleName, Readonly<Record<string, unknown>>>>> = {
  linear: { beta_schedule: 'linear', beta_start: 0.0001, beta_end: 0.02 },
  'scaled-linear': { beta_schedule: 'scaled_linear', beta_start: 0.00085, beta_end: 0.012 },
  cosine: { beta_schedule: 'squaredcos_cap_v2' },
};
/** The scheduler of a network that came without one. */
function schedulerOf(folder: string, { flow }: DiffusersNetwork, { kind, schedule }: ForeignOptions): Readonly<Record<string, unknown>> {
  if (flow && kind === undefined && schedule === undefined) return { _class_name: 'FlowMatchEulerDiscreteScheduler' };
  if (kind === 'flow' && schedule === 'flow') return { _class_name: 'FlowMatchEulerDiscreteScheduler' };
  const [prediction, betas] = [kind && PREDICTIONS[kind], schedule && BETAS[schedule]];
  if (!prediction || !betas)
    throw new InputError(
      `${folder}: a network without a scheduler; say what it predicts and on which schedule, such as ${folder}:kind=eps,schedule=linear (kinds: ${Object.keys(PREDICTIONS).join(', ')}; schedules: ${Object.keys(BETAS).join(', ')}; or kind=flow,schedule=flow)`,
    );
  return { _class_name: 'DDPMScheduler', prediction_type: prediction, clip_sample: false, ...betas };
}

async function openOnnx(path: string, options: ForeignOptions): Promise<Model> {
  const { kind, schedule } = options;
  if (!kind || !schedule)
    throw new InputError(
      `${path}: say what the network predicts and on which schedule: kind (${denoiserKinds.join(', ')}) and schedule (${scheduleNames.join(', ')})`,
    );
  const bytes = await readFile(path).catch((error: unknown) => {
    throw fileFailure('read', path, error);
  });
  const { classes, nullClass, size, trainable = ['*'] } = options;
  const file = await importOnnx(path, { trainable, ...(size ? { sizes: { height: size, width: size } } : {}) });
  const denoiser: OnnxDenoiserOptions = {
    kind,
    schedule,
    ...(classes === undefined ? {} : { classes }),
    ...(nullClass === undefined ? {} : { nullClass }),
  };
  const found = denoiserOf(path, file, denoiser);
  const others = Object.keys(found.conditions);
  if (others.length > 0)
    throw new InputError(
      `${path}: takes ${others.join(', ')} beside sample, time and class; such inputs are not supported yet: fix their values in the file`,
    );
  const card = cardOf({
    network: 'onnx',
    networkOptions: {
      graph: withoutWeights(bytes, found.weights),
      weights: JSON.stringify(Object.fromEntries([...found.weights].map(([name, { shape }]) => [name, shape]))),
      denoiser: JSON.stringify(denoiser),
    },
    sample: found.sample,
    schedule: rangeOf(found),
  });
  return { card, weights: found.weights as Weights, source: path };
}

/** What EDM's published configurations sample between, where a network knows no bounds. */
const EDM_RANGE = { sigmaMin: 0.002, sigmaMax: 80 };
/** A snapshot of NVlabs/edm or edm2. It says all of itself. */
async function openEdm(path: string, options: ForeignOptions): Promise<Model> {
  const idle = Object.keys(options)[0];
  if (idle) throw new InputError(`${path}: says itself what it is; leave ${idle} out`);
  const { model, weights } = await loadEdm(path);
  const { sigmaMin, sigmaMax } = model;
  const card = cardOf({
    network: model.family,
    networkOptions: { ...model.options },
    sample: model.sample,
    schedule: rangeOf({ sigmaMin: sigmaMin || EDM_RANGE.sigmaMin, sigmaMax: Number.isFinite(sigmaMax) ? sigmaMax : EDM_RANGE.sigmaMax }),
  });
  return { card, weights, source: path };
}

/** The default name of a teacher's folder: the name of what was brought. */
export const nameOf = (path: string): string => basename(path.replace(/\/+$/, '')).replace(/\.(onnx|pkl|safetensors)$/, '');
