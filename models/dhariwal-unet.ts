/**
 * @file The UNet of ADM with EDM's structure and weight names: blocks scaled and shifted by the embedding, heads of 64 channels.
 * Dhariwal & Nichol 2021, arXiv:2105.05233; Karras et al. 2022, arXiv:2206.00364, table 7. Names follow NVlabs/edm.
 */
import { conv2d } from '../engine/graph/ops/conv.ts';
import { add, cos, mul, sin } from '../engine/graph/ops/elementwise.ts';
import { constant } from '../engine/graph/ops/leaf.ts';
import { linear as product } from '../engine/graph/ops/linalg.ts';
import { concat, reshape, slice } from '../engine/graph/ops/movement.ts';
import { fixed, type Tensor } from '../engine/graph/tensor.ts';
import { type Condition, type Init, type NetworkFamily, type SampleType, type Scope, within } from '../engine/train/network.ts';
import { choice, OptionError, options, real, type Values, whole, wholes } from '../engine/train/options.ts';
import { groupNorm, resample, silu, told, zeros } from './layers.ts';
import { iddpmTablePrecondition, PRECONDITIONING_NAMES, preconditioned, type RawNetwork } from './precondition.ts';
import { iddpmLevels } from './precondition-table.ts';
import { attend, groupsOf } from './song-unet.ts';

export const dhariwalUNetOptions = options({
  channels: whole(192, 'base width; levels have multiples of it', { min: 4 }),
  multipliers: wholes([1, 2, 3, 4], 'width of each level as a multiple of the base width, from full resolution down', { min: 1 }),
  embeddingMultiplier: whole(4, 'width of the embedding vector as a multiple of the base width', { min: 1 }),
  blocks: whole(3, 'residual blocks a level', { min: 1 }),
  attention: wholes([32, 16, 8], 'resolutions at which blocks have self-attention, with one head for 64 channels', { min: 1 }),
  augmentations: whole(0, 'length of the augmentation label; 0 for none', { min: 0 }),
  preconditioning: choice(
    [...PRECONDITIONING_NAMES, 'iddpm'],
    'edm',
    'what the network predicts; iddpm: the noise and its variance, which is dropped, on a list of levels',
  ),
  sigmaData: real(0.5, 'standard deviation of the data, for edm and trigflow', { min: 1e-3 }),
  iddpmLevels: whole(1000, 'levels of iddpm', { min: 2, max: 100_000 }),
});
export type DhariwalUNetOptions = Values<typeof dhariwalUNetOptions>;

const EPS = 1e-5;
const HEAD_CHANNELS = 64;
/** Uniform with variance 1/(3 · inputs). He et al. 2015, with EDM's factor √⅓. */
const kaiming = (inputs: number): Init => ({ kind: 'uniform', bound: Math.sqrt(1 / inputs) });

function linear(scope: Scope, name: string, x: Tensor, out: number, bias = true): Tensor {
  const inside = fixed('dhariwal-unet', x.shape[1]);
  const weight = scope(`${name}.weight`, [out, inside], kaiming(inside));
  return product(x, weight, bias ? scope(`${name}.bias`, [out], kaiming(inside)) : undefined);
}
/** A convolution that keeps the size. With `idle` it starts at zero. */
function conv(scope: Scope, name: string, x: Tensor, out: number, kernel: 1 | 3, idle = false): Tensor {
  const inside = fixed('dhariwal-unet', x.shape[1]);
  const init = idle ? zeros : kaiming(inside * kernel ** 2);
  const weight = scope(`${name}.weight`, [out, inside, kernel, kernel], init);
  return conv2d(x, weight, { padding: kernel >> 1, bias: scope(`${name}.bias`, [out], init) });
}
const BOX = [1, 1];
type Way = 'down' | 'up' | undefined;
const resampled = (scope: Scope, name: string, x: Tensor, way: Way): Tensor => (way ? resample(scope, name, x, BOX, way) : x);

