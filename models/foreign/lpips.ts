/**
 * @file LPIPS 0.1, a learned perceptual distance: Zhang et al. 2018, arXiv:1801.03924. Trunks are torchvision's AlexNet, VGG16 and SqueezeNet 1.1 under its
 * names (`features.N.…`), the heads are the authors' (`linK.model.1.weight`). The trunks' own pooling stands at the start of a slice; taps are after ReLU.
 */
import { type ConvOptions, conv2d } from '../../engine/graph/ops/conv.ts';
import { add, div, mul, relu, square, sub } from '../../engine/graph/ops/elementwise.ts';
import { constant } from '../../engine/graph/ops/leaf.ts';
import { concat, reshape } from '../../engine/graph/ops/movement.ts';
import { unitNorm } from '../../engine/graph/ops/normalize.ts';
import { maxPool, type PoolOptions } from '../../engine/graph/ops/pool.ts';
import { reduceMean } from '../../engine/graph/ops/reduce.ts';
import { resizeBilinear } from '../../engine/graph/ops/resize.ts';
import { fixed, ShapeError, sameShape, show, type Tensor } from '../../engine/graph/tensor.ts';
import { InputError } from '../../engine/io/errors.ts';
import { openSafetensors } from '../../engine/io/safetensors.ts';
import { openTorch } from '../../engine/io/torch.ts';
import type { Scope } from '../../engine/train/network.ts';
import type { Weights } from '../../engine/train/weights.ts';
import { xavier, zeros } from '../layers.ts';
import { readWeightsOf } from './hf-weights.ts';

/** A layer of a trunk: a convolution with ReLU, a squeeze and its two expansions, a pooling; or the place of a tap. */
type Layer =
  | { readonly conv: number; readonly out: number; readonly kernel: number; readonly options?: Pick<ConvOptions, 'stride' | 'padding'> }
  | { readonly fire: number; readonly squeeze: number; readonly expand: number }
  | { readonly pool: PoolOptions }
  | 'tap';

const conv = (at: number, out: number, kernel = 3, options: Pick<ConvOptions, 'stride' | 'padding'> = { padding: 1 }): Layer => ({
  conv: at,
  out,
  kernel,
  options,
});
const fire = (at: number, squeeze: number, expand: number): Layer => ({ fire: at, squeeze, expand });
const pool = (kernel: number, partial = false): Layer => ({ pool: { kernel, stride: 2, partial } });

/** torchvision's layers by their number in `features`. */
const TRUNKS = {
  alex: [
    conv(0, 64, 11, { stride: 4, padding: 2 }),
    'tap',
    pool(3),
    conv(3, 192, 5, { padding: 2 }),
    'tap',
    pool(3),
    conv(6, 384),
    'tap',
    conv(8, 256),
    'tap',
    conv(10, 256),
    'tap',
  ],
  vgg: [
    ...[conv(0, 64), conv(2, 64), 'tap', pool(2)],
    ...[conv(5, 128), conv(7, 128), 'tap', pool(2)],
    ...[conv(10, 256), conv(12, 256), conv(14, 256), 'tap', pool(2)],
    ...[conv(17, 512), conv(19, 512), conv(21, 512), 'tap', pool(2)],
    ...[conv(24, 512), conv(26, 512), conv(28, 512), 'tap'],
  ] as readonly Layer[],
  squeeze: [
    ...[conv(0, 64, 3, { stride: 2 }), 'tap', pool(3, true)],
    ...[fire(3, 16, 64), fire(4, 16, 64), 'tap', pool(3, true)],
    ...[fire(6, 32, 128), fire(7, 32, 128), 'tap', pool(3, true)],
    ...[fire(9, 48, 192), 'tap', fire(10, 48, 192), 'tap', fire(11, 64, 256), 'tap', fire(12, 64, 256), 'tap'],
  ] as readonly Layer[],
} as const satisfies Readonly<Record<string, readonly Layer[]>>;
export type LpipsNet = keyof typeof TRUNKS;
export const LPIPS_NETS = Object.keys(TRUNKS) as readonly LpipsNet[];

/** Mean and spread of ImageNet's colours for images in −1..1, as the authors give them. */
const SHIFT = [-0.03, -0.088, -0.188];
const SCALE = [0.458, 0.448, 0.45];
const EPS = 1e-10;

