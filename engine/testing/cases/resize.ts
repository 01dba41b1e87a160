/** @file Cases of resizing. */
import { square } from '../../graph/ops/elementwise.ts';
import * as Z from '../../graph/ops/resize.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { float, type OpCase, smooth } from '../gradcheck.ts';

const image = (op: string, title: string, f: (x: Tensor) => Tensor, size: readonly [number, number] = [4, 5]): OpCase =>
  smooth(op, title, [float([2, 2, ...size])], (x) => square(f(x)));

export const resizeCases: readonly OpCase[] = [
  image('upsampleNearest', 'by 2', (x) => Z.upsampleNearest(x, 2)),
  image('upsampleNearest', 'by [3,1]', (x) => Z.upsampleNearest(x, [3, 1])),
  image('resizeNearest', 'larger', (x) => Z.resizeNearest(x, [6, 8])),
  image('resizeNearest', 'smaller', (x) => Z.resizeNearest(x, [3, 2])),
  image('resizeNearest', 'whole factors', (x) => Z.resizeNearest(x, [8, 5])),
  image('resizeBilinear', 'larger', (x) => Z.resizeBilinear(x, [7, 8])),
  image('resizeBilinear', 'smaller', (x) => Z.resizeBilinear(x, [3, 2])),
  image('resizeBilinear', 'corners', (x) => Z.resizeBilinear(x, [7, 1], { alignCorners: true })),
  image('resizeBicubic', 'larger', (x) => Z.resizeBicubic(x, [7, 8])),
  image('resizeBicubic', 'smaller', (x) => Z.resizeBicubic(x, [2, 3])),
  image('resizeBicubic', 'corners', (x) => Z.resizeBicubic(x, [6, 3], { alignCorners: true })),
];
