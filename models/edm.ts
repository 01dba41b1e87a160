/**
 * @file Networks of NVlabs/edm and edm2 by their class and constructor arguments, as checkpoints name them; their weights keep their names.
 * Karras et al. 2022, arXiv:2206.00364, table 1; Karras et al. 2024, arXiv:2312.02696.
 */
import type { Network, SampleType, Scope } from '../engine/train/network.ts';
import { OptionError, options, real, resolve, type Values, whole } from '../engine/train/options.ts';
import { type DhariwalUNetOptions, dhariwalOutputs, dhariwalUNetFamily, dhariwalUNetOptions, rawDhariwalUNet } from './dhariwal-unet.ts';
import { type Edm2UNetOptions, edm2UNetFamily, edm2UNetOptions, rawEdm2UNet } from './edm2-unet.ts';
import type { RawNetwork } from './precondition.ts';
import { iddpmLevels } from './precondition-table.ts';
import { rawSongUNet, type SongUNetOptions, songUNetFamily, songUNetOptions } from './song-unet.ts';

/** A network that a checkpoint describes. */
export interface EdmModel {
  /** The family and options by which `networkFamily` builds the same network. */
  readonly family: 'song-unet' | 'dhariwal-unet' | 'edm2-unet';
  readonly options: SongUNetOptions | DhariwalUNetOptions | Edm2UNetOptions;
  readonly sample: SampleType;
  /** Length of the augmentation label; 0 without. */
  readonly augmentations: number;
  /** Noise levels that the network was trained on. */
  readonly sigmaMin: number;
  readonly sigmaMax: number;
  /** What the network without preconditioning gives, without the batch axis. */
  readonly rawShape: readonly number[];
  /** The denoiser, and the network without preconditioning, on the same weights. */
  build(scope: Scope): { readonly network: Network; readonly raw: RawNetwork };
}
type Kwargs = Readonly<Record<string, unknown>>;

/** Arguments of a constructor, and what they make. */
interface Part<R> {
  readonly names: readonly string[];
  read(where: string, given: Kwargs): R;
}
type Shape = Parameters<typeof options>[0];
function part<const S extends Shape, R>(shape: S, make: (values: Values<ReturnType<typeof options<S>>>) => R): Part<R> {
  const schema = options(shape);
  const names = Object.keys(shape);
  return {
    names,
    read: (where, given) => make(resolve(where, schema, Object.fromEntries(names.filter((n) => n in given).map((n) => [n, given[n]])))),
  };
}

const image = {
  img_resolution: whole(32, 'height and width of the images', { min: 1 }),
  img_channels: whole(3, 'channels of the images', { min: 1 }),
  label_dim: whole(0, 'number of classes', { min: 0 }),
};
const samplePart = part(image, (a): SampleType => ({ shape: [a.img_channels, a.img_resolution, a.img_resolution], classes: a.label_dim }));
const level = (initial: number) => real(initial, 'noise level', { min: 0 });
const unlimited = (sigma: number): number => (sigma === Number.MAX_VALUE ? Number.POSITIVE_INFINITY : sigma);

/** What a preconditioning says of its network. */
interface Levels {
  readonly preconditioning: SongUNetOptions['preconditioning'] | 'iddpm';
  readonly sigmaMin: number;
  readonly sigmaMax: number;
  readonly sigmaData?: number;
  /** Entries of iDDPM's table, less one. */
  readonly levels?: number;
}
interface Preconditioning {
  /** The network that it holds by default. */
  readonly model: keyof typeof NETWORKS;
  /** What its constructor takes beside the network's own arguments. */
  readonly part: Part<Levels>;
}
/** The schedule of VP is that of every published network: another one is refused. */
const [BETA_D, BETA_MIN] = [19.9, 0.1];
/** σ(t) of the variance-preserving schedule. */
const vpSigma = (t: number): number => Math.sqrt(Math.expm1(0.5 * BETA_D * t ** 2 + BETA_MIN * t));

