/**
 * @file The UNets of score-based diffusion, DDPM++ and NCSN++, with EDM's structure and weight names.
 * Song et al. 2021, arXiv:2011.13456; Karras et al. 2022, arXiv:2206.00364, tables 6 and 7. Names follow NVlabs/edm.
 */

import { conv2d } from '../engine/graph/ops/conv.ts';
import { add, cos, mul, sin } from '../engine/graph/ops/elementwise.ts';
import { constant } from '../engine/graph/ops/leaf.ts';
import { matmul } from '../engine/graph/ops/linalg.ts';
import { concat, pixelShuffle, pixelUnshuffle, reshape, slice, swapLast, transpose } from '../engine/graph/ops/movement.ts';
import { softmax } from '../engine/graph/ops/reduce.ts';
import { elements, fixed, type Tensor } from '../engine/graph/tensor.ts';
import { type Condition, type Init, type NetworkFamily, type SampleType, type Scope, within } from '../engine/train/network.ts';
import { choice, OptionError, options, reals, type Values, whole, wholes } from '../engine/train/options.ts';
import { conv, groupNorm, linear, outerFilter, resample, silu, tile, told, xavier, zeros } from './layers.ts';
import { preconditioned, preconditioningOptions, type RawNetwork } from './precondition.ts';

export const songUNetOptions = options({
  channels: whole(128, 'base width; levels have multiples of it', { min: 4 }),
  multipliers: wholes([1, 2, 2, 2], 'width of each level as a multiple of the base width, from full resolution down', { min: 1 }),
  embeddingMultiplier: whole(4, 'width of the embedding vector as a multiple of the base width', { min: 1 }),
  blocks: whole(4, 'residual blocks a level', { min: 1 }),
  attention: wholes([16], 'resolutions at which blocks have self-attention', { min: 1 }),
  heads: whole(1, 'attention heads', { min: 1 }),
  embedding: choice(['positional', 'fourier'], 'positional', 'embedding of the noise level: positional for DDPM++, fourier for NCSN++'),
  noiseMultiplier: whole(1, 'width of the noise embedding as a multiple of the base width: 1 for DDPM++, 2 for NCSN++', { min: 1 }),
  encoder: choice(
    ['standard', 'skip', 'residual'],
    'standard',
    'how the input image enters lower levels: standard for DDPM++, residual for NCSN++',
  ),
  decoder: choice(['standard', 'skip'], 'standard', 'whether every level adds to the output image'),
  filter: reals([1, 1], 'resampling filter: 1,1 for DDPM++, 1,3,3,1 for NCSN++'),
  patch: whole(1, 'pixels are folded into channels in squares of this side before the network and unfolded after it; 2 costs a quarter', {
    min: 1,
    max: 8,
  }),
  augmentations: whole(0, 'length of the augmentation label; 0 for none', { min: 0 }),
  ...preconditioningOptions.shape,
});
export type SongUNetOptions = Values<typeof songUNetOptions>;

const HALF = Math.SQRT1_2; // residual sums keep their variance
const EPS = 1e-6;
/** Groups of a normalisation over c channels. */
export const groupsOf = (c: number): number => Math.min(32, Math.floor(c / 4));

/** [N] or [1] → [N, width], cosines after sines. */
function embedNoise(scope: Scope, noise: Tensor, width: number, kind: 'positional' | 'fourier'): Tensor {
  const half = width / 2;
  const frequencies =
    kind === 'fourier'
      ? mul(scope.buffer('map_noise.freqs', [half], { kind: 'normal', std: 16 }), 2 * Math.PI)
      : constant(
          Float64Array.from({ length: half }, (_, i) => 1e-4 ** (i / (half - 1))),
          [half],
        );
  const angles = mul(reshape(noise, [noise.shape[0]!, 1]), frequencies);
  return concat([sin(angles), cos(angles)], 1);
}

/** The embedding vector of noise level, class, augmentation and other numbers [N, C]. */
function embed(scope: Scope, noise: Tensor, condition: Condition, o: SongUNetOptions, { classes, scalars }: SampleType): Tensor {
  const width = o.channels * o.noiseMultiplier;
  let e = embedNoise(scope, noise, width, o.embedding);
  if (classes > 0) {
    // Without a label the vector is zero, so that only the bias is left.
    const label = condition['label'];
    const scaled = label ? mul(label, Math.sqrt(classes)) : constant(new Float32Array(classes), [1, classes]);
    e = add(e, linear(scope, 'map_label', scaled, width));
  }
  const augment = condition['augment'];
  if (o.augmentations > 0) {
    const weight = scope('map_augment.weight', [width, o.augmentations], xavier(o.augmentations, width));
    if (augment) e = add(e, matmul(augment, swapLast(weight)));
  }
  const numbers = told(scope, condition, scalars, width);
  if (numbers) e = add(e, numbers);
  const wide = o.channels * o.embeddingMultiplier;
  return silu(linear(scope, 'map_layer1', silu(linear(scope, 'map_layer0', e, wide)), wide));
}

