/**
 * @file The magnitude-preserving UNet, "EDM2", configuration G. Karras et al. 2024, arXiv:2312.02696, figure 21. Names follow NVlabs/edm2.
 */
import { attention as attentionOf } from '../engine/graph/ops/attention.ts';
import { conv2d } from '../engine/graph/ops/conv.ts';
import { add, clamp, mul } from '../engine/graph/ops/elementwise.ts';
import { constant } from '../engine/graph/ops/leaf.ts';
import { pad, reshape, slice, swapLast, transpose } from '../engine/graph/ops/movement.ts';
import { elements, fixed, type Tensor } from '../engine/graph/tensor.ts';
import { type Condition, type NetworkFamily, type SampleType, type Scope, within } from '../engine/train/network.ts';
import { OptionError, options, real, reals, type Values, whole, wholes } from '../engine/train/options.ts';
import { resample as resampleBy, told, zeros } from './layers.ts';
import { mpConcat, mpConv, mpFourier, mpLinear, mpSilu, mpSum, mpWeight, normalise } from './magnitude.ts';
import { edmPrecondition, type RawNetwork } from './precondition.ts';

const balance = (initial: number, help: string) => real(initial, help, { min: 0, max: 1 });
export const edm2UNetOptions = options({
  channels: whole(192, 'base width; levels have multiples of it', { min: 1 }),
  multipliers: wholes([1, 2, 3, 4], 'width of each level as a multiple of the base width, from full resolution down', { min: 1 }),
  noiseMultiplier: whole(0, 'width of the noise embedding as a multiple of the base width; 0 for that of the first level', { min: 0 }),
  embeddingMultiplier: whole(0, 'width of the embedding vector as a multiple of the base width; 0 for that of the widest level', {
    min: 0,
  }),
  blocks: whole(3, 'residual blocks a level', { min: 1 }),
  attention: wholes([16, 8], 'resolutions at which blocks have self-attention', { min: 1 }),
  headChannels: whole(64, 'channels of an attention head; narrower blocks have no attention', { min: 1 }),
  labelBalance: balance(0.5, 'share of the class in the embedding'),
  concatBalance: balance(0.5, 'share of the skip connections where they join'),
  residualBalance: balance(0.3, 'share of the residual branch'),
  attentionBalance: balance(0.3, 'share of self-attention'),
  activationClip: real(256, 'activations are clipped to this magnitude; 0 for none', { min: 0 }),
  filter: reals([1, 1], 'resampling filter'),
  uncertaintyChannels: whole(128, 'width of the estimate of the uncertainty', { min: 1 }),
  sigmaData: real(0.5, 'standard deviation of the data', { min: 1e-3 }),
});
export type Edm2UNetOptions = Values<typeof edm2UNetOptions>;

interface BlockShape {
  readonly side: 'enc' | 'dec';
  readonly out: number;
  readonly way?: 'down' | 'up';
  readonly attention?: boolean;
}
/** The resampling filter is a constant: checkpoints do not store it. */
function resample(x: Tensor, taps: readonly number[], way: 'down' | 'up'): Tensor {
  const fixedScope: Scope = Object.assign(() => constant(0), {
    buffer: (_: string, shape: readonly number[], init: { readonly kind: string }) =>
      constant((init as unknown as { readonly values: Float32Array }).values, shape),
  });
  return resampleBy(fixedScope, '', x, taps, way);
}

/** A residual block, with self-attention after it where asked for. x [N,C,H,W], emb [N,E]. */
export function edm2Block(scope: Scope, input: Tensor, emb: Tensor, { side, out, way, attention }: BlockShape, o: Edm2UNetOptions): Tensor {
  let x = way ? resample(input, o.filter, way) : input;
  const project = (t: Tensor): Tensor => (fixed('edm2-unet', t.shape[1]) === out ? t : mpConv(scope, 'conv_skip', t, out, 1));
  if (side === 'enc') x = normalise(project(x), [1]);
  const first = mpConv(scope, 'conv_res0', mpSilu(x), out, 3);
  const scale = add(mpLinear(scope, 'emb_linear', emb, out, scope('emb_gain', [], zeros)), 1); // [N, out]
  const y = mpConv(scope, 'conv_res1', mpSilu(mul(first, reshape(scale, [...scale.shape, 1, 1]))), out, 3);
  x = mpSum(side === 'dec' ? project(x) : x, y, o.residualBalance);
  const heads = attention ? Math.floor(out / o.headChannels) : 0;
  if (heads > 0) x = mpSum(x, attend(scope, x, heads), o.attentionBalance);
  return o.activationClip > 0 ? clamp(x, -o.activationClip, o.activationClip) : x;
}

/** Cosine attention over positions: queries, keys and values have unit magnitude. */
function attend(scope: Scope, x: Tensor, heads: number): Tensor {
  const [n, , h, w] = x.shape;
  const c = fixed('edm2-unet', x.shape[1]);
  const [width, length] = [c / heads, fixed('edm2-unet', elements([h!, w!]))];
  // In the checkpoint q, k and v alternate channel by channel; reordering the small filter keeps the large maps contiguous.
  const alternating = mpWeight(scope, 'attn_qkv', [3 * c, c, 1, 1]);
  const filter = reshape(transpose(reshape(alternating, [c, 3, c]), [1, 0, 2]), [3 * c, c, 1, 1]);
  const all = normalise(reshape(conv2d(x, filter), [n!, 3 * heads, width, length]), [2]);
  const [q, k, v] = [0, 1, 2].map((i) => swapLast(slice(all, 1, i * heads, (i + 1) * heads))); // [N, heads, HW, C/heads]
  const mixed = swapLast(attentionOf(q!, k!, v!));
  return mpConv(scope, 'attn_proj', reshape(mixed, x.shape), c, 1);
}

