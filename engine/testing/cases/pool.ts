/** @file Cases of pooling. */
import { square } from '../../graph/ops/elementwise.ts';
import * as P from '../../graph/ops/pool.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { float, kinked, type OpCase, smooth } from '../gradcheck.ts';

const image = (op: string, title: string, f: (x: Tensor) => Tensor, size: readonly [number, number] = [4, 5]): OpCase =>
  smooth(op, title, [float([2, 2, ...size])], (x) => square(f(x)));
const max = (title: string, f: (x: Tensor) => Tensor): OpCase =>
  kinked('maxPool', title, [float([2, 2, 5, 6], { distinct: true })], (x) => square(f(x)));

export const poolCases: readonly OpCase[] = [
  image('averagePool', 'blocks', (x) => P.averagePool(x, { kernel: 2 }), [4, 6]),
  image('averagePool', 'blocks, one row left over', (x) => P.averagePool(x, { kernel: 2 }), [5, 7]),
  image('averagePool', 'uneven blocks', (x) => P.averagePool(x, { kernel: [2, 3] }), [4, 6]),
  image('averagePool', '3x3 stride 1, padded', (x) => P.averagePool(x, { kernel: 3, stride: 1, padding: 1 })),
  image('averagePool', '3x3 stride 2, padding not counted', (x) =>
    P.averagePool(x, { kernel: 3, stride: 2, padding: 1, countPadding: false }),
  ),
  image('averagePool', 'overlapping, no padding', (x) => P.averagePool(x, { kernel: [3, 2], stride: [1, 2] })),
  max('2x2', (x) => P.maxPool(x, { kernel: 2 })),
  max('3x3 stride 2', (x) => P.maxPool(x, { kernel: 3, stride: 2 })),
  max('3x3 stride 2, padded', (x) => P.maxPool(x, { kernel: 3, stride: 2, padding: 1 })),
  max('[2,3] stride 1, padded', (x) => P.maxPool(x, { kernel: [2, 3], stride: 1, padding: [1, 1] })),
  image('averagePool', 'partial windows', (x) => P.averagePool(x, { kernel: 2, partial: true }), [5, 7]),
  image(
    'averagePool',
    'partial windows, padding counted',
    (x) => P.averagePool(x, { kernel: 3, stride: 2, padding: 1, partial: true }),
    [4, 6],
  ),
  image('averagePool', 'partial windows, padding not counted', (x) =>
    P.averagePool(x, { kernel: [3, 2], stride: [2, 3], padding: 1, partial: true, countPadding: false }),
  ),
  max('3x3 stride 2, partial', (x) => P.maxPool(x, { kernel: 3, stride: 2, partial: true })),
  max('[2,3] stride 3, padded, partial', (x) => P.maxPool(x, { kernel: [2, 3], stride: 3, padding: 1, partial: true })),
];
