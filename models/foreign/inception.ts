/**
 * @file InceptionV3 as it was in December 2015, whose features FID is defined on: Szegedy et al. 2016, arXiv:1512.00567, with the pooling of that release.
 * Weight names are those of pytorch-fid's and torch-fidelity's checkpoints. Averages leave padding out, the last block pools by maximum.
 */
import { type ConvOptions, conv2d } from '../../engine/graph/ops/conv.ts';
import { add, div, mul, relu, sqrt, sub } from '../../engine/graph/ops/elementwise.ts';
import { linear, matmul } from '../../engine/graph/ops/linalg.ts';
import { concat, reshape, swapLast } from '../../engine/graph/ops/movement.ts';
import { averagePool, maxPool } from '../../engine/graph/ops/pool.ts';
import { reduceMean } from '../../engine/graph/ops/reduce.ts';
import { fixed, ShapeError, show, type Tensor } from '../../engine/graph/tensor.ts';
import { type Scope, within } from '../../engine/train/network.ts';
import { ones, xavier, zeros } from '../layers.ts';

/** Where features are taken, by their number: after the first and second pooling, after Mixed_6e, and the last. */
export const INCEPTION_TAPS = [64, 192, 768, 2048] as const;
export type InceptionTap = (typeof INCEPTION_TAPS)[number];
/** Height and width for which the network was trained. */
export const INCEPTION_SIZE = 299;
/** Outputs of the classifier: 1,000 classes and 8 that stand for none. */
export const INCEPTION_CLASSES = 1008;
const BATCH_NORM_EPS = 1e-3;

type Kernel = number | readonly [number, number];
type Place = Pick<ConvOptions, 'stride' | 'padding'>;
/**
 * Convolution, batch normalisation by its stored moments, ReLU. The normalisation is a factor of the filter and a bias, which a runtime folds where the
 * weights are constants. NAME.conv.weight [out, C, h, w]; NAME.bn.{weight, bias, running_mean, running_var} [out].
 */
function layer(scope: Scope, name: string, x: Tensor, out: number, kernel: Kernel, place: Place = {}): Tensor {
  const inside = fixed('inception', x.shape[1]);
  const [h, w] = typeof kernel === 'number' ? [kernel, kernel] : kernel;
  const weight = scope(`${name}.conv.weight`, [out, inside, h, w], xavier(inside * h * w, out * h * w));
  const [scale, shift] = [scope(`${name}.bn.weight`, [out], ones), scope(`${name}.bn.bias`, [out], zeros)];
  const [mean, variance] = [scope.buffer(`${name}.bn.running_mean`, [out], zeros), scope.buffer(`${name}.bn.running_var`, [out], ones)];
  const factor = div(scale, sqrt(add(variance, BATCH_NORM_EPS)));
  return relu(conv2d(x, mul(weight, reshape(factor, [out, 1, 1, 1])), { ...place, bias: sub(shift, mul(mean, factor)) }));
}

type Block = (scope: Scope, x: Tensor) => Tensor;
/** Layers one after the other: name, outputs, kernel. Padding keeps the size, but for a stride of 2. */
function chain(scope: Scope, x: Tensor, layers: readonly (readonly [string, number, Kernel, number?])[]): Tensor {
  return layers.reduce((y, [name, out, kernel, stride = 1]) => {
    const same: readonly [number, number] = typeof kernel === 'number' ? [kernel >> 1, kernel >> 1] : [kernel[0] >> 1, kernel[1] >> 1];
    return layer(scope, name, y, out, kernel, stride === 1 ? { padding: same } : { stride });
  }, x);
}
const around = { kernel: 3, stride: 1, padding: 1 } as const;
const average = (x: Tensor): Tensor => averagePool(x, { ...around, countPadding: false });
const halve = (x: Tensor): Tensor => maxPool(x, { kernel: 3, stride: 2 });

/** Mixed_5: 1×1, 5×5, two 3×3, average. */
const mixed5 =
  (pooled: number): Block =>
  (scope, x) =>
    concat(
      [
        chain(scope, x, [['branch1x1', 64, 1]]),
        chain(scope, x, [
          ['branch5x5_1', 48, 1],
          ['branch5x5_2', 64, 5],
        ]),
        chain(scope, x, [
          ['branch3x3dbl_1', 64, 1],
          ['branch3x3dbl_2', 96, 3],
          ['branch3x3dbl_3', 96, 3],
        ]),
        chain(scope, average(x), [['branch_pool', pooled, 1]]),
      ],
      1,
    );

/** Halves height and width. */
const mixed6a: Block = (scope, x) =>
  concat(
    [
      chain(scope, x, [['branch3x3', 384, 3, 2]]),
      chain(scope, x, [
        ['branch3x3dbl_1', 64, 1],
        ['branch3x3dbl_2', 96, 3],
        ['branch3x3dbl_3', 96, 3, 2],
      ]),
      halve(x),
    ],
    1,
  );