const PRECONDITIONINGS: Readonly<Record<string, Preconditioning>> = {
  EDMPrecond: {
    model: 'DhariwalUNet',
    part: part({ sigma_min: level(0), sigma_max: level(Number.MAX_VALUE), sigma_data: songUNetOptions.shape.sigmaData }, (a) => ({
      preconditioning: 'edm',
      sigmaMin: a.sigma_min,
      sigmaMax: unlimited(a.sigma_max),
      sigmaData: a.sigma_data,
    })),
  },
  VPPrecond: {
    model: 'SongUNet',
    part: part(
      {
        beta_d: real(BETA_D, 'slope of the schedule', { min: BETA_D, max: BETA_D }),
        beta_min: real(BETA_MIN, 'start of the schedule', { min: BETA_MIN, max: BETA_MIN }),
        M: whole(1000, 'steps of the schedule', { min: 1000, max: 1000 }),
        epsilon_t: real(1e-5, 'smallest time', { min: 0, max: 1 }),
      },
      (a) => ({ preconditioning: 'vp', sigmaMin: vpSigma(a.epsilon_t), sigmaMax: vpSigma(1) }),
    ),
  },
  VEPrecond: {
    model: 'SongUNet',
    part: part({ sigma_min: level(0.02), sigma_max: level(100) }, (a) => ({
      preconditioning: 've',
      sigmaMin: a.sigma_min,
      sigmaMax: a.sigma_max,
    })),
  },
  iDDPMPrecond: {
    model: 'DhariwalUNet',
    part: part(
      {
        C_1: real(0.001, 'largest step of the levels at low noise', { min: 0, max: 1 }),
        C_2: real(0.008, 'shift of the levels at high noise', { min: 0, max: 1 }),
        M: dhariwalUNetOptions.shape.iddpmLevels,
      },
      (a) => {
        const levels = iddpmLevels({ M: a.M, C1: a.C_1, C2: a.C_2 });
        return { preconditioning: 'iddpm', sigmaMin: levels[1]!, sigmaMax: levels.at(-1)!, levels: a.M };
      },
    ),
  },
};

type Made = Pick<EdmModel, 'family' | 'options' | 'rawShape' | 'augmentations' | 'build'>;
/** What a network is, inside its preconditioning. */
type Make = (where: string, levels: Levels, sample: SampleType) => Made;
const song = songUNetOptions.shape;
const adm = dhariwalUNetOptions.shape;
const NETWORKS = {
  SongUNet: part(
    {
      model_channels: song.channels,
      channel_mult: song.multipliers,
      channel_mult_emb: song.embeddingMultiplier,
      num_blocks: song.blocks,
      attn_resolutions: song.attention,
      embedding_type: song.embedding,
      channel_mult_noise: song.noiseMultiplier,
      encoder_type: song.encoder,
      decoder_type: song.decoder,
      resample_filter: song.filter,
      augment_dim: song.augmentations,
    },
    (a): Make =>
      (where, { preconditioning, sigmaData = 0.5 }, sample) => {
        if (preconditioning === 'iddpm') throw new OptionError(`${where}: model_type SongUNet is not supported; only DhariwalUNet is`);
        const of: SongUNetOptions = {
          channels: a.model_channels,
          multipliers: a.channel_mult,
          embeddingMultiplier: a.channel_mult_emb,
          blocks: a.num_blocks,
          attention: a.attn_resolutions,
          heads: 1, // SongUNet never has more
          embedding: a.embedding_type,
          noiseMultiplier: a.channel_mult_noise,
          encoder: a.encoder_type,
          decoder: a.decoder_type,
          filter: a.resample_filter,
          patch: 1,
          augmentations: a.augment_dim,
          preconditioning,
          sigmaData,
        };
        const build: EdmModel['build'] = (scope) => ({
          network: songUNetFamily.build(scope, of, sample),
          raw: rawSongUNet(scope, of, sample),
        });
        return { family: 'song-unet', options: of, augmentations: of.augmentations, rawShape: sample.shape, build };
      },
  ),
  DhariwalUNet: part(
    {
      model_channels: adm.channels,
      channel_mult: adm.multipliers,
      channel_mult_emb: adm.embeddingMultiplier,
      num_blocks: adm.blocks,
      attn_resolutions: adm.attention,
      augment_dim: adm.augmentations,
    },
    (a): Make =>
      (_, { preconditioning, sigmaData = 0.5, levels = 1000 }, sample) => {
        const of: DhariwalUNetOptions = {
          channels: a.model_channels,
          multipliers: a.channel_mult,
          embeddingMultiplier: a.channel_mult_emb,
          blocks: a.num_blocks,
          attention: a.attn_resolutions,
          augmentations: a.augment_dim,
          preconditioning,
          sigmaData,
          iddpmLevels: levels,
        };
        const build: EdmModel['build'] = (scope) => ({
          network: dhariwalUNetFamily.build(scope, of, sample),
          raw: rawDhariwalUNet(scope, of, sample),
        });
        const rawShape = [dhariwalOutputs(of, sample), ...sample.shape.slice(1)];
        return { family: 'dhariwal-unet', options: of, augmentations: of.augmentations, rawShape, build };
      },
  ),
};

