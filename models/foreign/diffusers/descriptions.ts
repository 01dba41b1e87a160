/** @file The classes of diffusion networks: how each is read and built, what it is conditioned on, and its own inputs from our conditions. */
import { cast, mul, sub } from '../../../engine/graph/ops/elementwise.ts';
import { constant } from '../../../engine/graph/ops/leaf.ts';
import { concat } from '../../../engine/graph/ops/movement.ts';
import { reduceSum } from '../../../engine/graph/ops/reduce.ts';
import { fixed, type Tensor } from '../../../engine/graph/tensor.ts';
import type { Condition, Scope } from '../../../engine/train/network.ts';
import type { RawPrediction } from '../../precondition.ts';
import * as key from './config.ts';
import { type DiTConfig, ditTransformer, readDiT } from './dit.ts';
import { type FluxConfig, fluxTransformer, readFlux } from './flux.ts';
import { type Inputs, waves } from './layers.ts';
import { imagePlaces, packed } from './packing.ts';
import { type PixArtConfig, pixartTransformer, readPixArt } from './pixart.ts';
import { readSana, type SanaConfig, sanaTransformer } from './sana.ts';
import { readSD3, type SD3Config, sd3Transformer } from './sd3.ts';
import { readUNet2D, type UNet2DConfig, unet2d } from './unet2d.ts';
import { readUNet2DCondition, type UNet2DConditionConfig, unet2dCondition } from './unet2d-condition.ts';

/** What a configuration says of the samples and conditions of its network. */
export interface NetworkFacts {
  /** Channels of the samples, and their height and width where the configuration says. */
  readonly channels: number;
  readonly sides: readonly [number, number] | null;
  /** Number of classes; 0 without. */
  readonly classes: number;
  /** The conditions that it looks at and their shapes for one sample; the length of `text` and `mask` may be another. */
  readonly conditions: Readonly<Record<string, readonly number[]>>;
  /** What height and width must be a multiple of; smaller samples than this have no meaning. */
  readonly unit: number;
  /** Whether it was trained for a flow, whatever its scheduler says. */
  readonly flow: boolean;
  /** Whether it is told σ itself instead of a time. */
  readonly toldSigma: boolean;
  /** Whether it gives a variance beside its prediction. */
  readonly learnedVariance: boolean;
}

const present = (entries: Readonly<Record<string, Tensor | undefined>>): Inputs =>
  Object.fromEntries(Object.entries(entries).filter(([, value]) => value !== undefined)) as Inputs;

export interface Described<C> {
  readonly read: (where: string, json: unknown) => C;
  readonly build: (scope: Scope, c: C) => (inputs: Inputs) => RawPrediction;
  readonly facts: (c: C) => NetworkFacts;
  /** The class's own inputs from ours. */
  readonly inputs: (x: Tensor, time: Tensor, condition: Condition, c: C) => Inputs;
}

/** Weights over the classes and the null class, which is what they lack to a sum of 1. */
function withNull(label: Tensor | undefined, classes: number): Tensor {
  if (!label)
    return constant(
      Float64Array.from({ length: classes + 1 }, (_, i) => Number(i === classes)),
      [1, classes + 1],
    );
  return concat([label, sub(1, reduceSum(label, [1]))], 1);
}

/** Text that cross attention is turned away from, and how far. */
const negative = ({ negativeText, negativeMask, negativeStrength }: Condition): Record<string, Tensor | undefined> => ({
  negative_hidden_states: negativeText,
  negative_attention_mask: negativeMask,
  negative_strength: negativeStrength,
});

/** A usual number of text tokens. */
const WORDS = 77;
const PLAIN = { flow: false, toldSigma: false, learnedVariance: false };
/** The class as weights over the classes, one number, or a vector. */
function labelOf(type: string | null, classes: number | null, width: number): Readonly<Record<string, readonly number[]>> {
  if (type === null) return classes === null ? {} : { label: [classes] };
  return { label: type === 'timestep' ? [] : [width] };
}
const timeWidth = (c: UNet2DConditionConfig): number =>
  c.time_embedding_dim ?? c.block_out_channels[0]! * (c.time_embedding_type === 'fourier' ? 2 : 4);
