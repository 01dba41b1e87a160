/** @file Ops that move values without computing on them. Each is the adjoint of another in this file, or of a sum. */
import {
  apply,
  applyAll,
  axisOf,
  type Dim,
  elements,
  fixed,
  isSymbolic,
  multipleOf,
  type Op,
  type Shape,
  ShapeError,
  sameShape,
  scaleDim,
  show,
  sizeOf,
  symbolic,
  type Tensor,
} from '../tensor.ts';
import { broadcastIndex, broadcastShapes } from './elementwise.ts';
import { constant } from './leaf.ts';
import { reduceSum } from './reduce.ts';
import { cut, joined } from './wide.ts';

const count = (shape: readonly number[]): number => shape.reduce((n, d) => n * d, 1);
/** ONNX reads −1 as "what is left", so N is never written down. */
const target = (shape: Shape): number[] => shape.map((d) => (isSymbolic(d) ? -1 : d));

const reshapeOp: Op<{ readonly shape: Shape }> = {
  name: 'reshape',
  infer([x], { shape }) {
    if (elements(shape) !== elements(x!.shape)) throw new ShapeError(`reshape: ${show(x!)} does not fit [${shape.join(',')}]`);
    return [{ shape, dtype: x!.dtype }];
  },
  vjp: ({ inputs: [x] }, [dy]) => [reshape(dy!, x!.shape)],
  onnx: ({ attrs }, [x], emit) => [emit.node('Reshape', [x!, emit.ints(target(attrs.shape))])],
  reference: ([x]) => [x!.data],
};
/** The same values under another shape; one size may be −1, which is worked out. */
export function reshape(x: Tensor, shape: readonly (Dim | -1)[]): Tensor {
  const full = shape.includes(-1) ? shape.map((d) => (d === -1 ? rest(x, shape) : d)) : shape;
  if (sameShape(x.shape, full)) return x;
  const inner = x.node.op === (reshapeOp as unknown) ? x.node.inputs[0]! : x;
  return sameShape(inner.shape, full) ? inner : apply(reshapeOp, [inner], { shape: full });
}

function rest(x: Tensor, shape: readonly (Dim | -1)[]): Dim {
  const known = elements(shape.filter((d) => d !== -1));
  const all = elements(x.shape);
  const [a, k] = [all, known].map((d) => (isSymbolic(d) ? multipleOf(d) : d)) as [number, number];
  const fits = Number.isInteger(a / k) && (isSymbolic(all) || !isSymbolic(known));
  if (!fits) throw new ShapeError(`reshape: ${show(x)} does not fit [${shape.join(',')}]`);
  return isSymbolic(all) && !isSymbolic(known) ? symbolic(a / k) : a / k;
}

const transposeOp: Op<{ readonly perm: readonly number[] }> = {
  name: 'transpose',
  infer: ([x], { perm }) => [{ shape: perm.map((axis) => x!.shape[axis]!), dtype: x!.dtype }],
  vjp: ({ attrs: { perm } }, [dy]) => [
    transpose(
      dy!,
      perm.map((_, i) => perm.indexOf(i)),
    ),
  ],
  onnx: ({ attrs }, [x], emit) => [emit.node('Transpose', [x!], { perm: attrs.perm })],
  reference: ([x], { attrs: { perm } }, [out]) => {
    const strides = x!.shape.map((_, i) => count(x!.shape.slice(i + 1)));
    return [
      gatherBy(
        x!.data,
        out!,
        perm.map((axis) => strides[axis]!),
        0,
      ),
    ];
  },
};
/** Reads `data` with one stride per output axis. */
function gatherBy(data: Float64Array, out: readonly number[], strides: readonly number[], start: number): Float64Array {
  const y = new Float64Array(count(out));
  const at = new Array<number>(out.length).fill(0);
  let from = start;
  for (let i = 0; i < y.length; i++) {
    y[i] = data[from]!;
    for (let axis = out.length - 1; axis >= 0; axis--) {
      from += strides[axis]!;
      if (++at[axis]! < out[axis]!) break;
      from -= strides[axis]! * out[axis]!;
      at[axis] = 0;
    }
  }
  return y;
}
/** Axes in a new order. */
export function transpose(x: Tensor, perm: readonly number[]): Tensor {
  if (perm.length !== x.shape.length || new Set(perm).size !== perm.length) {
    throw new ShapeError(`transpose: [${perm.join(',')}] is not an order of the axes of ${show(x)}`);
  }
  if (perm.every((axis, i) => axis === i)) return x;
  return apply(transposeOp, [x], { perm });
}
/** The last two axes swapped. */
export function swapLast(x: Tensor): Tensor {
  const n = x.shape.length;
  return transpose(
    x,
    [...x.shape.keys()].map((i) => (i === n - 1 ? n - 2 : i === n - 2 ? n - 1 : i)),
  );
}

