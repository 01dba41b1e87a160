/** @file Layers that diffusers' networks share, under its names: linear layers on any rank, norms, activations, embeddings of time and class, attention, feed-forward. */
import { attention } from '../../../engine/graph/ops/attention.ts';
import { type ConvOptions, conv2d } from '../../../engine/graph/ops/conv.ts';
import {
  add,
  cast,
  cos,
  floor,
  gelu,
  geluTanh,
  mish,
  mul,
  quickGelu,
  relu,
  silu,
  sin,
  sub,
} from '../../../engine/graph/ops/elementwise.ts';
import { constant } from '../../../engine/graph/ops/leaf.ts';
import { matmul, linear as product } from '../../../engine/graph/ops/linalg.ts';
import { concat, pad, reshape, split, transpose } from '../../../engine/graph/ops/movement.ts';
import { groupNorm as normaliseGroups, layerNorm as normaliseRow, rmsNorm as scaleRow } from '../../../engine/graph/ops/normalize.ts';
import { embedding } from '../../../engine/graph/ops/select.ts';
import { fixed, ShapeError, show, type Tensor } from '../../../engine/graph/tensor.ts';
import { type Init, type Scope, within } from '../../../engine/train/network.ts';
import { ones, xavier, zeros } from '../../layers.ts';

/** What a network's `forward` takes, by the names of diffusers; entries of `added_cond_kwargs` are led by that word and a dot. */
export type Inputs = Readonly<Record<string, Tensor>>;
/** An input that must be there. */
export function needed(where: string, inputs: Inputs, name: string): Tensor {
  const found = inputs[name];
  if (!found) throw new ShapeError(`${where}: the input ${name} is missing; given are ${Object.keys(inputs).join(', ')}`);
  return found;
}

const unitNormal: Init = { kind: 'normal', std: 1 };

export const activations = ['silu', 'swish', 'mish', 'gelu', 'relu'] as const;
export type Activation = (typeof activations)[number];
export const ACTIVATIONS: Readonly<Record<Activation, (x: Tensor) => Tensor>> = { silu, swish: silu, mish, gelu, relu };

/** NAME.weight [out, in] and NAME.bias [out] on the last axis; the leading axes are joined, so that the filter's gradient is a single product. */
export function dense(scope: Scope, name: string, x: Tensor, out: number, bias = true): Tensor {
  const inside = fixed(name, x.shape.at(-1));
  const weight = scope(`${name}.weight`, [out, inside], xavier(inside, out));
  const flat = x.shape.length === 2 ? x : reshape(x, [-1, inside]);
  const y = product(flat, weight, bias ? scope(`${name}.bias`, [out], zeros) : undefined);
  return x.shape.length === 2 ? y : reshape(y, [...x.shape.slice(0, -1), out]);
}

/** NAME.weight [out, in/groups, k, k] and NAME.bias [out]. Padding keeps the size unless given. */
export function conv(
  scope: Scope,
  name: string,
  x: Tensor,
  out: number,
  kernel: number,
  { bias = true, ...options }: Omit<ConvOptions, 'bias'> & { readonly bias?: boolean } = {},
): Tensor {
  const inside = fixed(name, x.shape[1]) / (options.groups ?? 1);
  const weight = scope(`${name}.weight`, [out, inside, kernel, kernel], xavier(inside * kernel * kernel, out * kernel * kernel));
  return conv2d(x, weight, {
    padding: Math.floor((kernel - 1) / 2),
    ...options,
    bias: bias ? scope(`${name}.bias`, [out], zeros) : undefined,
  });
}

/** NAME.weight and NAME.bias [C] over [N,C,…]. */
export function groupNorm(scope: Scope, name: string, x: Tensor, groups: number, eps: number): Tensor {
  const c = fixed(name, x.shape[1]);
  return normaliseGroups(x, scope(`${name}.weight`, [c], ones), scope(`${name}.bias`, [c], zeros), groups, eps);
}
/** On the last axis, with NAME.weight and NAME.bias unless `affine` is false. */
export function layerNorm(scope: Scope, name: string, x: Tensor, eps: number, affine = true): Tensor {
  const d = fixed(name, x.shape.at(-1));
  return affine
    ? normaliseRow(x, scope(`${name}.weight`, [d], ones), scope(`${name}.bias`, [d], zeros), eps)
    : normaliseRow(x, undefined, undefined, eps);
}
/** On the last axis, with NAME.weight. */
export const rmsNorm = (scope: Scope, name: string, x: Tensor, eps: number): Tensor =>
  scaleRow(x, scope(`${name}.weight`, [fixed(name, x.shape.at(-1))], ones), eps);

