/** @file The blocks of NCSN++ in diffusers: filtered resampling, and the image itself carried along beside the hidden maps. Song et al. 2021, arXiv:2011.13456. */

import { conv2d, convTranspose2d } from '../../../engine/graph/ops/conv.ts';
import { add, silu } from '../../../engine/graph/ops/elementwise.ts';
import { constant } from '../../../engine/graph/ops/leaf.ts';
import { concat } from '../../../engine/graph/ops/movement.ts';
import { fixed, type Tensor } from '../../../engine/graph/tensor.ts';
import type { Scope } from '../../../engine/train/network.ts';
import { conv, groupNorm, within } from './layers.ts';
import { attendMap, type ResidualStyle, residual } from './residual.ts';
import type { Level } from './unet-blocks.ts';

export const SKIP_DOWN: readonly string[] = ['SkipDownBlock2D', 'AttnSkipDownBlock2D'];
export const SKIP_UP: readonly string[] = ['SkipUpBlock2D', 'AttnSkipUpBlock2D'];

/** Both paths of every sum are scaled to keep the variance. */
const DIVISOR = Math.SQRT2;
/** Groups of the norm before attention. */
const ATTENTION_GROUPS = 32;
/** The image that is carried along has three channels whatever the network's input. */
const CARRIED = 3;
const TAPS = [1, 3, 3, 1];

/** The filter of every channel, [C,1,4,4], of sum `gain`. */
function filter(channels: number, gain: number): Tensor {
  const one = TAPS.flatMap((a) => TAPS.map((b) => (gain * a * b) / 64));
  return constant(Float64Array.from(new Array<number[]>(channels).fill(one).flat()), [channels, 1, 4, 4]);
}
/** Half the size, filtered. */
export function filterDown(x: Tensor): Tensor {
  const c = fixed('filter', x.shape[1]);
  return conv2d(x, filter(c, 1), { stride: 2, padding: 1, groups: c });
}
/** Twice the size, filtered. */
export function filterUp(x: Tensor): Tensor {
  const c = fixed('filter', x.shape[1]);
  return convTranspose2d(x, filter(c, 4), { stride: 2, padding: 1, groups: c });
}

const groupsOf = (channels: number): number => Math.min(Math.floor(channels / 4), 32);
const styleOf = (level: Level, groups: number): ResidualStyle => ({ ...level.style, groups, divisor: DIVISOR });
const attention = (scope: Scope, i: number, x: Tensor, { out, headDim, style }: Level): Tensor =>
  attendMap(within(scope, `attentions.${i}.`), x, {
    heads: Math.floor(out / headDim),
    headDim,
    groups: ATTENTION_GROUPS,
    eps: style.eps,
    divisor: DIVISOR,
  });

/** On the way down; `side` is the image at this resolution. */
export function skipDown(scope: Scope, type: string, input: Tensor, side: Tensor, level: Level, time: Tensor) {
  const skips: Tensor[] = [];
  let x = input;
  for (let i = 0; i < level.layers; i++) {
    const style = styleOf(level, groupsOf(fixed('skip', x.shape[1])));
    x = residual(within(scope, `resnets.${i}.`), x, time, style, { out: level.out, groupsOut: groupsOf(level.out) });
    if (type === 'AttnSkipDownBlock2D') x = attention(scope, i, x, level);
    skips.push(x);
  }
  const inner = x;
  if (level.last) return { x, skips, inner, side };
  const style = styleOf(level, groupsOf(level.out));
  x = residual(within(scope, 'resnet_down.'), x, time, style, { out: level.out, resample: filterDown, shortcut: true });
  const smaller = filterDown(side);
  x = add(conv(scope, 'skip_conv', smaller, level.out, 1), x);
  return { x, skips: [...skips, x], inner, side: smaller };
}

/** On the way up; `side` is the image as far as it is made. */
export function skipUp(scope: Scope, type: string, input: Tensor, skips: Tensor[], level: Level, time: Tensor, side: Tensor | null) {
  let x = input;
  for (let i = 0; i < level.layers; i++) {
    const skip = skips.pop()!;
    const [before, carried] = [fixed('skip', x.shape[1]), fixed('skip', skip.shape[1])];
    // With attention diffusers divides the skip's channels alone by 4, and adds the others.
    const groups = type === 'AttnSkipUpBlock2D' ? Math.min(before + Math.floor(carried / 4), 32) : groupsOf(before + carried);
    x = residual(within(scope, `resnets.${i}.`), concat([x, skip], 1), time, styleOf(level, groups), {
      out: level.out,
      groupsOut: groupsOf(level.out),
    });
  }
  if (type === 'AttnSkipUpBlock2D') x = attention(scope, 0, x, level);
  const inner = x;
  const larger = side && filterUp(side);
  if (level.last) return { x, inner, side: larger };
  const hat = silu(groupNorm(scope, 'skip_norm', x, groupsOf(level.out), level.style.eps));
  const part = conv(scope, 'skip_conv', hat, CARRIED, 3);
  x = residual(within(scope, 'resnet_up.'), x, time, styleOf(level, groupsOf(level.out)), {
    out: level.out,
    resample: filterUp,
    shortcut: true,
  });
  return { x, inner, side: larger ? add(larger, part) : part };
}