const expandOp: Op<{ readonly shape: Shape }> = {
  name: 'expand',
  infer([x], { shape }) {
    const full = broadcastShapes('expand', x!, { shape, dtype: x!.dtype });
    if (!sameShape(full, shape)) throw new ShapeError(`expand: ${show(x!)} does not broadcast to [${shape.join(',')}]`);
    return [{ shape, dtype: x!.dtype }];
  },
  vjp: (_, [dy]) => [dy!], // gradients() sums it back
  // A symbolic size that x has already is written as 1, which keeps it.
  onnx({ inputs: [x], attrs: { shape } }, [name], emit) {
    const own = shape.map((d, i) => isSymbolic(d) && x!.shape[i - shape.length + x!.shape.length] === d);
    return [emit.node('Expand', [name!, emit.ints(shape.map((d, i) => (own[i] ? 1 : fixed('expand', d))))])];
  },
  reference: ([x], _, [out]) => {
    const at = broadcastIndex(x!.shape, out!);
    return [Float64Array.from({ length: count(out!) }, (_v, i) => x!.data[at(i)]!)];
  },
};
/** Broadcasts to a shape. The batch size must be fixed, or x must have it already: elsewhere let arithmetic broadcast by itself. */
export const expand = (x: Tensor, shape: Shape): Tensor => (sameShape(x.shape, shape) ? x : apply(expandOp, [x], { shape }));
/** A tensor filled with one number. */
export const fill = (value: number, shape: Shape): Tensor => expand(constant(value), shape);

interface Range {
  readonly axis: number;
  readonly start: number;
  readonly end: number;
  readonly step: number;
}
const sliceOp: Op<Range> = {
  name: 'slice',
  infer: ([x], { axis, start, end, step }) => [{ shape: x!.shape.with(axis, Math.ceil((end - start) / step)), dtype: x!.dtype }],
  vjp: ({ inputs: [x], attrs }, [dy]) => [place(dy!, attrs, fixed('slice', x!.shape[attrs.axis]))],
  onnx: ({ attrs: { axis, start, end, step } }, [x], emit) => [
    emit.node('Slice', [x!, emit.ints([start]), emit.ints([end]), emit.ints([axis]), emit.ints([step])]),
  ],
  reference: ([x], { attrs: { axis, start, step } }, [out]) => {
    const strides = x!.shape.map((_, i) => count(x!.shape.slice(i + 1)));
    return [gatherBy(x!.data, out!, strides.with(axis, strides[axis]! * step), start * strides[axis]!)];
  },
};
/** x[start:end:step] along one axis; negative bounds count from the end, step is positive. */
export function slice(x: Tensor, axis: number, start: number, end?: number, step = 1): Tensor {
  const a = axisOf('slice', axis, x.shape.length);
  if (isSymbolic(x.shape[a]!)) throw new ShapeError(`slice: axis ${a} of ${show(x)} has no fixed size`);
  const size = fixed('slice', x.shape[a]);
  const from = start < 0 ? start + size : start;
  const to = Math.min(end === undefined ? size : end < 0 ? end + size : end, size);
  if (from < 0 || to < from || step < 1)
    throw new ShapeError(`slice: [${start}:${end ?? ''}:${step}] is not a range of axis ${a} of ${show(x)}`);
  return from === 0 && to === size && step === 1 ? x : apply(sliceOp, [x], { axis: a, start: from, end: to, step });
}

