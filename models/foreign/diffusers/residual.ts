/** @file Residual blocks of diffusers' UNets and autoencoders: convolutions told of the time, resampling, attention over positions. He et al. 2016; Ho et al. 2020. */
import { add, div, mul } from '../../../engine/graph/ops/elementwise.ts';
import { reshape, split } from '../../../engine/graph/ops/movement.ts';
import { averagePool } from '../../../engine/graph/ops/pool.ts';
import { resizeNearest, upsampleNearest } from '../../../engine/graph/ops/resize.ts';
import { fixed, type Tensor } from '../../../engine/graph/tensor.ts';
import type { Scope } from '../../../engine/train/network.ts';
import { ACTIVATIONS, type Activation, attend, conv, dense, groupNorm, sidesOf, toMap, toTokens, within } from './layers.ts';

/** What the residual blocks of one part of a network have in common. */
export interface ResidualStyle {
  readonly groups: number;
  readonly eps: number;
  readonly act: Activation;
  /** How the time enters: added before the second norm, or scaling and shifting after it. */
  readonly shift: 'default' | 'scale_shift';
  /** The sum is divided by it. */
  readonly divisor?: number;
  /** Whether the time enters without the activation. */
  readonly plainTime?: boolean;
}
export interface ResidualOptions {
  readonly out: number;
  /** Groups of the second norm; default: as the first. */
  readonly groupsOut?: number;
  /** Resampling of both paths after the first norm. */
  readonly resample?: (x: Tensor) => Tensor;
  /** A 1×1 convolution on the short path although the width stays. */
  readonly shortcut?: boolean;
}

export const halve = (x: Tensor): Tensor => averagePool(x, { kernel: 2 });
export const double = (x: Tensor): Tensor => upsampleNearest(x, 2);

/** ResnetBlock2D. x [N,C,H,W], time [N,D] or [1,D], or null where there is none. */
export function residual(scope: Scope, x: Tensor, time: Tensor | null, style: ResidualStyle, o: ResidualOptions): Tensor {
  const act = ACTIVATIONS[style.act];
  const { out, resample = (t: Tensor) => t } = o;
  let y = resample(act(groupNorm(scope, 'norm1', x, style.groups, style.eps)));
  y = conv(scope, 'conv1', y, out, 3);
  const told = time && dense(scope, 'time_emb_proj', style.plainTime ? time : act(time), style.shift === 'default' ? out : 2 * out);
  const spread = told && reshape(told, [told.shape[0]!, told.shape[1]!, 1, 1]);
  if (spread && style.shift === 'default') y = add(y, spread);
  y = groupNorm(scope, 'norm2', y, o.groupsOut ?? style.groups, style.eps);
  if (spread && style.shift === 'scale_shift') {
    const [scale, shift] = split(spread, [out, out], 1) as [Tensor, Tensor];
    y = add(mul(y, add(scale, 1)), shift);
  }
  y = conv(scope, 'conv2', act(y), out, 3);
  const short = resample(x);
  const same = fixed('residual', x.shape[1]) === out && !o.shortcut;
  const sum = add(same ? short : conv(scope, 'conv_shortcut', short, out, 1), y);
  return style.divisor === undefined || style.divisor === 1 ? sum : div(sum, style.divisor);
}

/** Downsample2D with a convolution; padding 0 means one row and column of zeros at the bottom and on the right only. */
export const strided = (scope: Scope, x: Tensor, padding: number): Tensor =>
  conv(scope, 'conv', x, fixed('downsample', x.shape[1]), 3, { stride: 2, padding: padding === 0 ? [0, 0, 1, 1] : padding });

/** Upsample2D with a convolution: twice the size, or the size given. */
export function enlarged(scope: Scope, x: Tensor, size?: readonly [number, number]): Tensor {
  const larger = size ? resizeNearest(x, size) : double(x);
  return conv(scope, 'conv', larger, fixed('upsample', x.shape[1]), 3);
}

export interface PositionalAttention {
  readonly heads: number;
  readonly headDim: number;
  /** Null: no norm before. */
  readonly groups: number | null;
  readonly eps: number;
  readonly divisor?: number;
}
/** Attention over the positions of a map with a residual sum. */
export function attendMap(scope: Scope, x: Tensor, { heads, headDim, groups, eps, divisor = 1 }: PositionalAttention): Tensor {
  const hat = groups === null ? x : groupNorm(scope, 'group_norm', x, groups, eps);
  const sum = add(toMap(attend(scope, toTokens(hat), { heads, headDim, bias: true }), sidesOf(x)), x);
  return divisor === 1 ? sum : div(sum, divisor);
}

/** UNetMidBlock2D: residual blocks with attention between. */
export function middle(
  scope: Scope,
  x: Tensor,
  time: Tensor | null,
  style: ResidualStyle,
  o: { readonly attention: PositionalAttention | null; readonly layers?: number },
): Tensor {
  const { attention, layers = 1 } = o;
  const out = fixed('mid', x.shape[1]);
  let y = residual(within(scope, 'resnets.0.'), x, time, style, { out });
  for (let i = 0; i < layers; i++) {
    if (attention) y = attendMap(within(scope, `attentions.${i}.`), y, attention);
    y = residual(within(scope, `resnets.${i + 1}.`), y, time, style, { out });
  }
  return y;
}
