/** @file The blocks of diffusers' UNets by their names: residual layers, each followed by what its kind attends to, then a change of resolution. */
import { concat } from '../../../engine/graph/ops/movement.ts';
import { fixed, type Tensor } from '../../../engine/graph/tensor.ts';
import type { Scope } from '../../../engine/train/network.ts';
import { within } from './layers.ts';
import { attendMap, double, enlarged, halve, type ResidualStyle, residual, strided } from './residual.ts';
import {
  type AddedKeysOptions,
  attendWithAddedKeys,
  type Context,
  spatialTransformer,
  type TransformerOptions,
} from './spatial-transformer.ts';

/** One level of a UNet. */
export interface Level {
  readonly out: number;
  /** Residual layers. */
  readonly layers: number;
  /** Whether the resolution stays. */
  readonly last: boolean;
  readonly style: ResidualStyle;
  /** The style of the blocks that change the resolution by residual layers. */
  readonly resnetStyle: ResidualStyle;
  /** Channels of a head of attention over positions. */
  readonly headDim: number;
  readonly padding: number;
  /** How blocks with attention over positions change the resolution. */
  readonly resampler: 'conv' | 'resnet';
  /** Heads and depth by layer of the transformers that see the text. */
  readonly transformer?: Omit<TransformerOptions, 'depth' | 'groups'> & { readonly depths: number | readonly number[] };
  readonly addedKeys?: Omit<AddedKeysOptions, 'headDim' | 'groups'>;
}
/** What every layer is told. */
export interface Told {
  readonly time: Tensor;
  readonly context: Context | null;
}

type Attends = 'nothing' | 'positions' | 'text' | 'added';
interface Kind {
  readonly attends: Attends;
  /** 'level': as the level says. */
  readonly resampler: 'conv' | 'resnet' | 'level';
}
const PLAIN: Kind = { attends: 'nothing', resampler: 'conv' };
const RESNET: Kind = { attends: 'nothing', resampler: 'resnet' };
const ATTENTION: Kind = { attends: 'positions', resampler: 'level' };
const CROSS: Kind = { attends: 'text', resampler: 'conv' };
const SIMPLE: Kind = { attends: 'added', resampler: 'resnet' };

export const DOWN_KINDS: Readonly<Record<string, Kind>> = {
  DownBlock2D: PLAIN,
  ResnetDownsampleBlock2D: RESNET,
  AttnDownBlock2D: ATTENTION,
  CrossAttnDownBlock2D: CROSS,
  SimpleCrossAttnDownBlock2D: SIMPLE,
};
export const UP_KINDS: Readonly<Record<string, Kind>> = {
  UpBlock2D: PLAIN,
  ResnetUpsampleBlock2D: RESNET,
  AttnUpBlock2D: ATTENTION,
  CrossAttnUpBlock2D: CROSS,
  SimpleCrossAttnUpBlock2D: SIMPLE,
};
/** The name without the prefix of early checkpoints. */
export const plainName = (type: string): string => type.replace(/^UNetRes/, '');

const styleOf = (kind: Kind, level: Level): ResidualStyle => (kind.resampler === 'resnet' ? level.resnetStyle : level.style);

/** What stands between layer i and the next. */
function attends(scope: Scope, x: Tensor, i: number, kind: Kind, level: Level, { context }: Told): Tensor {
  const inside = within(scope, `attentions.${i}.`);
  const { groups, eps } = level.style;
  if (kind.attends === 'positions')
    return attendMap(inside, x, { heads: Math.floor(level.out / level.headDim), headDim: level.headDim, groups, eps });
  if (kind.attends === 'text') {
    const { depths, ...o } = level.transformer!;
    return spatialTransformer(inside, x, context!, { ...o, groups, depth: typeof depths === 'number' ? depths : depths[i]! });
  }
  if (kind.attends === 'added') return attendWithAddedKeys(inside, x, context!, { ...level.addedKeys!, headDim: level.headDim, groups });
  return x;
}

const resamplerOf = (kind: Kind, level: Level): 'conv' | 'resnet' => (kind.resampler === 'level' ? level.resampler : kind.resampler);

/** The block on the way down: what each layer gives is kept for the way up. */
export function down(scope: Scope, type: string, input: Tensor, level: Level, told: Told): { x: Tensor; skips: Tensor[]; inner: Tensor } {
  const kind = DOWN_KINDS[type]!;
  const style = styleOf(kind, level);
  const skips: Tensor[] = [];
  let x = input;
  for (let i = 0; i < level.layers; i++) {
    x = residual(within(scope, `resnets.${i}.`), x, told.time, style, { out: level.out });
    x = attends(scope, x, i, kind, level, told);
    skips.push(x);
  }
  const inner = x;
  if (level.last) return { x, skips, inner };
  const inside = within(scope, 'downsamplers.0.');
  x =
    resamplerOf(kind, level) === 'conv'
      ? strided(inside, x, level.padding)
      : residual(inside, x, told.time, style, { out: level.out, resample: halve });
  return { x, skips: [...skips, x], inner };
}

/** The block on the way up takes its skips from the end of the list; `inner` is what it gives before the resolution changes. `size` is that of the next skip where it is not twice that of x. */
export function up(
  scope: Scope,
  type: string,
  input: Tensor,
  skips: Tensor[],
  level: Level,
  told: Told,
  size?: readonly [number, number],
): { readonly x: Tensor; readonly inner: Tensor } {
  const kind = UP_KINDS[type]!;
  const style = styleOf(kind, level);
  let x = input;
  for (let i = 0; i < level.layers; i++) {
    x = residual(within(scope, `resnets.${i}.`), concat([x, skips.pop()!], 1), told.time, style, { out: level.out });
    x = attends(scope, x, i, kind, level, told);
  }
  const inner = x;
  if (level.last) return { x, inner };
  const inside = within(scope, 'upsamplers.0.');
  x =
    resamplerOf(kind, level) === 'resnet'
      ? residual(inside, x, told.time, style, { out: level.out, resample: double })
      : enlarged(inside, x, kind.attends === 'positions' ? undefined : size);
  return { x, inner };
}

/** `encoder.HxW` and the like: how hidden maps are named. */
export const mapName = (part: string, x: Tensor): string => `${part}.${fixed('height', x.shape[2])}x${fixed('width', x.shape[3])}`;