/** A 3×3 or 1×1 convolution after resampling. */
function resampledConv(
  scope: Scope,
  name: string,
  x: Tensor,
  out: number,
  kernel: number,
  o: SongUNetOptions,
  way?: 'down' | 'up',
): Tensor {
  return conv(scope, name, way ? resample(scope, name, x, o.filter, way) : x, out, kernel);
}

export interface BlockShape {
  readonly out: number;
  readonly way?: 'down' | 'up';
  readonly attention?: boolean;
}
/** A residual block, with self-attention after it where asked for. x [N,C,H,W], emb [N,E]. */
export function block(scope: Scope, x: Tensor, emb: Tensor, { out, way, attention }: BlockShape, o: SongUNetOptions): Tensor {
  const inside = fixed('song-unet', x.shape[1]);
  const first = resampledConv(scope, 'conv0', silu(groupNorm(scope, 'norm0', x, groupsOf(inside), EPS)), out, 3, o, way);
  const shift = linear(scope, 'affine', emb, out);
  const moved = add(first, reshape(shift, [...shift.shape, 1, 1]));
  const second = conv(scope, 'conv1', silu(groupNorm(scope, 'norm1', moved, groupsOf(out), EPS)), out, 3, { gain: 1e-5 });
  const skip = out !== inside || way ? resampledConv(scope, 'skip', x, out, 1, o, way) : x;
  const y = mul(add(second, skip), HALF);
  return attention
    ? attend(scope, y, o.heads, { eps: EPS, gain: HALF, query: (c) => xavier(c, 3 * c, Math.sqrt(0.2)), output: { gain: 1e-5 } })
    : y;
}

export interface AttendOptions {
  readonly eps: number;
  /** Factor of the residual sum. */
  readonly gain: number;
  /** How the filter of queries, keys and values of `c` channels starts. */
  readonly query: (c: number) => Init;
  /** How the output filter starts. */
  readonly output: { readonly gain: number };
}
/** Self-attention over positions with a residual sum: `norm2`, `qkv`, `proj`. */
export function attend(scope: Scope, x: Tensor, heads: number, { eps, gain, query, output }: AttendOptions): Tensor {
  const [n, , h, w] = x.shape;
  const c = fixed('attention', x.shape[1]);
  const length = fixed('attention', elements([h!, w!]));
  const hat = groupNorm(scope, 'norm2', x, groupsOf(c), eps);
  // In the checkpoint q, k and v alternate channel by channel; reordering the small filter keeps the large maps contiguous.
  const apart = <T extends Tensor>(p: T, rest: number): Tensor =>
    reshape(transpose(reshape(p, [c, 3, rest]), [1, 0, 2]), rest === 1 ? [3 * c] : [3 * c, rest, 1, 1]);
  const weight = apart(scope('qkv.weight', [3 * c, c, 1, 1], query(c)), c);
  const bias = apart(scope('qkv.bias', [3 * c], zeros), 1);
  const qkv = reshape(conv2d(hat, weight, { bias }), [n!, 3 * heads, c / heads, length]);
  const [q, k, v] = [0, 1, 2].map((i) => slice(qkv, 1, i * heads, (i + 1) * heads)); // [N, heads, C/heads, HW]
  const weights = softmax(matmul(swapLast(q!), mul(k!, 1 / Math.sqrt(c / heads))), -1); // [N, heads, HW, HW]
  const mixed = reshape(matmul(v!, swapLast(weights)), x.shape);
  const sum = add(conv(scope, 'proj', mixed, c, 1, output), x);
  return gain === 1 ? sum : mul(sum, gain);
}

/** How the input image enters level `res` beside the main path: the new main path and what is carried on. */
export function sideInput(
  scope: Scope,
  name: string,
  x: Tensor,
  side: Tensor,
  o: SongUNetOptions,
): { readonly x: Tensor; readonly side: Tensor } {
  const out = fixed('song-unet', x.shape[1]);
  if (o.encoder === 'skip') {
    const smaller = resample(scope, `${name}_aux_down`, side, o.filter, 'down');
    return { x: add(x, conv(scope, `${name}_aux_skip`, smaller, out, 1)), side: smaller };
  }
  if (o.encoder === 'standard') return { x, side };
  // Filter and resampling are one padded convolution followed by one strided one: borders differ from resampling first.
  // The bias may come before the filter, whose sum is 1.
  const n = o.filter.length;
  const wide = conv(scope, `${name}_aux_residual`, side, out, 3, { padding: 1 + Math.floor((n - 1) / 2) });
  const filter = scope.buffer(`${name}_aux_residual.resample_filter`, [1, 1, n, n], outerFilter(o.filter));
  const y = mul(add(x, conv2d(wide, tile(filter, out, 1), { stride: 2, groups: out })), HALF);
  return { x: y, side: y };
}