const placeOp: Op<Range & { readonly size: number }> = {
  name: 'place',
  infer: ([x], { axis, size }) => [{ shape: x!.shape.with(axis, size), dtype: x!.dtype }],
  vjp: ({ attrs: { axis, start, end, step } }, [dy]) => [slice(dy!, axis, start, end, step)],
  onnx({ inputs: [x], attrs: { axis, start, step, size } }, [name], emit) {
    const rank = x!.shape.length;
    const n = fixed('slice', x!.shape[axis]);
    const padAxis = (value: string, total: number, at: number, before: number, after: number): string =>
      emit.node('Pad', [value, emit.ints(Array.from({ length: 2 * total }, (_, i) => (i === at ? before : i === total + at ? after : 0)))]);
    if (step === 1) return [padAxis(name!, rank, axis, start, size - start - n)];
    // Zeros between the values: a new axis of `step` values of which the first is kept, then folded in.
    const dims = target(x!.shape);
    const apart = emit.node('Reshape', [name!, emit.ints([...dims.slice(0, axis + 1), 1, ...dims.slice(axis + 1)])]);
    const spread = padAxis(apart, rank + 1, axis + 1, 0, step - 1);
    const folded = emit.node('Reshape', [spread, emit.ints([...dims.slice(0, axis), n * step, ...dims.slice(axis + 1)])]);
    return [padAxis(folded, rank, axis, start, size - start - n * step)];
  },
  reference: ([x], { attrs: { axis, start, step } }, [out]) => {
    const y = new Float64Array(count(out!));
    const inner = count(x!.shape.slice(axis + 1));
    const n = x!.shape[axis]!;
    x!.data.forEach((v, i) => {
      const row = Math.floor(i / inner);
      y[(Math.floor(row / n) * out![axis]! + start + (row % n) * step) * inner + (i % inner)] = v;
    });
    return [y];
  },
};
/** Zeros of the given size with x at the range: the adjoint of slice. */
const place = (x: Tensor, range: Range, size: number): Tensor => apply(placeOp, [x], { ...range, size });

/** Zeros added before and after along one axis; negative counts crop. */
export function pad(x: Tensor, axis: number, before: number, after: number): Tensor {
  const a = axisOf('pad', axis, x.shape.length);
  if (before < 0) return pad(slice(x, a, -before), a, 0, after);
  if (after < 0) return pad(slice(x, a, 0, after), a, before, 0);
  if (before === 0 && after === 0) return x;
  const n = fixed('pad', x.shape[a]);
  return place(x, { axis: a, start: before, end: before + n, step: 1 }, n + before + after);
}

const concatOp: Op<{ readonly axis: number }> = {
  name: 'concat',
  infer(xs, { axis }) {
    const first = xs[0]!;
    for (const x of xs) {
      const fits = x.shape.length === first.shape.length && x.shape.every((d, i) => i === axis || d === first.shape[i]);
      if (!fits || x.dtype !== first.dtype) throw new ShapeError(`concat: ${show(first)} and ${show(x)} differ beside axis ${axis}`);
    }
    return [{ shape: first.shape.with(axis, sumDims(xs.map((x) => x.shape[axis]!))), dtype: first.dtype }];
  },
  vjp({ inputs, attrs: { axis } }, [dy]) {
    let at = 0;
    return inputs.map((x) => {
      const n = fixed('concat', x.shape[axis]);
      at += n;
      return slice(dy!, axis, at - n, at);
    });
  },
  onnx: ({ attrs }, inputs, emit) => [joined(emit, inputs, attrs.axis)],
  reference(xs, { attrs: { axis } }, [out]) {
    const y = new Float64Array(count(out!));
    const outer = count(out!.slice(0, axis));
    const row = count(out!.slice(axis));
    let at = 0;
    for (const x of xs) {
      const size = count(x.shape.slice(axis));
      for (let o = 0; o < outer; o++) y.set(x.data.subarray(o * size, (o + 1) * size), o * row + at);
      at += size;
    }
    return [y];
  },
};
function sumDims(dims: readonly Dim[]): Dim {
  if (!dims.some(isSymbolic)) return dims.reduce<number>((n, d) => n + Number(d), 0);
  if (!dims.every(isSymbolic)) throw new ShapeError(`concat: sizes ${dims.join(', ')} mix N and numbers`);
  return symbolic(dims.reduce<number>((n, d) => n + multipleOf(d as 'N'), 0));
}
/** Tensors one after the other along an axis. */
export function concat(xs: readonly Tensor[], axis: number): Tensor {
  if (xs.length === 0) throw new ShapeError('concat: no tensors given');
  return xs.length === 1 ? xs[0]! : apply(concatOp, xs, { axis: axisOf('concat', axis, xs[0]!.shape.length) });
}

const flipOp: Op<{ readonly axes: readonly number[] }> = {
  name: 'flip',
  infer: ([x]) => [{ shape: x!.shape, dtype: x!.dtype }],
  vjp: ({ attrs }, [dy]) => [flip(dy!, attrs.axes)],
  onnx: ({ attrs: { axes } }, [x], emit) => [
    emit.node('Slice', [
      x!,
      emit.ints(axes.map(() => -1)),
      emit.ints(axes.map(() => -(2 ** 31))),
      emit.ints(axes),
      emit.ints(axes.map(() => -1)),
    ]),
  ],
  reference: ([x], { attrs: { axes } }, [out]) => {
    const strides = out!.map((_, i) => count(out!.slice(i + 1)));
    const start = axes.reduce((s, a) => s + (out![a]! - 1) * strides[a]!, 0);
    return [
      gatherBy(
        x!.data,
        out!,
        strides.map((s, i) => (axes.includes(i) ? -s : s)),
        start,
      ),
    ];
  },
};
/** Values in reverse order along the axes. */
export const flip = (x: Tensor, axes: readonly number[]): Tensor =>
  axes.length === 0 ? x : apply(flipOp, [x], { axes: axes.map((a) => axisOf('flip', a, x.shape.length)) });

