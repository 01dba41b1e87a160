/**
 * @file Distances in the hidden maps of a frozen denoiser, in the manner of LPIPS. Zhang et al. 2018, arXiv:1801.03924, eq. 1 without learned weights.
 */
import '../engine/graph/fluent.ts';
import { fill } from '../engine/graph/ops/movement.ts';
import { reduceMean, reduceSum } from '../engine/graph/ops/reduce.ts';
import type { Tensor } from '../engine/graph/tensor.ts';
import type { Draw } from '../engine/train/loss.ts';
import { type Condition, type Network, perSample } from '../engine/train/network.ts';
import { OptionError, options, real, texts, type Values } from '../engine/train/options.ts';
import { hiddenMaps } from './adversarial-terms.ts';
import { addNoise } from './terms.ts';

export const mapOptions = options({
  maps: texts(['bottleneck'], 'hidden maps of the teacher in which samples are compared'),
  mapLevel: real(0.1, 'noise level under which the teacher sees samples', { min: 1e-3 }),
});
interface MapScene {
  readonly nets: { readonly teacher: Network };
  readonly draw: Draw;
  readonly options: Values<typeof mapOptions>;
}

/** The chosen maps of clean samples under noise; samples of one name see the same noise. Errors: a map that the teacher does not have. */
export function mapsUnderNoise(
  where: string,
  { nets, draw, options: o }: MapScene,
  x: Tensor,
  condition: Condition,
  name: string,
): Tensor[] {
  const sigma = fill(o.mapLevel, perSample(x).shape);
  const found = hiddenMaps(nets.teacher, addNoise(x, sigma, draw.normal(`${name} noise`, x)), sigma, condition);
  return o.maps.map((map) => {
    if (!Object.hasOwn(found, map))
      throw new OptionError(`${where}.maps: the teacher has no hidden map ${map}; it has ${Object.keys(found).join(', ')}`);
    return found[map]!;
  });
}

/** Keeps places without any signal finite. */
const GUARD = 1e-10;
/** Every place of a map [N,C,…] as a unit vector over its channels. */
const unit = (map: Tensor): Tensor => map.div(reduceSum(map.square(), [1]).add(GUARD).sqrt());

/** Σ over maps of the mean over places of ‖â − b̂‖², between unit vectors over the channels: [N]. Errors: a map of one channel, which has no direction. */
export function perceptualDistance(a: readonly Tensor[], b: readonly Tensor[]): Tensor {
  const each = a.map((map, i) => {
    if (map.shape[1] === 1) throw new OptionError(`maps: [${map.shape}] has one channel, which has no direction; name a map of several`);
    const squares = reduceSum(unit(map).sub(unit(b[i]!)).square(), [1]); // [N,1,…]
    return reduceMean(squares.reshape([squares.shape[0]!, -1]), [1]).reshape([squares.shape[0]!]);
  });
  return each.reduce((sum, distance) => sum.add(distance));
}
