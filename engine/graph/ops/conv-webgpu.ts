/**
 * @file Convolutions in groups for ONNX Runtime's WebGPU provider, two of which it gets wrong (1.30; the test over all operations shows it): several
 * filters on one channel, and transposed ones in groups. Here they are spelled with what it gets right.
 */
import { type Attributes, type Emitter, isSymbolic, type Shape } from '../tensor.ts';
import type { Pair } from './conv-filter.ts';

const orRest = (shape: Shape): number[] => shape.map((d) => (isSymbolic(d) ? -1 : d));

/** Several filters on every channel of x [N,C,H,W]: channels are repeated, so that every filter has one of its own. */
export function repeatedDepthwise(names: readonly string[], x: Shape, filters: number, attrs: Attributes, emit: Emitter): string {
  const [n, c, h, w] = orRest(x) as [number, number, number, number];
  const times = filters / c;
  const apart = emit.node('Reshape', [names[0]!, emit.ints([n, c, 1, h, w])]);
  const repeated = emit.node('Expand', [apart, emit.ints([1, 1, times, 1, 1])]);
  const image = emit.node('Reshape', [repeated, emit.ints([n, filters, h, w])]);
  return emit.node('Conv', [image, ...names.slice(1)], { ...attrs, group: filters });
}

export interface Transposed {
  readonly y: string;
  readonly w: string;
  /** Of y [N,O,H,W] and of the filter [O,C/g,kh,kw]. */
  readonly shape: Shape;
  readonly filter: readonly number[];
  readonly stride: Pair;
  readonly dilation: Pair;
  readonly groups: number;
  readonly before: readonly number[];
  readonly after: readonly number[];
}
/** The input gradient of a convolution in groups: zeros between the values of y, then a convolution with each group's filter turned round. */
export function groupedTranspose({ y, w, shape, filter, stride, dilation, groups, before, after }: Transposed, emit: Emitter): string {
  const [n, o, h, width] = orRest(shape) as [number, number, number, number];
  const [, cg, kh, kw] = filter as [number, number, number, number];
  const [sy, sx] = stride;
  const apart = emit.node('Reshape', [y, emit.ints([n, o, h, 1, width, 1])]);
  const spread = emit.node('Pad', [apart, emit.ints([0, 0, 0, 0, 0, 0, 0, 0, 0, sy - 1, 0, sx - 1])]);
  const wide = emit.node('Reshape', [spread, emit.ints([n, o, h * sy, width * sx])]);
  const ends = [h * sy - (sy - 1), width * sx - (sx - 1)];
  const image = sy === 1 && sx === 1 ? y : emit.node('Slice', [wide, emit.ints([0, 0]), emit.ints(ends), emit.ints([2, 3])]);
  const far = emit.ints([-(2 ** 31), -(2 ** 31)]);
  const turned = emit.node('Slice', [w, emit.ints([-1, -1]), far, emit.ints([2, 3]), emit.ints([-1, -1])]);
  const byGroup = emit.node('Reshape', [turned, emit.ints([groups, o / groups, cg, kh, kw])]);
  const swapped = emit.node('Transpose', [byGroup], { perm: [0, 2, 1, 3, 4] });
  const kernel = emit.node('Reshape', [swapped, emit.ints([groups * cg, o / groups, kh, kw])]);
  return emit.node('Conv', [image, kernel], {
    strides: [1, 1],
    pads: [...before, ...after],
    dilations: dilation,
    group: groups,
    kernel_shape: [kh, kw],
  });
}