const [TALL, WIDE] = [
  [7, 1],
  [1, 7],
] as const;
/** Mixed_6: 7×7 as two bands, once and twice, through `c` channels. */
const mixed6 =
  (c: number): Block =>
  (scope, x) =>
    concat(
      [
        chain(scope, x, [['branch1x1', 192, 1]]),
        chain(scope, x, [
          ['branch7x7_1', c, 1],
          ['branch7x7_2', c, WIDE],
          ['branch7x7_3', 192, TALL],
        ]),
        chain(scope, x, [
          ['branch7x7dbl_1', c, 1],
          ['branch7x7dbl_2', c, TALL],
          ['branch7x7dbl_3', c, WIDE],
          ['branch7x7dbl_4', c, TALL],
          ['branch7x7dbl_5', 192, WIDE],
        ]),
        chain(scope, average(x), [['branch_pool', 192, 1]]),
      ],
      1,
    );

const mixed7a: Block = (scope, x) =>
  concat(
    [
      chain(scope, x, [
        ['branch3x3_1', 192, 1],
        ['branch3x3_2', 320, 3, 2],
      ]),
      chain(scope, x, [
        ['branch7x7x3_1', 192, 1],
        ['branch7x7x3_2', 192, WIDE],
        ['branch7x7x3_3', 192, TALL],
        ['branch7x7x3_4', 192, 3, 2],
      ]),
      halve(x),
    ],
    1,
  );

/** Mixed_7: branches that end in a row and a column side by side. */
const mixed7 =
  (pool: (x: Tensor) => Tensor): Block =>
  (scope, x) => {
    const fork = (y: Tensor, name: string): Tensor[] => [
      chain(scope, y, [[`${name}a`, 384, [1, 3]]]),
      chain(scope, y, [[`${name}b`, 384, [3, 1]]]),
    ];
    const once = chain(scope, x, [['branch3x3_1', 384, 1]]);
    const twice = chain(scope, x, [
      ['branch3x3dbl_1', 448, 1],
      ['branch3x3dbl_2', 384, 3],
    ]);
    return concat(
      [
        chain(scope, x, [['branch1x1', 320, 1]]),
        ...fork(once, 'branch3x3_2'),
        ...fork(twice, 'branch3x3dbl_3'),
        chain(scope, pool(x), [['branch_pool', 192, 1]]),
      ],
      1,
    );
  };

const BLOCKS: readonly (readonly [string, Block])[] = [
  ['Mixed_5b', mixed5(32)],
  ['Mixed_5c', mixed5(64)],
  ['Mixed_5d', mixed5(64)],
  ['Mixed_6a', mixed6a],
  ['Mixed_6b', mixed6(128)],
  ['Mixed_6c', mixed6(160)],
  ['Mixed_6d', mixed6(160)],
  ['Mixed_6e', mixed6(192)],
  ['Mixed_7a', mixed7a],
  ['Mixed_7b', mixed7(average)],
  ['Mixed_7c', mixed7((x) => maxPool(x, around))],
];
const through = (scope: Scope, x: Tensor, from: number, to: number): Tensor =>
  BLOCKS.slice(from, to).reduce((y, [name, block]) => block(within(scope, `${name}.`), y), x);

/** What the network gives; what is not asked for is not computed. */
export interface InceptionOutputs {
  /** The map at a tap [N, tap, h, w]; at 2048 it is the mean already, [N,2048,1,1]. */
  map(tap: InceptionTap): Tensor;
  /** The mean of that map over its positions [N, tap]. */
  features(tap: InceptionTap): Tensor;
  /** [N,1008]. torch-fidelity's Inception Score leaves the bias out. */
  logits(bias?: boolean): Tensor;
}

/**
 * The network on images [N,3,H,W] in −1..1. Its taps need at least 11, 27, 43 and 75 pixels a side.
 * @throws ShapeError for other images
 */
export function inception(scope: Scope, x: Tensor): InceptionOutputs {
  if (x.shape.length !== 4 || x.shape[1] !== 3) throw new ShapeError(`inception: needs images [N,3,H,W], got ${show(x)}`);
  const made = new Map<InceptionTap, Tensor>();
  const stages: Readonly<Record<InceptionTap, () => Tensor>> = {
    64: () => {
      const narrow = layer(scope, 'Conv2d_1a_3x3', x, 32, 3, { stride: 2 });
      const wide = layer(scope, 'Conv2d_2b_3x3', layer(scope, 'Conv2d_2a_3x3', narrow, 32, 3), 64, 3, { padding: 1 });
      return halve(wide);
    },
    192: () => halve(layer(scope, 'Conv2d_4a_3x3', layer(scope, 'Conv2d_3b_1x1', map(64), 80, 1), 192, 3)),
    768: () => through(scope, map(192), 0, 8),
    2048: () => reduceMean(through(scope, map(768), 8, 11), [2, 3]),
  };
  const map = (tap: InceptionTap): Tensor => {
    const found = made.get(tap) ?? stages[tap]();
    made.set(tap, found);
    return found;
  };
  const features = (tap: InceptionTap): Tensor => reshape(tap === 2048 ? map(tap) : reduceMean(map(tap), [2, 3]), [x.shape[0]!, tap]);
  return {
    map,
    features,
    logits(bias = true) {
      const weight = scope('fc.weight', [INCEPTION_CLASSES, 2048], xavier(2048, INCEPTION_CLASSES));
      const shift = scope('fc.bias', [INCEPTION_CLASSES], zeros);
      return bias ? linear(features(2048), weight, shift) : matmul(features(2048), swapLast(weight));
    },
  };
}
