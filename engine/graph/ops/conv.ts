/**
 * @file 2-D convolution (NCHW) and its two adjoints. The three are closed under differentiation: the gradient of each
 * is written with the other two. ONNX has no gradient operators, so the adjoints are spelled with forward ones.
 */
import { type Attributes, apply, type Dim, type Emitter, fixed, type Op, ShapeError, show, type Tensor } from '../tensor.ts';
import { blockedConv, blocks } from './conv-blocked.ts';
import { type ConvAttrs, type FilterAttrs, filterNodes, type Pair, type Shape4 } from './conv-filter.ts';
import { groupedTranspose, repeatedDepthwise } from './conv-webgpu.ts';
import { add } from './elementwise.ts';
import { leafOf } from './leaf.ts';
import { reshape } from './movement.ts';
import { reduceSum } from './reduce.ts';

type InputAttrs = ConvAttrs & { readonly size: Pair };

const outSize = (n: number, k: number, pads: number, stride: number, dilation: number): number =>
  Math.floor((n + pads - dilation * (k - 1) - 1) / stride) + 1;
const onnxAttrs = ({ stride, padding, dilation, groups }: ConvAttrs, kernel: readonly Dim[]): Attributes => ({
  strides: stride,
  pads: padding,
  dilations: dilation,
  group: groups,
  kernel_shape: kernel.map((k) => fixed('conv2d', k)),
});
const strip = ({ stride, padding, dilation, groups }: ConvAttrs): ConvAttrs => ({ stride, padding, dilation, groups });
const fixedShape = (t: { readonly shape: readonly Dim[] }): Shape4 =>
  t.shape.map((d) => fixed('convFilterGradient', d)) as unknown as Shape4;
const spatial = (t: { readonly shape: readonly Dim[] }): Pair => [fixed('conv2d', t.shape[2]), fixed('conv2d', t.shape[3])];
/** Size of a convolution's output from its input and kernel. */
const sizes = (x: Pair, k: Pair, { stride, padding, dilation }: ConvAttrs): Pair => [
  outSize(x[0], k[0], padding[0] + padding[2], stride[0], dilation[0]),
  outSize(x[1], k[1], padding[1] + padding[3], stride[1], dilation[1]),
];

/**
 * Visits every product of a convolution in float64: indices into x [N,C,H,W], w [O,C/g,kh,kw], y [N,O,H',W'].
 * The three reference implementations differ only in which of them is summed into.
 */
function visit(
  x: readonly number[],
  w: readonly number[],
  y: readonly number[],
  a: ConvAttrs,
  f: (x: number, w: number, y: number) => void,
): void {
  const [n, c, h, wd] = x as [number, number, number, number];
  const [o, cg, kh, kw] = w as [number, number, number, number];
  const [, , ho, wo] = y as [number, number, number, number];
  const og = o / a.groups;
  for (let b = 0; b < n; b++)
    for (let k = 0; k < o; k++)
      for (let ci = 0; ci < cg; ci++)
        for (let p = 0; p < kh; p++)
          for (let q = 0; q < kw; q++) {
            const wi = ((k * cg + ci) * kh + p) * kw + q;
            const channel = Math.floor(k / og) * cg + ci;
            for (let i = 0; i < ho; i++) {
              const row = i * a.stride[0] + p * a.dilation[0] - a.padding[0];
              if (row < 0 || row >= h) continue;
              for (let j = 0; j < wo; j++) {
                const col = j * a.stride[1] + q * a.dilation[1] - a.padding[1];
                if (col >= 0 && col < wd) f(((b * c + channel) * h + row) * wd + col, wi, ((b * o + k) * ho + i) * wo + j);
              }
            }
          }
}
const count = (shape: readonly number[]): number => shape.reduce((m, d) => m * d, 1);