const wide = edm2UNetOptions.shape;
/** Arguments of edm2's Precond and of its network. */
const edm2Arguments = {
  ...image,
  sigma_data: wide.sigmaData,
  logvar_channels: wide.uncertaintyChannels,
  model_channels: wide.channels,
  channel_mult: wide.multipliers,
  channel_mult_noise: wide.noiseMultiplier,
  channel_mult_emb: wide.embeddingMultiplier,
  num_blocks: wide.blocks,
  attn_resolutions: wide.attention,
  label_balance: wide.labelBalance,
  concat_balance: wide.concatBalance,
  resample_filter: wide.filter,
  channels_per_head: wide.headChannels,
  res_balance: wide.residualBalance,
  attn_balance: wide.attentionBalance,
  clip_act: wide.activationClip,
};
/** edm2's Precond, whose network has one kind. It was trained on all levels. */
function edm2Model(where: string, given: Kwargs): EdmModel {
  const a = resolve(where, options(edm2Arguments), given);
  const of: Edm2UNetOptions = {
    channels: a.model_channels,
    multipliers: a.channel_mult,
    noiseMultiplier: a.channel_mult_noise,
    embeddingMultiplier: a.channel_mult_emb,
    blocks: a.num_blocks,
    attention: a.attn_resolutions,
    headChannels: a.channels_per_head,
    labelBalance: a.label_balance,
    concatBalance: a.concat_balance,
    residualBalance: a.res_balance,
    attentionBalance: a.attn_balance,
    activationClip: a.clip_act,
    filter: a.resample_filter,
    uncertaintyChannels: a.logvar_channels,
    sigmaData: a.sigma_data,
  };
  const sample = samplePart.read(where, given);
  const build: EdmModel['build'] = (scope) => ({ network: edm2UNetFamily.build(scope, of, sample), raw: rawEdm2UNet(scope, of, sample) });
  return {
    family: 'edm2-unet',
    options: of,
    sample,
    augmentations: 0,
    sigmaMin: 0,
    sigmaMax: Number.POSITIVE_INFINITY,
    rawShape: sample.shape,
    build,
  };
}
const EDM2 = 'Precond';

/** They matter while EDM trains, or choose float16 on a GPU: the function that is computed is the same without them. */
const IDLE = ['dropout', 'label_dropout', 'use_fp16'];

/** The arguments that count. @throws OptionError for unknown ones (all are named) and missing ones */
function checkArguments(className: string, given: Kwargs, takes: readonly string[], shown: readonly string[]): Kwargs {
  const names = Object.keys(given).filter((name) => !IDLE.includes(name));
  const unknown = names.filter((name) => !takes.includes(name));
  if (unknown.length > 0)
    throw new OptionError(`${className}: unknown arguments ${unknown.join(', ')}; it takes ${[...shown, ...takes, ...IDLE].join(', ')}`);
  const missing = ['img_resolution', 'img_channels'].filter((name) => !(name in given));
  if (missing.length > 0) throw new OptionError(`${className}: the arguments ${missing.join(', ')} are missing`);
  return Object.fromEntries(names.map((name) => [name, given[name]]));
}

/**
 * The network that a checkpoint of NVlabs/edm or edm2 describes by class and `init_kwargs`. An argument that is null counts as not given, but for
 * edm2's `clip_act`, where it means no clipping.
 * @throws OptionError for other classes and networks, for unknown arguments (all are named), missing ones and wrong values
 */
export function edmModel(className: string, kwargs: Kwargs): EdmModel {
  const given = Object.fromEntries(Object.entries(kwargs).filter(([, value]) => value !== null));
  if (className === EDM2) {
    const clip = kwargs['clip_act'] === null ? { clip_act: 0 } : {};
    return edm2Model(className, checkArguments(className, { ...given, ...clip }, Object.keys(edm2Arguments), []));
  }
  const kind = Object.hasOwn(PRECONDITIONINGS, className) ? PRECONDITIONINGS[className] : undefined;
  if (!kind) {
    const names = [...Object.keys(PRECONDITIONINGS), EDM2];
    throw new OptionError(`edm: class ${className} is not supported; supported are ${names.join(', ')}`);
  }
  const { model_type: model = kind.model, ...rest } = given;
  if (typeof model !== 'string' || !Object.hasOwn(NETWORKS, model))
    throw new OptionError(`${className}: model_type ${String(model)} is not supported; supported are ${Object.keys(NETWORKS).join(', ')}`);
  const network: Part<Make> = NETWORKS[model as keyof typeof NETWORKS];
  const takes = [...samplePart.names, ...network.names, ...kind.part.names];
  const values = checkArguments(className, rest, takes, ['model_type']);
  const [sample, levels] = [samplePart.read(className, values), kind.part.read(className, values)];
  const { sigmaMin, sigmaMax } = levels;
  return { ...network.read(className, values)(className, levels, sample), sample, sigmaMin, sigmaMax };
}
