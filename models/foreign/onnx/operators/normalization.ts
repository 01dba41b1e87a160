/** @file ONNX normalisations. */

import * as E from '../../../../engine/graph/ops/elementwise.ts';
import { add, div, mul, sub } from '../../../../engine/graph/ops/elementwise.ts';
import { layerNormalize } from '../../../../engine/graph/ops/layer-normalize.ts';
import { constant } from '../../../../engine/graph/ops/leaf.ts';
import { reshape } from '../../../../engine/graph/ops/movement.ts';
import { groupNorm } from '../../../../engine/graph/ops/normalize.ts';
import { norm, reduceMean, reduceSum } from '../../../../engine/graph/ops/reduce.ts';
import { axisOf, type Dim, elements, fixed, isSymbolic, type Tensor } from '../../../../engine/graph/tensor.ts';
import type { NodeView, Operators } from '../node.ts';

/** A value per channel, against [N,C,…]. */
const perChannel = (v: Tensor, x: Tensor): Tensor => reshape(v, [v.shape[0]!, ...x.shape.slice(2).map(() => 1)]);

function batchNorm(n: NodeView): Tensor {
  if (n.attr.int('training_mode', 0) === 1) n.fail('training_mode is on; export the model for inference');
  const x = n.x(0, 2);
  const [scale, shift, mean, variance] = [1, 2, 3, 4].map((i) => n.x(i, 1)) as [Tensor, Tensor, Tensor, Tensor];
  const factor = div(scale, E.sqrt(add(variance, n.attr.float('epsilon', 1e-5))));
  return add(mul(sub(x, perChannel(mean, x)), perChannel(factor, x)), perChannel(shift, x));
}

const instanceNorm = (n: NodeView): Tensor => {
  const x = n.x(0, 2);
  return groupNorm(x, n.x(1), n.x(2), fixed('channels', x.shape[1]), n.attr.float('epsilon', 1e-5));
};

/** Up to opset 20 scale and shift are per group, from 21 on per channel. */
function grouped(n: NodeView): Tensor {
  const x = n.x(0, 2);
  const groups = n.attr.int('num_groups');
  const channels = fixed('channels', x.shape[1]);
  const each = (v: Tensor): Tensor => {
    if (v.shape[0] === channels) return v;
    const spread = add(reshape(v, [groups, 1]), constant(new Float64Array(channels / groups), [1, channels / groups]));
    return reshape(spread, [channels]);
  };
  if (!Number.isInteger(channels / groups)) n.fail(`its ${groups} groups do not divide ${channels} channels`);
  return groupNorm(x, each(n.x(1)), each(n.x(2)), groups, n.attr.float('epsilon', 1e-5));
}

/** Over all axes from `axis` on, as one row. Outputs: y, mean and 1/std. */
function layerNorm(n: NodeView): readonly Tensor[] {
  const x = n.x(0);
  const axis = axisOf('axis', n.attr.int('axis', -1), x.shape.length);
  const rest = x.shape.slice(axis);
  const width = elements(rest);
  if (isSymbolic(width)) return n.fail('normalises over the batch');
  const flat: readonly Dim[] = [...x.shape.slice(0, axis), width];
  const row = (v: Tensor): Tensor => {
    const full = v.shape.length === rest.length && v.shape.every((d, i) => d === rest[i]);
    return reshape(full ? v : add(v, constant(new Float64Array(width), rest)), [width]);
  };
  const bias = n.maybe(2);
  if (width === 0) n.fail('normalises over nothing');
  const [y, mean, deviation] = layerNormalize(reshape(x, flat), row(n.x(1)), bias ? row(bias) : undefined, n.attr.float('epsilon', 1e-5));
  const kept = [...x.shape.slice(0, axis), ...rest.map(() => 1)];
  return [reshape(y, x.shape), reshape(mean, kept), reshape(deviation, kept)];
}

function meanVariance(n: NodeView): Tensor {
  const x = n.x(0);
  const axes = n.attr.ints('axes') ?? [0, 2, 3];
  const centred = sub(x, reduceMean(x, axes));
  return div(centred, add(E.sqrt(reduceMean(mul(centred, centred), axes)), 1e-9));
}

function toUnit(n: NodeView): Tensor {
  const x = n.x(0);
  const axis = [n.attr.int('axis', -1)];
  return div(x, n.attr.int('p', 2) === 1 ? reduceSum(E.abs(x), axis) : norm(x, axis));
}

export const normalization: Operators = {
  BatchNormalization: { build: batchNorm, gradient: 'yes', limits: 'inference only' },
  InstanceNormalization: { build: instanceNorm, gradient: 'yes' },
  GroupNormalization: { build: grouped, gradient: 'yes' },
  LayerNormalization: { build: layerNorm, gradient: 'yes' },
  LpNormalization: { build: toUnit, gradient: 'yes' },
  MeanVarianceNormalization: { build: meanVariance, gradient: 'yes', limits: 'not over the batch where its size is free' },
};