function convolution(
  scope: Scope,
  name: string,
  x: Tensor,
  out: number,
  kernel: number,
  options: Pick<ConvOptions, 'stride' | 'padding'> = {},
): Tensor {
  const inside = fixed('lpips', x.shape[1]);
  const area = kernel * kernel;
  const weight = scope(`${name}.weight`, [out, inside, kernel, kernel], xavier(inside * area, out * area));
  return relu(conv2d(x, weight, { ...options, bias: scope(`${name}.bias`, [out], zeros) }));
}

/** Maps [N,C,h,w] at the taps of a trunk, of images [N,3,H,W] in −1..1. */
export function lpipsFeatures(scope: Scope, net: LpipsNet, image: Tensor): readonly Tensor[] {
  if (image.shape.length !== 4 || image.shape[1] !== 3) throw new ShapeError(`lpips: needs images [N,3,H,W], got ${show(image)}`);
  const channel = (values: readonly number[]): Tensor => constant(Float64Array.from(values), [3, 1, 1]);
  const taps: Tensor[] = [];
  let x = div(sub(image, channel(SHIFT)), channel(SCALE));
  for (const layer of TRUNKS[net]) {
    if (layer === 'tap') taps.push(x);
    else if ('pool' in layer) x = maxPool(x, layer.pool);
    else if ('conv' in layer) x = convolution(scope, `features.${layer.conv}`, x, layer.out, layer.kernel, layer.options);
    else {
      const name = `features.${layer.fire}`;
      const narrow = convolution(scope, `${name}.squeeze`, x, layer.squeeze, 1);
      x = concat(
        [
          convolution(scope, `${name}.expand1x1`, narrow, layer.expand, 1),
          convolution(scope, `${name}.expand3x3`, narrow, layer.expand, 3, { padding: 1 }),
        ],
        1,
      );
    }
  }
  return taps;
}

/** A distance, where it comes from and where it is. */
export interface LpipsDistance {
  /** [N] */
  readonly distance: Tensor;
  /** Its part of each tap, [N]. */
  readonly layers: readonly Tensor[];
  /** The distance of each place, enlarged to the images and summed over the taps, [N,1,H,W]. */
  map(): Tensor;
}

/** Squared difference of unit feature vectors, weighed by a head without bias: [N,1,h,w]. */
export function lpipsHead(scope: Scope, index: number, a: Tensor, b: Tensor): Tensor {
  const channels = fixed('lpips', a.shape[1]);
  const weight = scope(`lin${index}.model.1.weight`, [1, channels, 1, 1], { kind: 'constant', value: 1 / channels });
  return conv2d(square(sub(unitNorm(a, 1, EPS), unitNorm(b, 1, EPS))), weight);
}

/**
 * The distance of two batches of images [N,3,H,W] in −1..1.
 * @throws ShapeError for images of different shapes, and for such as are too small for the trunk
 */
export function lpips(scope: Scope, net: LpipsNet, a: Tensor, b: Tensor): LpipsDistance {
  if (!sameShape(a.shape, b.shape)) throw new ShapeError(`lpips: images of one shape are needed, got ${show(a)} and ${show(b)}`);
  const [fa, fb] = [lpipsFeatures(scope, net, a), lpipsFeatures(scope, net, b)];
  const maps = fa.map((f, i) => lpipsHead(scope, i, f, fb[i]!));
  const layers = maps.map((m) => reshape(reduceMean(m, [2, 3]), [a.shape[0]!]));
  const size = [fixed('lpips', a.shape[2]), fixed('lpips', a.shape[3])] as const;
  return { distance: layers.reduce(add), layers, map: () => maps.map((m) => resizeBilinear(m, size)).reduce(add) };
}

/** A byte image's values 0..255 in −1..1. */
export const fromBytes = (image: Tensor): Tensor => sub(mul(image, 1 / 127.5), 1);

/**
 * The weights of a trunk (torchvision's file; its classifier is passed over) and of the heads (the authors' file), .pth or .safetensors; one file may hold both.
 * @throws InputError where a file cannot be read or lacks a kind of weights
 */
export async function readLpipsWeights(paths: { readonly trunk: string; readonly heads: string }): Promise<Weights> {
  const weights = new Map([...(await part(paths.trunk, 'features.', 'a trunk')), ...(await part(paths.heads, 'lin', 'heads'))]);
  return weights;
}
async function part(path: string, prefix: string, what: string): Promise<Weights> {
  const file = await (path.endsWith('.safetensors') ? openSafetensors(path) : openTorch(path));
  const weights = await readWeightsOf(file, (name) => name.startsWith(prefix)).finally(() => file.close());
  if (weights.size === 0) throw new InputError(`${path}: no weights of ${what} of LPIPS in it; names begin with ${prefix}`);
  return weights;
}
