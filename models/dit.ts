/**
 * @file The diffusion transformer: patches as tokens, modulated by noise level and class, in blocks that start as the identity.
 * Peebles and Xie 2023, arXiv:2212.09748. Names follow facebookresearch/DiT.
 */
import { attention } from '../engine/graph/ops/attention.ts';
import { add, cos, geluTanh, mul, sin, sub } from '../engine/graph/ops/elementwise.ts';
import { constant } from '../engine/graph/ops/leaf.ts';
import { matmul, linear as product } from '../engine/graph/ops/linalg.ts';
import { concat, reshape, slice, split, transpose } from '../engine/graph/ops/movement.ts';
import { layerNorm } from '../engine/graph/ops/normalize.ts';
import { reduceSum } from '../engine/graph/ops/reduce.ts';
import { fixed, type Tensor } from '../engine/graph/tensor.ts';
import { type Init, type NetworkFamily, type SampleType, type Scope, within } from '../engine/train/network.ts';
import { OptionError, options, real, type Values, whole } from '../engine/train/options.ts';
import { silu, told, xavier, zeros } from './layers.ts';
import { preconditioned, preconditioningOptions, type RawNetwork } from './precondition.ts';

/** The defaults are DiT-S/2. */
export const ditOptions = options({
  patch: whole(2, 'side of a patch in pixels', { min: 1 }),
  width: whole(384, 'width of the tokens', { min: 4 }),
  depth: whole(12, 'blocks', { min: 1 }),
  heads: whole(6, 'attention heads', { min: 1 }),
  mlpRatio: real(4, 'width of the hidden layers as a multiple of the width of the tokens', { min: 0.1 }),
  ...preconditioningOptions.shape,
});
export type DitOptions = Values<typeof ditOptions>;

/** Length of the embedding of the noise label. */
const WAVES = 256;
const EPS = 1e-6;
const small: Init = { kind: 'normal', std: 0.02 };

/** A layer on the last axis; the leading ones are joined, so that the gradient of its filter is a single product. */
function dense(scope: Scope, name: string, x: Tensor, out: number, init?: Init): Tensor {
  const inside = fixed('dit', x.shape.at(-1));
  const weight = scope(`${name}.weight`, [out, inside], init ?? xavier(inside, out));
  const y = product(reshape(x, [-1, inside]), weight, scope(`${name}.bias`, [out], zeros));
  return reshape(y, [...x.shape.slice(0, -1), out]);
}

/** Table [rows·columns, width]: sines then cosines of the column, then those of the row, at frequencies 10000^(−k/n), k < n = width/4. */
export function positions(rows: number, columns: number, width: number): Float32Array {
  const n = width / 4;
  const frequencies = Array.from({ length: n }, (_, k) => 1e4 ** (-k / n));
  const waves = (at: number): number[] => [Math.sin, Math.cos].flatMap((f) => frequencies.map((w) => f(at * w)));
  const tokens = Array.from({ length: rows * columns }, (_, i) => [...waves(i % columns), ...waves(Math.floor(i / columns))]);
  return Float32Array.from(tokens.flat());
}

/** [N,C,H,W] → [N, HW/p², width]: a convolution of stride p with p×p filters, as one product. */
export function patchEmbed(scope: Scope, x: Tensor, patch: number, width: number): Tensor {
  const [c, h, w] = x.shape.slice(1).map((d) => fixed('dit', d)) as [number, number, number];
  const inside = c * patch * patch;
  const [rows, columns] = [h / patch, w / patch];
  const cut = transpose(reshape(x, [x.shape[0]!, c, rows, patch, columns, patch]), [0, 2, 4, 1, 3, 5]); // [N, rows, columns, C, p, p]
  const weight = reshape(scope('proj.weight', [width, c, patch, patch], xavier(inside, width)), [width, inside]);
  const y = product(reshape(cut, [-1, inside]), weight, scope('proj.bias', [width], zeros));
  return reshape(y, [x.shape[0]!, rows * columns, width]);
}

/** [N, rows·columns, p²·C], C last → [N, C, rows·p, columns·p]. */
export function unpatch(tokens: Tensor, rows: number, patch: number, channels: number): Tensor {
  const n = tokens.shape[0]!;
  const columns = fixed('dit', tokens.shape[1]) / rows;
  const cut = transpose(reshape(tokens, [n, rows, columns, patch, patch, channels]), [0, 5, 1, 3, 2, 4]);
  return reshape(cut, [n, channels, rows * patch, columns * patch]);
}

/** The condition vector of noise label [N] or [1]: cosines then sines at frequencies 10000^(−k/128), through two layers. */
function embedNoise(scope: Scope, noise: Tensor, width: number): Tensor {
  const half = WAVES / 2;
  const frequencies = Float64Array.from({ length: half }, (_, k) => 1e4 ** (-k / half));
  const angles = mul(reshape(noise, [noise.shape[0]!, 1]), constant(frequencies, [half]));
  const hidden = dense(scope, 'mlp.0', concat([cos(angles), sin(angles)], 1), width, small);
  return dense(scope, 'mlp.2', silu(hidden), width, small);
}

/** The class vector of labels [N, classes], one-hot or soft. What they lack to a sum of 1 is the null class, the table's last row. */
function embedClass(scope: Scope, label: Tensor | undefined, classes: number, width: number): Tensor {
  const table = scope('embedding_table.weight', [classes + 1, width], small);
  if (!label) return slice(table, 0, classes); // [1, width]
  return matmul(concat([label, sub(1, reduceSum(label, [1]))], 1), table);
}

