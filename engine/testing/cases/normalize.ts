/** @file Cases of normalisations and attention. Their eps is large, so that differences are exact near constant rows too. */
import { attention } from '../../graph/ops/attention.ts';
import { add, mul } from '../../graph/ops/elementwise.ts';
import { layerNormalize } from '../../graph/ops/layer-normalize.ts';
import * as Z from '../../graph/ops/normalize.ts';
import { flags, float, kinked, type OpCase, smooth } from '../gradcheck.ts';

const EPS = 0.1;
const affine = (channels: number) => [float([channels], { initial: 1 }), float([channels], { initial: 0 })] as const;
const group = (title: string, shape: readonly number[], groups: number): OpCase =>
  smooth('groupNorm', title, [float(shape), ...affine(shape[1]!)], (x, g, b) => Z.groupNorm(x, g!, b!, groups, EPS));

const [q, k, v] = [float([2, 3, 4]), float([2, 5, 4]), float([2, 5, 2])];
export const normalizeCases: readonly OpCase[] = [
  group('two groups', [2, 4, 3, 2], 2),
  group('one group', [2, 4, 2, 3], 1),
  group('a group a channel', [1, 3, 3, 3], 3),
  group('sequence', [2, 4, 5], 2),
  group('no space', [3, 6], 2),
  group('clip', [1, 4, 2, 2, 2], 2),
  smooth('layerNorm', 'scale and shift', [float([2, 3, 6]), ...affine(6)], (x, g, b) => Z.layerNorm(x, g, b, EPS)),
  smooth('layerNorm', 'plain', [float([4, 5])], (x) => Z.layerNorm(x, undefined, undefined, EPS)),
  smooth('layerNormalize', 'scale and shift', [float([2, 3, 6]), ...affine(6)], (x, g, b) => layerNormalize(x, g, b, EPS)[0]),
  smooth('layerNormalize', 'scale', [float([4, 5]), float([5], { initial: 1 })], (x, g) => layerNormalize(x, g, undefined, EPS)[0]),
  smooth('layerNormalize', 'all outputs', [float([2, 3, 6]), ...affine(6)], (x, g, b) => {
    const [y, mean, deviation] = layerNormalize(x, g, b, EPS);
    return add(mul(y, mean), deviation);
  }),
  smooth('rmsNorm', 'scale', [float([2, 3, 6]), float([6], { initial: 1 })], (x, g) => Z.rmsNorm(x, g, EPS)),
  smooth('rmsNorm', 'plain', [float([4, 5])], (x) => Z.rmsNorm(x, undefined, EPS)),
  kinked('unitNorm', 'channels', [float([2, 3, 2, 2], { gap: 0.2 })], (x) => Z.unitNorm(x, 1, EPS)),
  smooth('rowAffine', 'rows', [float([2, 3, 7]), float([2, 3, 1]), float([2, 3, 1])], Z.rowAffine),
  smooth('rowDot', 'rows', [float([2, 3, 7]), float([2, 3, 7])], Z.rowDot),
];

export const attentionCases: readonly OpCase[] = [
  smooth('attention', 'plain', [q, k, v], (a, b, c) => attention(a, b, c)),
  smooth('attention', 'scale', [q, k, v], (a, b, c) => attention(a, b, c, { scale: 0.3 })),
  smooth('attention', 'float mask', [q, k, v, float([3, 5])], (a, b, c, mask) => attention(a, b, c, { mask: mask! })),
  smooth('attention', 'flags', [q, k, v, flags([2, 1, 5])], (a, b, c, mask) => attention(a, b, c, { mask: mask! })),
  smooth('attention', 'heads share keys', [float([2, 3, 2, 4]), float([2, 1, 5, 4]), float([2, 1, 5, 3])], (a, b, c) => attention(a, b, c)),
];