export interface DhariwalBlockShape {
  readonly out: number;
  readonly way?: Way;
  readonly attention?: boolean;
  /** Default: one for 64 channels. */
  readonly heads?: number;
}
/** A residual block; self-attention after it where it is asked for and there are 64 channels at least. x [N,C,H,W], emb [N,E]. */
export function dhariwalBlock(
  scope: Scope,
  x: Tensor,
  emb: Tensor,
  { out, way, attention, heads = Math.floor(out / HEAD_CHANNELS) }: DhariwalBlockShape,
): Tensor {
  const inside = fixed('dhariwal-unet', x.shape[1]);
  const active = silu(groupNorm(scope, 'norm0', x, groupsOf(inside), EPS));
  const first = conv(scope, 'conv0', resampled(scope, 'conv0', active, way), out, 3);
  const both = linear(scope, 'affine', emb, 2 * out); // [N, 2·out]
  const [scale, shift] = [slice(both, 1, 0, out), slice(both, 1, out, 2 * out)].map((t) => reshape(t, [...t.shape, 1, 1]));
  const hat = groupNorm(scope, 'norm1', first, groupsOf(out), EPS);
  const second = conv(scope, 'conv1', silu(add(mul(hat, add(scale!, 1)), shift!)), out, 3, true);
  const beside = resampled(scope, 'skip', x, way);
  const y = add(second, out === inside ? beside : conv(scope, 'skip', beside, out, 1));
  return attention && heads > 0 ? attend(scope, y, heads, { eps: EPS, gain: 1, query: kaiming, output: { gain: 0 } }) : y;
}

/** [N] or [1] → [N, width]: cosines, then sines, of the label times 10⁴ to the power −k/half. */
function waves(noise: Tensor, width: number): Tensor {
  const half = width / 2;
  const frequencies = constant(
    Float64Array.from({ length: half }, (_, k) => 1e-4 ** (k / half)),
    [half],
  );
  const angles = mul(reshape(noise, [noise.shape[0]!, 1]), frequencies);
  return concat([cos(angles), sin(angles)], 1);
}

/** The embedding vector of noise level, class, augmentation and other numbers. */
function embed(scope: Scope, noise: Tensor, condition: Condition, o: DhariwalUNetOptions, { classes, scalars }: SampleType): Tensor {
  const wide = o.channels * o.embeddingMultiplier;
  let e = waves(noise, o.channels);
  const { augment, label } = condition as { readonly augment?: Tensor; readonly label?: Tensor };
  if (o.augmentations > 0) {
    const weight = scope('map_augment.weight', [o.channels, o.augmentations], zeros);
    if (augment) e = add(e, product(augment, weight));
  }
  const numbers = told(scope, condition, scalars, o.channels);
  if (numbers) e = add(e, numbers);
  e = linear(scope, 'map_layer1', silu(linear(scope, 'map_layer0', e, wide)), wide);
  if (classes > 0) {
    const weight = scope('map_label.weight', [wide, classes], { kind: 'normal', std: 1 });
    if (label) e = add(e, product(label, weight)); // no label is a vector of zeros
  }
  return silu(e);
}

/** Errors: samples that are not images, sizes that do not halve at every level, widths that do not split into groups or heads. */
function checkSizes(o: DhariwalUNetOptions, { shape }: SampleType): void {
  const fail = (text: string): never => {
    throw new OptionError(`dhariwal-unet: ${text}`);
  };
  if (shape.length !== 3) fail(`samples [${shape}] are not images [C,H,W]`);
  const levels = o.multipliers.length;
  if (shape.slice(1).some((d) => d % 2 ** (levels - 1) !== 0))
    fail(`${levels} levels need a height and width divisible by ${2 ** (levels - 1)}, got ${shape[1]}x${shape[2]}`);
  if (o.channels % 2 !== 0) fail(`the noise embedding takes an even width, got channels ${o.channels}`);
  const widths = o.multipliers.map((m) => m * o.channels);
  const odd = [...widths, ...widths.flatMap((a) => widths.map((b) => a + b))].find((c) => c % groupsOf(c) !== 0);
  if (odd) fail(`${odd} channels do not split into ${groupsOf(odd)} groups; use a multiple of ${odd > 128 ? 32 : 4} channels`);
  const split = widths.find((c) => c > HEAD_CHANNELS && c % Math.floor(c / HEAD_CHANNELS) !== 0);
  if (split) fail(`${split} channels do not split into ${Math.floor(split / HEAD_CHANNELS)} heads`);
}