const unpackOp: Op<{ readonly shapes: readonly Shape[] }> = {
  name: 'unpack',
  infer([x], { shapes }) {
    const total = shapes.reduce((n, s) => n + sizeOf(s), 0);
    if (x!.shape.length !== 1 || x!.shape[0] !== total)
      throw new ShapeError(`unpack: ${show(x!)} does not hold the ${total} values of the shapes`);
    return shapes.map((shape) => ({ shape, dtype: x!.dtype }));
  },
  vjp: ({ attrs: { shapes } }, dy) => [
    concat(
      shapes.map((s, i) => reshape(dy[i] ?? fill(0, s), [sizeOf(s)])),
      0,
    ),
  ],
  onnx({ attrs: { shapes } }, [x], emit) {
    const parts = cut(emit, x!, shapes.map(sizeOf));
    return parts.map((part, i) => (shapes[i]!.length === 1 ? part : emit.node('Reshape', [part, emit.ints(target(shapes[i]!))])));
  },
  reference: ([x], { attrs: { shapes } }) => {
    const ends = endsOf(shapes.map(sizeOf));
    return shapes.map((s, i) => x!.data.slice(ends[i]! - sizeOf(s), ends[i]));
  },
};
/** Cuts a vector into tensors of the given shapes, in order. */
export const unpack = (x: Tensor, shapes: readonly Shape[]): readonly Tensor[] => applyAll(unpackOp, [x], { shapes });

/** Cuts along an axis into parts of the given sizes. */
export function split(x: Tensor, sizes: readonly number[], axis: number): readonly Tensor[] {
  const ends = endsOf(sizes);
  return sizes.map((n, i) => slice(x, axis, ends[i]! - n, ends[i]));
}
function endsOf(sizes: readonly number[]): readonly number[] {
  let at = 0;
  return sizes.map((n) => {
    at += n;
    return at;
  });
}
/** A new axis of size 1. */
export const unsqueeze = (x: Tensor, axis: number): Tensor =>
  reshape(x, x.shape.toSpliced(axis < 0 ? x.shape.length + axis + 1 : axis, 0, 1));
/** Each index repeated by the shape of another: sums out the broadcasting of `shape`. The adjoint of expand. */
export function sumTo(x: Tensor, shape: Shape): Tensor {
  if (sameShape(x.shape, shape)) return x;
  const extra = x.shape.length - shape.length;
  const axes = x.shape.flatMap((d, i) => (i < extra || (shape[i - extra] === 1 && d !== 1) ? [i] : []));
  return reshape(reduceSum(x, axes), shape);
}

/** [N, C·r², H, W] → [N, C, H·r, W·r]. Shi et al. 2016. */
export function pixelShuffle(x: Tensor, r: number): Tensor {
  const [n, c, h, w] = x.shape;
  const channels = fixed('pixelShuffle', c) / (r * r);
  if (!Number.isInteger(channels)) throw new ShapeError(`pixelShuffle: channels of ${show(x)} are no multiple of ${r * r}`);
  const apart = transpose(reshape(x, [n!, channels, r, r, h!, w!]), [0, 1, 4, 2, 5, 3]);
  return reshape(apart, [n!, channels, scaleDim(h!, r), scaleDim(w!, r)]);
}
/** [N, C, H·r, W·r] → [N, C·r², H, W]. */
export function pixelUnshuffle(x: Tensor, r: number): Tensor {
  const [n, c, h, w] = x.shape;
  const [hs, ws] = [fixed('pixelUnshuffle', h) / r, fixed('pixelUnshuffle', w) / r];
  if (!Number.isInteger(hs) || !Number.isInteger(ws))
    throw new ShapeError(`pixelUnshuffle: height and width of ${show(x)} are no multiples of ${r}`);
  const apart = transpose(reshape(x, [n!, c!, hs, r, ws, r]), [0, 1, 3, 5, 2, 4]);
  return reshape(apart, [n!, scaleDim(c!, r * r), hs, ws]);
}