const convOp: Op<ConvAttrs> = {
  name: 'conv2d',
  infer([x, w, b], attrs) {
    const [n, c] = x!.shape;
    const [o, cg] = w!.shape;
    const fits = x!.shape.length === 4 && w!.shape.length === 4 && c === Number(cg) * attrs.groups && Number(o) % attrs.groups === 0;
    if (!fits) throw new ShapeError(`conv2d: ${show(x!)} does not match filter ${show(w!)} in ${attrs.groups} group(s)`);
    if (b && (b.shape.length !== 1 || b.shape[0] !== o)) throw new ShapeError(`conv2d: bias ${show(b)} does not match filter ${show(w!)}`);
    const size = sizes(spatial(x!), spatial(w!), attrs);
    if (Math.min(...size) < 1) throw new ShapeError(`conv2d: nothing is left of ${show(x!)} under filter ${show(w!)}`);
    return [{ shape: [n!, o!, ...size], dtype: x!.dtype }];
  },
  vjp({ inputs: [x, w, b], attrs }, [dy]) {
    const dx = convInputGradient(dy!, w!, { ...attrs, size: spatial(x!) });
    const dw = convFilterGradient(x!, dy!, { ...attrs, kernel: spatial(w!) });
    return b ? [dx, dw, reshape(reduceSum(dy!, [0, 2, 3]), b.shape)] : [dx, dw];
  },
  onnx({ inputs: [x, w], outputs: [y], attrs }, names, emit) {
    const spelled = onnxAttrs(attrs, w!.shape.slice(2));
    const [filters, channels] = [Number(w!.shape[0]), Number(x!.shape[1])];
    if (emit.target === 'webgpu' && attrs.groups === channels && channels > 1 && filters > channels)
      return [repeatedDepthwise(names, x!.shape, filters, spelled, emit)];
    if (!mayBlock(y!, w!, attrs, emit)) return [emit.node('Conv', names, spelled)];
    return [blockedConv({ x: names[0]!, w: names[1]!, bias: names[2], shape: w!.shape as number[], attrs: spelled }, false, emit)];
  },
  reference([x, w, b], { attrs }, [out]) {
    const y = new Float64Array(count(out!));
    const plane = out![2]! * out![3]!;
    if (b) for (let i = 0; i < y.length; i++) y[i] = b.data[Math.floor(i / plane) % out![1]!]!;
    visit(x!.shape, w!.shape, out!, attrs, (i, j, k) => {
      y[k]! += x!.data[i]! * w!.data[j]!;
    });
    return [y];
  },
};

/** Constant filters are left to ONNX Runtime, which arranges them once. */
function mayBlock({ shape: [n, , h, w] }: Tensor, filter: Tensor, { groups }: ConvAttrs, emit: Emitter): boolean {
  if (groups > 1 || typeof n !== 'number' || leafOf(filter)?.kind === 'constant') return false;
  return blocks(emit, n * Number(h) * Number(w), filter.shape as number[]);
}

const inputOp: Op<InputAttrs> = {
  name: 'convInputGradient',
  infer([y, w], { size, groups }) {
    if (y!.shape[1] !== w!.shape[0]) throw new ShapeError(`convInputGradient: ${show(y!)} does not match filter ${show(w!)}`);
    return [{ shape: [y!.shape[0]!, Number(w!.shape[1]) * groups, ...size], dtype: y!.dtype }];
  },
  vjp: ({ inputs: [y, w], attrs }, [dx]) => [
    conv2d(dx!, w!, strip(attrs)),
    convFilterGradient(dx!, y!, { ...strip(attrs), kernel: spatial(w!) }),
  ],
  onnx({ inputs: [y, w], outputs, attrs }, [yName, wName], emit) {
    const { stride, padding, dilation, groups, size } = attrs;
    const k = spatial(w!);
    const before = [0, 1].map((i) => dilation[i]! * (k[i]! - 1) - padding[i]!);
    const after = [0, 1].map((i) => size[i]! - 1 + padding[i]! - (spatial(y!)[i]! - 1));
    // A convolution with the flipped, transposed filter is about 1.4 times as fast as ConvTranspose (bench/ops.ts).
    if (groups === 1 && stride[0] === 1 && stride[1] === 1 && Math.min(...before, ...after) >= 0) {
      const spelled = { strides: [1, 1], pads: [...before, ...after], dilations: dilation, kernel_shape: k };
      if (mayBlock(outputs[0]!, w!, attrs, emit))
        return [blockedConv({ x: yName!, w: wName!, shape: w!.shape as number[], attrs: { ...spelled, group: 1 } }, true, emit)];
      const turned = k[0] === 1 && k[1] === 1 ? wName! : flipKernel(wName!, emit);
      const filter = emit.node('Transpose', [turned], { perm: [1, 0, 2, 3] });
      return [emit.node('Conv', [yName!, filter], spelled)];
    }
    const gapped = [0, 1].map((i) => size[i]! - 1 + padding[i]! - (spatial(y!)[i]! - 1) * stride[i]!);
    if (emit.target === 'webgpu' && groups > 1 && Math.min(...before, ...gapped) >= 0) {
      const filter = w!.shape as number[];
      return [groupedTranspose({ y: yName!, w: wName!, shape: y!.shape, filter, stride, dilation, groups, before, after: gapped }, emit)];
    }
    const grown = [0, 1].map((i) => (spatial(y!)[i]! - 1) * stride[i]! + dilation[i]! * (k[i]! - 1) + 1 - padding[i]! - padding[i + 2]!);
    const extra = [0, 1].map((i) => size[i]! - grown[i]!);
    return [emit.node('ConvTranspose', [yName!, wName!], { ...onnxAttrs(attrs, k), output_padding: extra })];
  },
  reference([y, w], { attrs }, [out]) {
    const x = new Float64Array(count(out!));
    visit(out!, w!.shape, y!.shape, attrs, (i, j, k) => {
      x[i]! += y!.data[k]! * w!.data[j]!;
    });
    return [x];
  },
};
const flipKernel = (w: string, emit: Emitter): string =>
  emit.node('Slice', [w, emit.ints([-1, -1]), emit.ints([-(2 ** 31), -(2 ** 31)]), emit.ints([2, 3]), emit.ints([-1, -1])]);