/** Six sizes (original, crop, target), or five where the widths leave no pooled text for six. */
function pooledAndSizes(c: UNet2DConditionConfig): Readonly<Record<string, readonly number[]>> {
  const [all, each] = [c.projection_class_embeddings_input_dim!, c.addition_time_embed_dim!];
  const sizes = all > 6 * each ? 6 : Math.max(1, Math.ceil(all / each) - 1);
  return { pooled: [all - sizes * each], sizes: [sizes] };
}

const describe = <C>(d: Described<C>): Described<C> => d;
const UNET2D = describe<UNet2DConfig>({
  read: readUNet2D,
  build: unet2d,
  facts: (c) => ({
    channels: c.in_channels,
    sides: key.sides(c.sample_size),
    classes: c.num_class_embeds ?? 0,
    conditions: labelOf(c.class_embed_type, c.num_class_embeds, c.time_embedding_dim ?? 4 * c.block_out_channels[0]!),
    ...PLAIN,
    unit: 2 ** (c.block_out_channels.length - 1),
    toldSigma: c.time_embedding_type === 'fourier',
    learnedVariance: c.out_channels === 2 * c.in_channels,
  }),
  inputs: (sample, timestep, { label }) => present({ sample, timestep, class_labels: label }),
});
const CONDITION = describe<UNet2DConditionConfig>({
  read: readUNet2DCondition,
  build: unet2dCondition,
  facts: (c) => ({
    channels: c.in_channels,
    sides: key.sides(c.sample_size),
    classes: c.num_class_embeds ?? 0,
    conditions: {
      text: [WORDS, c.encoder_hid_dim ?? [c.cross_attention_dim].flat()[0]!],
      mask: [WORDS],
      ...labelOf(c.class_embed_type, c.num_class_embeds, c.projection_class_embeddings_input_dim ?? timeWidth(c)),
      ...(c.addition_embed_type === 'text_time' ? pooledAndSizes(c) : {}),
      ...(c.time_cond_proj_dim === null ? {} : { guidance: [] }),
    },
    ...PLAIN,
    unit: 2 ** (c.block_out_channels.length - 1),
    toldSigma: c.time_embedding_type === 'fourier',
    learnedVariance: c.out_channels === 2 * c.in_channels,
  }),
  inputs: (sample, timestep, { text, mask, label, pooled, sizes, guidance, ...more }, c) =>
    present({
      sample,
      timestep,
      encoder_hidden_states: text,
      encoder_attention_mask: mask,
      ...negative(more),
      class_labels: label,
      'added_cond_kwargs.text_embeds': pooled,
      'added_cond_kwargs.time_ids': sizes,
      // Latent consistency models are told of the scale that they were distilled with.
      timestep_cond:
        guidance && c.time_cond_proj_dim !== null ? waves(mul(sub(guidance, 1), 1000), c.time_cond_proj_dim, { shift: 1 }) : undefined,
    }),
});
const DIT = describe<DiTConfig>({
  read: readDiT,
  build: ditTransformer,
  facts: (c) => ({
    channels: c.in_channels,
    sides: [c.sample_size, c.sample_size],
    classes: c.num_embeds_ada_norm,
    conditions: { label: [c.num_embeds_ada_norm] },
    unit: c.patch_size,
    ...PLAIN,
    learnedVariance: c.out_channels === 2 * c.in_channels,
  }),
  inputs: (hidden_states, timestep, { label }, c) => ({
    hidden_states,
    timestep,
    class_labels: withNull(label, c.num_embeds_ada_norm),
  }),
});
const PIXART = describe<PixArtConfig>({
  read: readPixArt,
  build: pixartTransformer,
  facts: (c) => ({
    channels: c.in_channels,
    sides: [c.sample_size, c.sample_size],
    classes: 0,
    conditions: {
      text: [WORDS, c.caption_channels ?? c.cross_attention_dim ?? 1],
      mask: [WORDS],
      ...((c.use_additional_conditions ?? c.sample_size === 128) ? { resolution: [2], aspectRatio: [1] } : {}),
    },
    unit: c.patch_size,
    ...PLAIN,
    learnedVariance: c.out_channels === 2 * c.in_channels,
  }),
  inputs: (hidden_states, timestep, { text, mask, resolution, aspectRatio, ...more }) =>
    present({
      hidden_states,
      timestep,
      encoder_hidden_states: text,
      encoder_attention_mask: mask,
      ...negative(more),
      'added_cond_kwargs.resolution': resolution,
      'added_cond_kwargs.aspect_ratio': aspectRatio,
    }),
});
const SD3 = describe<SD3Config>({
  read: readSD3,
  build: sd3Transformer,
  facts: (c) => ({
    channels: c.in_channels,
    sides: [c.sample_size, c.sample_size],
    classes: 0,
    conditions: { text: [WORDS, c.joint_attention_dim], pooled: [c.pooled_projection_dim] },
    unit: c.patch_size,
    ...PLAIN,
    flow: true,
  }),
  inputs: (hidden_states, timestep, { text, pooled }) =>
    present({ hidden_states, timestep, encoder_hidden_states: text, pooled_projections: pooled }),
});
const SANA = describe<SanaConfig>({
  read: readSana,
  build: sanaTransformer,
  facts: (c) => ({
    channels: c.in_channels,
    sides: [c.sample_size, c.sample_size],
    classes: 0,
    conditions: { text: [WORDS, c.caption_channels], mask: [WORDS], ...(c.guidance_embeds ? { guidance: [] } : {}) },
    unit: c.patch_size,
    ...PLAIN,
    flow: true,
  }),
  inputs: (hidden_states, timestep, { text, mask, guidance, ...more }, c) =>
    present({
      hidden_states,
      timestep: mul(cast(timestep, 'float32'), c.timestep_scale),
      encoder_hidden_states: text,
      encoder_attention_mask: mask,
      ...negative(more),
      guidance: guidance && mul(guidance, c.guidance_embeds_scale),
    }),
});