/** The embedding vector of noise level, class and other numbers. */
function embed(scope: Scope, noise: Tensor, condition: Condition, o: Edm2UNetOptions, { classes, scalars }: SampleType): Tensor {
  const widths = o.multipliers.map((m) => m * o.channels);
  const first = o.noiseMultiplier > 0 ? o.noiseMultiplier * o.channels : widths[0]!;
  const wide = o.embeddingMultiplier > 0 ? o.embeddingMultiplier * o.channels : Math.max(...widths);
  let e = mpLinear(scope, 'emb_noise', mpFourier(scope, 'emb_fourier', noise, first), wide);
  if (classes > 0) {
    // Without a label the vector is zero.
    const label = condition['label'] ?? constant(new Float32Array(classes), [1, classes]);
    e = mpSum(e, mpLinear(scope, 'emb_label', mul(label, Math.sqrt(classes)), wide), o.labelBalance);
  }
  const numbers = told(scope, condition, scalars, wide);
  return mpSilu(numbers ? add(e, numbers) : e);
}

/** Errors: samples that are not images, sizes that do not halve at every level, widths that do not split into heads. */
function checkSizes(o: Edm2UNetOptions, { shape }: SampleType): void {
  const fail = (text: string): never => {
    throw new OptionError(`edm2-unet: ${text}`);
  };
  if (shape.length !== 3) fail(`samples [${shape}] are not images [C,H,W]`);
  const unit = 2 ** (o.multipliers.length - 1);
  if (shape.slice(1).some((d) => d % unit !== 0))
    fail(`${o.multipliers.length} levels need a height and width divisible by ${unit}, got ${shape[1]}x${shape[2]}`);
  if (o.filter.length % 2 !== 0 || o.filter.length === 0)
    fail(`the resampling filter has ${o.filter.length} values; an even number expected`);
  const split = o.multipliers.map((m) => m * o.channels).find((c) => c >= o.headChannels && c % Math.floor(c / o.headChannels) !== 0);
  if (split) fail(`${split} channels do not split into ${Math.floor(split / o.headChannels)} heads`);
}

/** The network without preconditioning: image and noise label [N] ↦ image; hidden maps by name. */
export function edm2UNet(scope: Scope, o: Edm2UNetOptions, sample: SampleType): RawNetwork {
  checkSizes(o, sample);
  const channels = sample.shape[0]!;
  const at = (level: number): string => `${sample.shape[1]! >> level}x${sample.shape[1]! >> level}`;
  const attends = (level: number): boolean => o.attention.includes(sample.shape[1]! >> level);
  return (image, noise, condition) => {
    const emb = embed(scope, noise, condition, o, sample);
    const features: Record<string, Tensor> = {};
    const skips: Tensor[] = [];
    const width = (): number => fixed('edm2-unet', x.shape[1]);
    // A channel of ones stands in for the biases that no layer has.
    const ones = constant(
      Float32Array.from({ length: channels + 1 }, (_, i) => (i === channels ? 1 : 0)),
      [channels + 1, 1, 1],
    );
    let x = add(pad(image, 1, 0, 1), ones);
    const run = (name: string, shape: BlockShape): void => {
      x = edm2Block(within(scope, `${name}.`), x, emb, shape, o);
    };
    o.multipliers.forEach((mult, level) => {
      if (level === 0) x = mpConv(scope, `enc.${at(0)}_conv`, x, o.channels * mult, 3);
      else run(`enc.${at(level)}_down`, { side: 'enc', out: width(), way: 'down' });
      skips.push(x);
      for (let i = 0; i < o.blocks; i++) {
        run(`enc.${at(level)}_block${i}`, { side: 'enc', out: o.channels * mult, attention: attends(level) });
        skips.push(x);
      }
      features[`encoder.${at(level)}`] = x;
    });
    features['bottleneck'] = x;
    o.multipliers.toReversed().forEach((mult, i) => {
      const level = o.multipliers.length - 1 - i;
      if (i === 0) {
        run(`dec.${at(level)}_in0`, { side: 'dec', out: width(), attention: true });
        run(`dec.${at(level)}_in1`, { side: 'dec', out: width() });
      } else run(`dec.${at(level)}_up`, { side: 'dec', out: width(), way: 'up' });
      for (let b = 0; b <= o.blocks; b++) {
        x = mpConcat(x, skips.pop()!, o.concatBalance);
        run(`dec.${at(level)}_block${b}`, { side: 'dec', out: o.channels * mult, attention: attends(level) });
      }
      features[`decoder.${at(level)}`] = x;
    });
    return { output: mpConv(scope, 'out_conv', x, channels, 3, scope('out_gain', [], zeros)), features };
  };
}

/** The network inside the preconditioning, by the names of whole checkpoints: each is led by `unet.`; with its estimate of ln of the loss as `logvar` [N]. */
export const rawEdm2UNet =
  (scope: Scope, o: Edm2UNetOptions, sample: SampleType): RawNetwork =>
  (x, noise, condition) => {
    const given = edm2UNet(within(scope, 'unet.'), o, sample)(x, noise, condition);
    const logvar = mpLinear(scope, 'logvar_linear', mpFourier(scope, 'logvar_fourier', noise, o.uncertaintyChannels), 1); // [N, 1]
    return { ...given, extras: { logvar: reshape(logvar, [logvar.shape[0]!]) } };
  };

/** The UNet with EDM's preconditioning, as NVlabs/edm2's Precond stores it. */
export const edm2UNetFamily: NetworkFamily<typeof edm2UNetOptions> = {
  name: 'edm2-unet',
  options: edm2UNetOptions,
  build: (scope, o, sample) => edmPrecondition(rawEdm2UNet(scope, o, sample), o),
};