/** Errors: samples that are not images, sizes that do not halve at every level, widths that do not split into groups or heads. */
function checkSizes(o: SongUNetOptions, { shape }: SampleType): void {
  const fail = (text: string): never => {
    throw new OptionError(`song-unet: ${text}`);
  };
  const levels = o.multipliers.length;
  const unit = o.patch * 2 ** (levels - 1);
  if (shape.length !== 3) fail(`samples [${shape}] are not images [C,H,W]`);
  if (shape.slice(1).some((d) => d % unit !== 0))
    fail(`${levels} levels of patches of ${o.patch} need a height and width divisible by ${unit}, got ${shape[1]}x${shape[2]}`);
  const width = o.channels * o.noiseMultiplier;
  if (width % 2 !== 0)
    fail(`the noise embedding takes an even width, got channels ${o.channels} times noiseMultiplier ${o.noiseMultiplier}`);
  const widths = [o.channels, ...o.multipliers.map((m) => m * o.channels)];
  const joined = widths.flatMap((a) => widths.map((b) => a + b)); // what a skip connection may bring together
  const odd = [...widths, ...joined].find((c) => c % groupsOf(c) !== 0);
  if (odd) fail(`${odd} channels do not split into ${groupsOf(odd)} groups; use a multiple of ${odd > 128 ? 32 : 4} channels`);
  const split = o.multipliers.map((m) => m * o.channels).find((c) => c % o.heads !== 0);
  if (split) fail(`${split} channels do not split into ${o.heads} heads`);
}

/** The network without preconditioning: image and noise label [N] ↦ image; hidden maps by name. */
export function songUNet(scope: Scope, o: SongUNetOptions, sample: SampleType): RawNetwork {
  checkSizes(o, sample);
  const outputs = sample.shape[0]! * o.patch ** 2;
  const resolution = sample.shape[1]! / o.patch;
  const at = (level: number): string => `${resolution >> level}x${resolution >> level}`;
  return (image, noise, condition) => {
    const emb = embed(scope, noise, condition, o, sample);
    const features: Record<string, Tensor> = {};
    const skips: Tensor[] = [];
    let x = o.patch > 1 ? pixelUnshuffle(image, o.patch) : image;
    let side = x;
    o.multipliers.forEach((mult, level) => {
      const enc = within(scope, `enc.${at(level)}_`);
      if (level === 0) x = conv(enc, 'conv', x, o.channels, 3);
      else {
        const width = o.channels * o.multipliers[level - 1]!;
        x = block(within(enc, 'down.'), x, emb, { out: width, way: 'down' }, o);
        ({ x, side } = sideInput(scope, `enc.${at(level)}`, x, side, o));
      }
      skips.push(x);
      for (let i = 0; i < o.blocks; i++) {
        x = block(within(enc, `block${i}.`), x, emb, { out: o.channels * mult, attention: o.attention.includes(resolution >> level) }, o);
        skips.push(x);
      }
      features[`encoder.${at(level)}`] = x;
    });
    features['bottleneck'] = x;
    let output: Tensor | null = null;
    o.multipliers.toReversed().forEach((mult, i) => {
      const level = o.multipliers.length - 1 - i;
      const dec = within(scope, `dec.${at(level)}_`);
      const width = fixed('song-unet', x.shape[1]);
      if (i === 0) {
        x = block(within(dec, 'in0.'), x, emb, { out: width, attention: true }, o);
        x = block(within(dec, 'in1.'), x, emb, { out: width }, o);
      } else x = block(within(dec, 'up.'), x, emb, { out: width, way: 'up' }, o);
      for (let b = 0; b <= o.blocks; b++) {
        const attention = b === o.blocks && o.attention.includes(resolution >> level);
        x = block(within(dec, `block${b}.`), concat([x, skips.pop()!], 1), emb, { out: o.channels * mult, attention }, o);
      }
      features[`decoder.${at(level)}`] = x;
      if (o.decoder === 'skip' || level === 0) {
        if (output) output = resample(dec, 'aux_up', output, o.filter, 'up');
        const hat = silu(groupNorm(dec, 'aux_norm', x, groupsOf(fixed('song-unet', x.shape[1])), EPS));
        const part = conv(dec, 'aux_conv', hat, outputs, 3, { gain: 1e-5 });
        output = output ? add(output, part) : part;
      }
    });
    return { output: o.patch > 1 ? pixelShuffle(output!, o.patch) : output!, features };
  };
}

/** The network inside the preconditioning, by the names of whole checkpoints: each is led by `model.`. */
export const rawSongUNet = (scope: Scope, o: SongUNetOptions, sample: SampleType): RawNetwork =>
  songUNet(within(scope, 'model.'), o, sample);

/** The UNet with its preconditioning, as NVlabs/edm's EDMPrecond, VPPrecond and VEPrecond store it. */
export const songUNetFamily: NetworkFamily<typeof songUNetOptions> = {
  name: 'song-unet',
  options: songUNetOptions,
  build: (scope, o, sample) => preconditioned(rawSongUNet(scope, o, sample), o),
};