/** The network without preconditioning: image and noise label [N] ↦ `outputs` channels; hidden maps by name. */
export function dhariwalUNet(scope: Scope, o: DhariwalUNetOptions, sample: SampleType, outputs = sample.shape[0]!): RawNetwork {
  checkSizes(o, sample);
  const at = (level: number): string => `${sample.shape[1]! >> level}x${sample.shape[1]! >> level}`;
  const attends = (level: number): boolean => o.attention.includes(sample.shape[1]! >> level);
  return (image, noise, condition) => {
    const emb = embed(scope, noise, condition, o, sample);
    const features: Record<string, Tensor> = {};
    const skips: Tensor[] = [];
    let x = image;
    const run = (name: string, shape: DhariwalBlockShape, from = x): Tensor => {
      x = dhariwalBlock(within(scope, `${name}.`), from, emb, shape);
      return x;
    };
    const width = (): number => fixed('dhariwal-unet', x.shape[1]);
    o.multipliers.forEach((mult, level) => {
      if (level === 0) x = conv(scope, `enc.${at(0)}_conv`, x, o.channels * mult, 3);
      else run(`enc.${at(level)}_down`, { out: width(), way: 'down' });
      skips.push(x);
      for (let i = 0; i < o.blocks; i++)
        skips.push(run(`enc.${at(level)}_block${i}`, { out: o.channels * mult, attention: attends(level) }));
      features[`encoder.${at(level)}`] = x;
    });
    features['bottleneck'] = x;
    o.multipliers.toReversed().forEach((mult, i) => {
      const level = o.multipliers.length - 1 - i;
      if (i === 0) {
        run(`dec.${at(level)}_in0`, { out: width(), attention: true });
        run(`dec.${at(level)}_in1`, { out: width() });
      } else run(`dec.${at(level)}_up`, { out: width(), way: 'up' });
      for (let b = 0; b <= o.blocks; b++)
        run(`dec.${at(level)}_block${b}`, { out: o.channels * mult, attention: attends(level) }, concat([x, skips.pop()!], 1));
      features[`decoder.${at(level)}`] = x;
    });
    const hat = silu(groupNorm(scope, 'out_norm', x, groupsOf(width()), EPS));
    return { output: conv(scope, 'out_conv', hat, outputs, 3, true), features };
  };
}

/** Channels that the raw network gives: with iddpm as many again for the variance. */
export const dhariwalOutputs = (o: DhariwalUNetOptions, { shape }: SampleType): number =>
  shape[0]! * (o.preconditioning === 'iddpm' ? 2 : 1);

/** The network inside the preconditioning, by the names of whole checkpoints: each is led by `model.`. */
export const rawDhariwalUNet = (scope: Scope, o: DhariwalUNetOptions, sample: SampleType): RawNetwork =>
  dhariwalUNet(within(scope, 'model.'), o, sample, dhariwalOutputs(o, sample));

/** The UNet with its preconditioning, as NVlabs/edm's EDMPrecond, VPPrecond, VEPrecond and iDDPMPrecond store it; the levels of the last are `u`. */
export const dhariwalUNetFamily: NetworkFamily<typeof dhariwalUNetOptions> = {
  name: 'dhariwal-unet',
  options: dhariwalUNetOptions,
  build(scope, o, sample) {
    const raw = rawDhariwalUNet(scope, o, sample);
    if (o.preconditioning !== 'iddpm') return preconditioned(raw, { preconditioning: o.preconditioning, sigmaData: o.sigmaData });
    const mean: RawNetwork = (x, noise, condition) => {
      const given = raw(x, noise, condition);
      return { ...given, output: slice(given.output, 1, 0, sample.shape[0]!) };
    };
    const levels = Float32Array.from(iddpmLevels({ M: o.iddpmLevels }).toReversed());
    return iddpmTablePrecondition(mean, scope.buffer('u', [o.iddpmLevels + 1], { kind: 'values', values: levels }));
  },
};