/** Vectors [N,1,width] from the condition [N,width]; their layer starts at zero. */
function modulation(scope: Scope, condition: Tensor, width: number, count: number): readonly Tensor[] {
  const all = dense(scope, 'adaLN_modulation.1', silu(condition), count * width, zeros);
  return split(reshape(all, [all.shape[0]!, 1, count * width]), new Array<number>(count).fill(width), 2);
}
const modulate = (x: Tensor, shift: Tensor, scale: Tensor, eps: number): Tensor =>
  add(mul(layerNorm(x, undefined, undefined, eps), add(scale, 1)), shift);

function selfAttention(scope: Scope, x: Tensor, heads: number): Tensor {
  const [n, length] = [x.shape[0]!, fixed('dit', x.shape[1])];
  const width = fixed('dit', x.shape[2]);
  const qkv = transpose(reshape(dense(scope, 'qkv', x, 3 * width), [n, length, 3 * heads, width / heads]), [0, 2, 1, 3]);
  const [q, k, v] = split(qkv, [heads, heads, heads], 1); // [N, heads, T, width/heads]
  const mixed = transpose(attention(q!, k!, v!), [0, 2, 1, 3]); // [N, T, heads, width/heads]
  return dense(scope, 'proj', reshape(mixed, x.shape), width);
}

export interface BlockOptions {
  readonly heads: number;
  /** Width of the hidden layer. */
  readonly hidden: number;
  /** Added to the variance before attention and before the hidden layer. */
  readonly eps?: readonly [number, number];
}
/** adaLN-Zero: attention and a hidden layer, each modulated and gated by the condition. tokens [N,T,width], condition [N,width]. */
export function ditBlock(scope: Scope, tokens: Tensor, condition: Tensor, { heads, hidden, eps = [EPS, EPS] }: BlockOptions): Tensor {
  const width = fixed('dit', tokens.shape[2]);
  const [shift, scale, gate, shift2, scale2, gate2] = modulation(scope, condition, width, 6) as [
    Tensor,
    Tensor,
    Tensor,
    Tensor,
    Tensor,
    Tensor,
  ];
  const x = add(tokens, mul(gate, selfAttention(within(scope, 'attn.'), modulate(tokens, shift, scale, eps[0]), heads)));
  const wide = geluTanh(dense(scope, 'mlp.fc1', modulate(x, shift2, scale2, eps[1]), hidden));
  return add(x, mul(gate2, dense(scope, 'mlp.fc2', wide, width)));
}

/** Tokens [N,T,width] → [N,T,out], zero at the start. */
export function finalLayer(scope: Scope, tokens: Tensor, condition: Tensor, out: number): Tensor {
  const [shift, scale] = modulation(scope, condition, fixed('dit', tokens.shape[2]), 2) as [Tensor, Tensor];
  return dense(scope, 'linear', modulate(tokens, shift, scale, EPS), out, zeros);
}

/** Errors: samples that are not images or do not split into patches, widths that do not split into heads. */
function checkSizes({ patch, width, heads }: DitOptions, { shape }: SampleType): void {
  if (shape.length !== 3) throw new OptionError(`dit: samples [${shape}] are not images [C,H,W]`);
  if (shape.slice(1).some((d) => d % patch !== 0)) {
    throw new OptionError(`dit: ${shape[1]}x${shape[2]} does not split into patches of ${patch}x${patch}`);
  }
  if (width % 4 !== 0 || width % heads !== 0) {
    throw new OptionError(`dit: width ${width} must be a multiple of 4, for the positions, and of heads ${heads}`);
  }
}

/** The network without preconditioning: image and noise label [N] ↦ image; the tokens after each block as maps [N, width, H/p, W/p]. */
export function dit(scope: Scope, o: DitOptions, sample: SampleType): RawNetwork {
  checkSizes(o, sample);
  const [channels, height, wide] = sample.shape as [number, number, number];
  const [rows, columns] = [height / o.patch, wide / o.patch];
  const table: Init = { kind: 'values', values: positions(rows, columns, o.width) };
  return (image, noise, given) => {
    const time = embedNoise(within(scope, 't_embedder.'), noise, o.width);
    const classes = sample.classes > 0 ? embedClass(within(scope, 'y_embedder.'), given['label'], sample.classes, o.width) : null;
    const condition = [time, classes, told(scope, given, sample.scalars, o.width)].filter((part) => part !== null).reduce(add);
    const features: Record<string, Tensor> = {};
    let x = add(
      patchEmbed(within(scope, 'x_embedder.'), image, o.patch, o.width),
      scope.buffer('pos_embed', [1, rows * columns, o.width], table),
    );
    for (let i = 0; i < o.depth; i++) {
      x = ditBlock(within(scope, `blocks.${i}.`), x, condition, { heads: o.heads, hidden: Math.floor(o.width * o.mlpRatio) });
      features[`block${i}`] = reshape(transpose(x, [0, 2, 1]), [x.shape[0]!, o.width, rows, columns]);
    }
    features['bottleneck'] = features[`block${Math.floor((o.depth - 1) / 2)}`]!;
    const patches = finalLayer(within(scope, 'final_layer.'), x, condition, o.patch ** 2 * channels);
    return { output: unpatch(patches, rows, o.patch, channels), features };
  };
}

/** The transformer with its preconditioning; `flow` is a SiT. */
export const ditFamily: NetworkFamily<typeof ditOptions> = {
  name: 'dit',
  options: ditOptions,
  build: (scope, o, sample) => preconditioned(dit(scope, o, sample), o),
};
