/** @file A multilayer perceptron with a preconditioning, for points and other small samples without neighbourhoods. */
import '../engine/graph/fluent.ts';
import { cos, sin } from '../engine/graph/ops/elementwise.ts';
import { constant } from '../engine/graph/ops/leaf.ts';
import { concat } from '../engine/graph/ops/movement.ts';
import { sizeOf, type Tensor } from '../engine/graph/tensor.ts';
import type { NetworkFamily, SampleType, Scope } from '../engine/train/network.ts';
import { options, type Values, whole } from '../engine/train/options.ts';
import { linear, silu, told } from './layers.ts';
import { preconditioned, preconditioningOptions, type RawNetwork } from './precondition.ts';

export const mlpOptions = options({
  width: whole(64, 'values of a hidden layer', { min: 1, max: 16384 }),
  layers: whole(2, 'hidden layers', { min: 1, max: 64 }),
  frequencies: whole(4, 'sines and cosines of the noise level, of as many frequencies', { min: 1, max: 256 }),
  ...preconditioningOptions.shape,
});
export type MlpOptions = Values<typeof mlpOptions>;

/** Sines and cosines of 1, 2, 4, … times the noise label: [N or 1, 2·count]. */
function embed(noise: Tensor, count: number): Tensor {
  const angles = noise.reshape([noise.shape[0]!, 1]).mul(
    constant(
      Float64Array.from({ length: count }, (_, i) => 2 ** i),
      [1, count],
    ),
  );
  return concat([sin(angles), cos(angles)], 1);
}

/** Layers of `width` that all hear of the noise level and of the class; the last one is the hidden map `bottleneck` [N, width, 1, 1]. */
const rawMlp =
  (scope: Scope, { width, layers, frequencies }: MlpOptions, { shape, classes, scalars }: SampleType): RawNetwork =>
  (x, noise, condition) => {
    const size = sizeOf(shape);
    const level = embed(noise, frequencies);
    const numbers = told(scope, condition, scalars, width);
    const classOf = condition['label'] ?? constant(new Float32Array(classes), [1, classes]); // without a label nothing is added
    let h = x.reshape([x.shape[0]!, size]);
    for (let i = 0; i < layers; i++) {
      const shifted = linear(scope, `layers.${i}`, h, width).add(linear(scope, `levels.${i}`, level, width, { bias: false }));
      const classed = classes > 0 ? shifted.add(linear(scope, `labels.${i}`, classOf, width, { bias: false })) : shifted;
      h = silu(numbers && i === 0 ? classed.add(numbers) : classed);
    }
    const output = linear(scope, 'out', h, size).reshape(x.shape);
    return { output, features: { bottleneck: h.reshape([h.shape[0]!, width, 1, 1]) } };
  };

export const mlpFamily: NetworkFamily<typeof mlpOptions> = {
  name: 'mlp',
  options: mlpOptions,
  build: (scope, o, sample) => preconditioned(rawMlp(scope, o, sample), o),
};
