/** @file How the gradient of a convolution's filter is spelled: as matrix products over all positions, since ONNX has no such operator. */
import type { Emitter } from '../tensor.ts';
import { joined } from './wide.ts';

export type Pair = readonly [number, number];
export interface ConvAttrs {
  readonly stride: Pair;
  /** Top, left, bottom, right. */
  readonly padding: readonly [number, number, number, number];
  readonly dilation: Pair;
  readonly groups: number;
}
export type FilterAttrs = ConvAttrs & { readonly kernel: Pair };
export type Shape4 = readonly [number, number, number, number];
type Names = readonly [string, string];

const range = (n: number): number[] => [...Array(n).keys()];

/** Σ over samples and positions of y [N,O,H',W'] times the x [N,C,H,W] under each tap: [O, C/groups, kh, kw]. */
export function filterNodes(shapes: readonly [Shape4, Shape4], names: Names, attrs: FilterAttrs, emit: Emitter): string {
  const { stride, groups, kernel, padding } = attrs;
  if (groups > 1 || stride[0] > 1 || stride[1] > 1) return tapFilter(shapes, names, attrs, emit);
  return kernel[0] === 1 && kernel[1] === 1 && Math.max(...padding) === 0
    ? pointFilter(shapes, names, emit)
    : rowFilter(shapes, names, attrs, emit);
}

/** [N,C,H,W] → [C,N,H,W]. */
const channelMajor = (name: string, emit: Emitter): string => emit.node('Transpose', [name], { perm: [1, 0, 2, 3] });
/** a bᵀ of matrices. */
const matmulT = (a: string, b: string, emit: Emitter): string =>
  emit.target === 'cpu'
    ? emit.node('FusedMatMul', [a, b], { transB: 1 }, 'com.microsoft')
    : emit.node('MatMul', [a, emit.node('Transpose', [b], { perm: [1, 0] })]);

/** 1×1 filters: one product of channel-major matrices. */
function pointFilter([[, c], [, o]]: readonly [Shape4, Shape4], [x, y]: Names, emit: Emitter): string {
  const flat = (name: string, channels: number): string => emit.node('Reshape', [channelMajor(name, emit), emit.ints([channels, -1])]);
  return emit.node('Reshape', [matmulT(flat(y, o), flat(x, c), emit), emit.ints([o, c, 1, 1])]);
}

/**
 * Stride 1. All samples' rows follow one another, of the output's width, with rows of zeros between the samples, so that moving y by whole
 * rows moves it under another tap: [O·kh, positions], against x shifted to each of the kw columns, [C, positions]. That is kw products
 * and kh + kw copies instead of kh·kw of each; nothing is left to sum (bench/ops.ts).
 */
function rowFilter([[n, c, h, w], [, o, ho, wo]]: readonly [Shape4, Shape4], [x, y]: Names, attrs: FilterAttrs, emit: Emitter): string {
  const {
    padding: [top, left, bottom],
    dilation,
    kernel: [kh, kw],
  } = attrs;
  const gap = Math.max(top, bottom, ho - h, 0); // rows of zeros above each sample of x, below each of y
  const positions = n * (h + gap) * wo;
  const columns = range(kw).map((j) => {
    const before = left - j * dilation[1];
    const shifted = emit.node('Pad', [channelMajor(x, emit), emit.ints([0, 0, gap, before, 0, 0, 0, wo - w - before])]);
    return emit.node('Reshape', [shifted, emit.ints([c, positions])]);
  });
  const lowered = range(kh).map((i) => (i * dilation[0] - top + gap) * wo); // positions by which y lies lower for row i of the filter
  const rows = stackRows({ y: channelMajor(y, emit), o, below: h + gap - ho, positions, lowered }, emit);
  const products = columns.map((column) => matmulT(rows, column, emit)); // [O·kh, C] each
  const wide = joined(emit, products, 1);
  const taps = emit.node('Reshape', [wide, emit.ints([o, kh * kw, c])]);
  return emit.node('Reshape', [emit.node('Transpose', [taps], { perm: [0, 2, 1] }), emit.ints([o, c, kh, kw])]);
}

interface Rows {
  /** [O,N,H',W'] */
  readonly y: string;
  readonly o: number;
  /** Rows of zeros to put below each sample. */
  readonly below: number;
  readonly positions: number;
  readonly lowered: readonly number[];
}
/** y once for every row of the filter, each moved down: [O·kh, positions]. One Concat with zeros between; what moves past the end is zero or has no partner. */
function stackRows({ y, o, below, positions, lowered }: Rows, emit: Emitter): string {
  const padded = below === 0 ? y : emit.node('Pad', [y, emit.ints([0, 0, 0, 0, 0, 0, below, 0])]);
  const flat = emit.node('Reshape', [padded, emit.ints([o, positions])]);
  const last = lowered.at(-1)!;
  const cut = last === 0 ? flat : emit.node('Slice', [flat, emit.ints([0]), emit.ints([positions - last]), emit.ints([1])]);
  const pieces = lowered.flatMap((by, i) => {
    const zeros = by - (lowered[i - 1] ?? 0);
    const copy = i === lowered.length - 1 ? cut : flat;
    return zeros === 0 ? [copy] : [emit.floats(new Float32Array(o * zeros), [o, zeros]), copy];
  });
  if (pieces.length === 1) return pieces[0]!;
  return emit.node('Reshape', [joined(emit, pieces, 1), emit.ints([o * lowered.length, positions])]);
}

/** Any stride and groups: one strided slice and one batched product a tap. */
function tapFilter([[n, c], [, o, ho, wo]]: readonly [Shape4, Shape4], names: Names, attrs: FilterAttrs, emit: Emitter): string {
  const {
    stride,
    padding: [top, left, bottom, right],
    dilation,
    groups: g,
    kernel,
  } = attrs;
  const padded = emit.node('Pad', [names[0], emit.ints([0, 0, top, left, 0, 0, bottom, right])]);
  const ys = emit.node('Reshape', [names[1], emit.ints([n, g, o / g, ho * wo])]);
  const taps = [...Array(kernel[0]! * kernel[1]!).keys()].map((t) => {
    const [i, j] = [Math.floor(t / kernel[1]!) * dilation[0]!, (t % kernel[1]!) * dilation[1]!];
    const ends = [i + stride[0]! * (ho - 1) + 1, j + stride[1]! * (wo - 1) + 1];
    const tap = emit.node('Slice', [padded, emit.ints([i, j]), emit.ints(ends), emit.ints([2, 3]), emit.ints(stride)]);
    const flat = emit.node('Reshape', [tap, emit.ints([n, g, c / g, ho * wo])]);
    const product = emit.node('MatMul', [ys, emit.node('Transpose', [flat], { perm: [0, 1, 3, 2] })]); // [N, g, O/g, C/g]
    return emit.node('ReduceSum', [product, emit.ints([0])], { keepdims: 0 });
  });
  return stackTaps(taps, [o, c / g], kernel, emit);
}

/** Taps [O,C] in row-major order → [O,C,kh,kw]. */
function stackTaps(taps: readonly string[], [o, c]: Pair, kernel: Pair, emit: Emitter): string {
  const columns = taps.map((t) => emit.node('Reshape', [t, emit.ints([o, c, 1])]));
  return emit.node('Reshape', [joined(emit, columns, 2), emit.ints([o, c, ...kernel])]);
}