const FLUX = describe<FluxConfig>({
  read: readFlux,
  build: fluxTransformer,
  facts: (c) => ({
    channels: c.in_channels / 4,
    sides: null,
    classes: 0,
    conditions: { text: [WORDS, c.joint_attention_dim], pooled: [c.pooled_projection_dim], ...(c.guidance_embeds ? { guidance: [] } : {}) },
    unit: 2,
    ...PLAIN,
    flow: true,
  }),
  inputs(x, time, { text, pooled, guidance }) {
    const [h, w] = [fixed('Flux', x.shape[2]), fixed('Flux', x.shape[3])];
    const length = text ? fixed('Flux', text.shape[1]) : 0;
    return present({
      hidden_states: packed(x),
      timestep: mul(cast(time, 'float32'), 1 / 1000),
      encoder_hidden_states: text,
      pooled_projections: pooled,
      guidance,
      img_ids: imagePlaces(h / 2, w / 2),
      txt_ids: constant(new Float64Array(3 * length), [length, 3]),
    });
  },
});

/** Every class by name. */
export const CLASSES = {
  UNet2DModel: UNET2D,
  UNet2DConditionModel: CONDITION,
  DiTTransformer2DModel: DIT,
  PixArtTransformer2DModel: PIXART,
  SD3Transformer2DModel: SD3,
  SanaTransformer2DModel: SANA,
  FluxTransformer2DModel: FLUX,
} as unknown as Readonly<Record<string, Described<unknown>>>;