const filterOp: Op<FilterAttrs> = {
  name: 'convFilterGradient',
  infer([x, y], { kernel, groups }) {
    return [{ shape: [y!.shape[1]!, Number(x!.shape[1]) / groups, ...kernel], dtype: x!.dtype }];
  },
  vjp: ({ inputs: [x, y], attrs }, [dw]) => [
    convInputGradient(y!, dw!, { ...strip(attrs), size: spatial(x!) }),
    conv2d(x!, dw!, strip(attrs)),
  ],
  onnx: ({ inputs, attrs }, names, emit) => [
    filterNodes(inputs.map(fixedShape) as [Shape4, Shape4], names as [string, string], attrs, emit),
  ],
  reference([x, y], { attrs }, [out]) {
    const w = new Float64Array(count(out!));
    visit(x!.shape, out!, y!.shape, attrs, (i, j, k) => {
      w[j]! += x!.data[i]! * y!.data[k]!;
    });
    return [w];
  },
};
const convInputGradient = (y: Tensor, w: Tensor, attrs: InputAttrs): Tensor => apply(inputOp, [y, w], attrs);
const convFilterGradient = (x: Tensor, y: Tensor, attrs: FilterAttrs): Tensor => apply(filterOp, [x, y], attrs);

export interface ConvOptions {
  readonly bias?: Tensor | undefined;
  readonly stride?: number | Pair;
  /** All sides, [vertical, horizontal] or [top, left, bottom, right]. */
  readonly padding?: number | Pair | readonly [number, number, number, number];
  readonly dilation?: number | Pair;
  readonly groups?: number;
}
const pair = (v: number | Pair = 1): Pair => (typeof v === 'number' ? [v, v] : v);
function attrsOf({ stride, padding = 0, dilation, groups = 1 }: ConvOptions): ConvAttrs {
  const p = typeof padding === 'number' ? ([padding, padding] as const) : padding;
  return { stride: pair(stride), padding: p.length === 4 ? p : [p[0], p[1], p[0], p[1]], dilation: pair(dilation), groups };
}

/** 2-D convolution (cross-correlation). x [N,C,H,W], w [O,C/groups,kh,kw], bias [O]. */
export const conv2d = (x: Tensor, w: Tensor, options: ConvOptions = {}): Tensor =>
  apply(convOp, options.bias ? [x, w, options.bias] : [x, w], attrsOf(options));

/** Transposed convolution with PyTorch's layout: y [N,I,H,W], w [I,O/groups,kh,kw], bias [O]. */
export function convTranspose2d(y: Tensor, w: Tensor, options: ConvOptions & { readonly outputPadding?: number | Pair } = {}): Tensor {
  const attrs = attrsOf(options);
  const extra = pair(options.outputPadding ?? 0);
  const k = spatial(w);
  const size = [0, 1].map(
    (i) =>
      (spatial(y)[i]! - 1) * attrs.stride[i]! +
      attrs.dilation[i]! * (k[i]! - 1) +
      1 -
      attrs.padding[i]! -
      attrs.padding[i + 2]! +
      extra[i]!,
  );
  const x = convInputGradient(y, w, { ...attrs, size: size as unknown as Pair });
  return options.bias ? addBias(x, options.bias) : x;
}
/** x [N,C,…] + bias [C]. */
const addBias = (x: Tensor, bias: Tensor): Tensor => add(x, reshape(bias, [1, bias.shape[0]!, ...x.shape.slice(2).map(() => 1)]));