export interface Waves {
  /** Cosines before sines. */
  readonly flip?: boolean;
  /** Subtracted from the number of frequencies in the exponent. */
  readonly shift?: number;
}
/** A frequency as a part of 12 bits, whose product with a whole number below 4096 is exact in float32, and the rest. */
function inParts(frequency: number): readonly [number, number] {
  const unit = 2 ** (Math.floor(Math.log2(frequency)) - 11);
  const coarse = Math.round(frequency / unit) * unit;
  return [coarse, frequency - coarse];
}
/**
 * Sine and cosine of values [n,1] times frequencies [k], [n,k] each. An angle of a thousand radians has an error of 6e-5 in float32; here the whole part of
 * the value turns by an exact angle, and what is left is small.
 */
export function sineCosine(values: Tensor, frequencies: readonly number[]): { readonly sine: Tensor; readonly cosine: Tensor } {
  const row = (part: (f: number) => number): Tensor => constant(Float64Array.from(frequencies, part), [1, frequencies.length]);
  const whole = floor(values);
  const a = mul(
    whole,
    row((f) => inParts(f)[0]),
  );
  const b = add(
    mul(
      whole,
      row((f) => inParts(f)[1]),
    ),
    mul(
      sub(values, whole),
      row((f) => f),
    ),
  );
  const [sa, ca, sb, cb] = [sin(a), cos(a), sin(b), cos(b)];
  return { sine: add(mul(sa, cb), mul(ca, sb)), cosine: sub(mul(ca, cb), mul(sa, sb)) };
}
/** Numbers of any shape, taken as [n] → [n, width]: sines and cosines at frequencies 10000^(−k/(half − shift)), k < half = ⌊width/2⌋; an odd width ends with a zero. */
export function waves(values: Tensor, width: number, { flip = false, shift = 0 }: Waves = {}): Tensor {
  const half = Math.floor(width / 2);
  const frequencies = Array.from({ length: half }, (_, k) => 1e4 ** (-k / (half - shift)));
  const { sine, cosine } = sineCosine(reshape(cast(values, 'float32'), [-1, 1]), frequencies);
  const both = concat(flip ? [cosine, sine] : [sine, cosine], 1);
  return width % 2 === 0 ? both : pad(both, 1, 0, 1);
}

/** A timestep [] or [N] as [1] or [N]. */
export const stepsOf = (timestep: Tensor): Tensor => reshape(timestep, [timestep.shape[0] ?? 1]);

/** TimestepEmbedding: two linear layers `linear_1`, `linear_2` of the same width, `cond_proj` added before. */
export function embedVector(
  scope: Scope,
  x: Tensor,
  width: number,
  o: { readonly act?: Activation; readonly post?: Activation | null; readonly extra?: Tensor | undefined } = {},
): Tensor {
  const inside = fixed('embedding', x.shape[1]);
  const start = o.extra ? add(x, dense(scope, 'cond_proj', o.extra, inside, false)) : x;
  const y = dense(scope, 'linear_2', ACTIVATIONS[o.act ?? 'silu'](dense(scope, 'linear_1', start, width)), width);
  return o.post ? ACTIVATIONS[o.post](y) : y;
}
/** The embedding of a number by 256 waves: what the transformers do with time, guidance and sizes. */
export const embedNumber = (scope: Scope, value: Tensor, width: number, shift = 0): Tensor =>
  embedVector(scope, waves(value, 256, { flip: true, shift }), width);

/** PixArtAlphaTextProjection: two linear layers with an activation between. */
export const projectText = (scope: Scope, text: Tensor, width: number, act: (x: Tensor) => Tensor = geluTanh): Tensor =>
  dense(scope, 'linear_2', act(dense(scope, 'linear_1', text, width)), width);

/** Rows of NAME.weight [entries, width]: for classes int64 [N], or for weights over the classes [N, entries], one-hot or soft. */
export function embedClass(scope: Scope, name: string, label: Tensor, entries: number, width: number): Tensor {
  const table = scope(`${name}.weight`, [entries, width], unitNormal);
  if (label.dtype === 'int64') return embedding(table, stepsOf(label));
  if (label.shape.length !== 2 || label.shape[1] !== entries)
    throw new ShapeError(`${name}: classes must be int64[N] or weights [N, ${entries}], got ${show(label)}`);
  return matmul(label, table);
}

/** [N,C,H,W] → [N,HW,C] and back. */
export const toTokens = (x: Tensor): Tensor => transpose(reshape(x, [x.shape[0]!, x.shape[1]!, -1]), [0, 2, 1]);
export const toMap = (tokens: Tensor, [height, width]: readonly [number, number]): Tensor =>
  reshape(transpose(tokens, [0, 2, 1]), [tokens.shape[0]!, tokens.shape[2]!, height, width]);
/** Height and width of a map. */
export const sidesOf = (x: Tensor): readonly [number, number] => [fixed('height', x.shape[2]), fixed('width', x.shape[3])];

/** [N,T,heads·d] → [N,heads,T,d] and back. */
export const toHeads = (x: Tensor, heads: number): Tensor =>
  transpose(reshape(x, [x.shape[0]!, x.shape[1]!, heads, fixed('heads', x.shape[2]) / heads]), [0, 2, 1, 3]);
export const fromHeads = (x: Tensor): Tensor =>
  reshape(transpose(x, [0, 2, 1, 3]), [x.shape[0]!, x.shape[2]!, fixed('heads', x.shape[1]) * fixed('heads', x.shape[3])]);

/** A mask over keys, [N,T] of ones and zeros or a bias [N,1,T], as a bias [N,1,1,T]: 0 keeps, −10000 drops. */
export function keyBias(mask: Tensor | undefined): Tensor | undefined {
  if (!mask) return undefined;
  const [n, length] = [mask.shape[0]!, mask.shape.at(-1)!];
  const bias = mask.shape.length === 2 ? mul(sub(1, cast(mask, 'float32')), -10000) : mask;
  return reshape(bias, [n, 1, 1, length]);
}

/**
 * What attention is turned away from: Z = Z⁺ − α Z⁻ with the same projections, before the output's own. NASA of SNOOPI, Nguyen et al. 2024,
 * arXiv:2412.02687.
 */
export interface Against {
  /** [N,T,D] */
  readonly context: Tensor;
  /** [N,1,1,T], added to the scores. */
  readonly mask: Tensor | undefined;
  /** α, [N,1,1,1] */
  readonly strength: Tensor;
}
/** What negative text the inputs have, as it is projected for attention. */
export function againstOf(inputs: Inputs, project: (text: Tensor) => Tensor): Against | undefined {
  const text = inputs['negative_hidden_states'];
  if (!text) return undefined;
  const strength = reshape(needed('negative attention', inputs, 'negative_strength'), [text.shape[0]!, 1, 1, 1]);
  return { context: project(text), mask: keyBias(inputs['negative_attention_mask']), strength };
}

export interface AttentionOptions {
  readonly heads: number;
  readonly headDim: number;
  /** Biases of queries, keys and values; default false. */
  readonly bias?: boolean;
  /** What keys and values are made of; default: the tokens themselves. */
  readonly context?: Tensor | undefined;
  readonly mask?: Tensor | undefined;
  readonly against?: Against | undefined;
}
/** Attention to a context, less attention to what it is turned away from; keys and values [N,heads,T,d] of either. */
export function turned(
  q: Tensor,
  { context, mask, against }: { readonly context: Tensor; readonly mask: Tensor | undefined; readonly against?: Against | undefined },
  keys: (from: Tensor) => Tensor,
  values: (from: Tensor) => Tensor,
): Tensor {
  const towards = attention(q, keys(context), values(context), { mask });
  if (!against) return towards;
  return sub(towards, mul(against.strength, attention(q, keys(against.context), values(against.context), { mask: against.mask })));
}
/** `to_q`, `to_k`, `to_v`, `to_out.0`: multi-head attention of tokens [N,T,C]. */
export function attend(scope: Scope, tokens: Tensor, o: AttentionOptions): Tensor {
  const inner = o.heads * o.headDim;
  const { bias = false, context = tokens } = o;
  const q = dense(scope, 'to_q', tokens, inner, bias);
  const keys = (from: Tensor): Tensor => toHeads(dense(scope, 'to_k', from, inner, bias), o.heads);
  const values = (from: Tensor): Tensor => toHeads(dense(scope, 'to_v', from, inner, bias), o.heads);
  const mixed = turned(toHeads(q, o.heads), { context, mask: o.mask, against: o.against }, keys, values);
  return dense(scope, 'to_out.0', fromHeads(mixed), fixed('attention', tokens.shape[2]));
}

export const feedForwards = ['geglu', 'geglu-approximate', 'gelu', 'gelu-approximate', 'swiglu', 'linear-silu'] as const;
export type FeedForward = (typeof feedForwards)[number];
/** A hidden layer of twice the width whose second half gates the first. */
const gatedBy =
  (act: (x: Tensor) => Tensor) =>
  (scope: Scope, x: Tensor, hidden: number): Tensor => {
    const [value, gate] = split(dense(scope, 'net.0.proj', x, 2 * hidden), [hidden, hidden], -1) as [Tensor, Tensor];
    return mul(value, act(gate));
  };
const plainly =
  (act: (x: Tensor) => Tensor) =>
  (scope: Scope, x: Tensor, hidden: number): Tensor =>
    act(dense(scope, 'net.0.proj', x, hidden));
const HIDDEN: Readonly<Record<FeedForward, (scope: Scope, x: Tensor, hidden: number) => Tensor>> = {
  geglu: gatedBy(gelu),
  'geglu-approximate': plainly(quickGelu),
  gelu: plainly(gelu),
  'gelu-approximate': plainly(geluTanh),
  swiglu: gatedBy(silu),
  'linear-silu': plainly(silu),
};
/** `net.0.proj`, `net.2`: a hidden layer of four times the width. */
export function feedForward(scope: Scope, x: Tensor, kind: FeedForward): Tensor {
  const width = fixed('ff', x.shape.at(-1));
  return dense(scope, 'net.2', HIDDEN[kind](scope, x, 4 * width), width);
}

export { within };
