/** @file Diffusion networks of diffusers by class: raw networks that take our conditions by their names, and denoisers of a network with its scheduler. */
import { add, mul, stop } from '../../../engine/graph/ops/elementwise.ts';
import { reshape, slice } from '../../../engine/graph/ops/movement.ts';
import { reduceMean } from '../../../engine/graph/ops/reduce.ts';
import { fixed, ShapeError, show, type Tensor } from '../../../engine/graph/tensor.ts';
import { InputError } from '../../../engine/io/errors.ts';
import type { Condition, Network, Scope } from '../../../engine/train/network.ts';
import { epsToDenoiser, flowToDenoiser, type RawNetwork, type RawPrediction, sampleToDenoiser, vToDenoiser } from '../../precondition.ts';
import * as key from './config.ts';
import { CLASSES, type NetworkFacts } from './descriptions.ts';
import { type Inputs, toMap } from './layers.ts';
import { unpacked } from './packing.ts';
import type { ForeignSchedule, PredictionType } from './schedulers.ts';

/** A network that a configuration describes. */
export interface DiffusersNetwork extends NetworkFacts {
  readonly className: string;
  /** The class's own forward, by the names of its own inputs. */
  forward(scope: Scope): (inputs: Inputs) => RawPrediction;
  /** x [N,C,H,W], time [N] or [1], our conditions; channels of a learned variance are dropped. Conditions that are missing are taken from `nulls`. */
  raw(scope: Scope, nulls?: Condition): RawNetwork;
}

/** One value for every sample, from [1,…] or [N,…]. Zeros of each sample are added, because a batch of unknown size cannot be expanded to. */
function perSampleOf(value: Tensor, like: Tensor): Tensor {
  if (value.shape[0] === like.shape[0]) return value;
  const zeros = mul(stop(reduceMean(like, [1, 2, 3])), 0);
  return add(value, reshape(zeros, [like.shape[0]!, ...value.shape.slice(1).map(() => 1)]));
}
/** The first channels of an output that has twice as many: the others are a learned variance. */
function withoutVariance(where: string, output: Tensor, channels: number): Tensor {
  const found = fixed(where, output.shape[1]);
  if (found === channels) return output;
  if (found === 2 * channels) return slice(output, 1, 0, channels);
  throw new ShapeError(`${where}: the network gives ${show(output)} for samples of ${channels} channels`);
}

/** Hidden tokens as maps. */
const asMaps = (features: RawPrediction['features'], [h, w]: readonly [number, number], unit: number): RawPrediction['features'] =>
  Object.fromEntries(
    Object.entries(features).map(([name, map]) => [name, map.shape.length === 3 ? toMap(map, [h / unit, w / unit]) : map]),
  );
/** Names of the classes of diffusion networks that are known. */
export const networkNames = Object.keys(CLASSES);

/** What early repositories call their transformers by. */
const BY_NORM: Readonly<Record<string, string>> = { ada_norm_zero: 'DiTTransformer2DModel', ada_norm_single: 'PixArtTransformer2DModel' };
/** The class of a configuration, under its present name. */
export function classNameOf(where: string, json: unknown): string {
  const config = key.record(where, json);
  const name = config['_class_name'];
  if (name !== 'Transformer2DModel') return typeof name === 'string' ? name : key.shown(name);
  const norm = config['norm_type'];
  const found = typeof norm === 'string' && Object.hasOwn(BY_NORM, norm) ? BY_NORM[norm] : undefined;
  if (found === undefined)
    throw new InputError(
      `${where}: Transformer2DModel with norm_type ${key.shown(norm)} is not supported; it may be ${Object.keys(BY_NORM).join(' or ')}`,
    );
  return found;
}

/**
 * A diffusion network by its `config.json`.
 * @throws InputError for other classes, and as the class's own reader
 */
export function diffusersNetwork(where: string, json: unknown): DiffusersNetwork {
  const className = classNameOf(where, json);
  if (!Object.hasOwn(CLASSES, className))
    throw new InputError(
      `${where}: class ${className} is not a diffusion network that is supported; supported are ${networkNames.join(', ')}`,
    );
  const d = CLASSES[className]!;
  const config = d.read(where, json);
  const facts = d.facts(config);
  const forward: DiffusersNetwork['forward'] = (scope) => d.build(scope, config);
  const raw: DiffusersNetwork['raw'] = (scope, nulls = {}) => {
    const run = forward(scope);
    return (x, time, condition) => {
      const given = { ...nulls, ...condition };
      const stacked = Object.fromEntries(
        Object.entries(given).map(([name, value]) => [name, name === 'label' ? value : perSampleOf(value, x)]),
      );
      const { output, features } = run(d.inputs(x, time, stacked, config));
      const sides = [fixed(className, x.shape[2]), fixed(className, x.shape[3])] as const;
      const map = output.shape.length === 3 ? unpacked(output, ...sides) : output;
      return { output: withoutVariance(className, map, facts.channels), features: asMaps(features, sides, facts.unit) };
    };
  };
  return { className, ...facts, forward, raw };
}

const DENOISERS: Readonly<Record<PredictionType, typeof epsToDenoiser>> = {
  epsilon: epsToDenoiser,
  v_prediction: vToDenoiser,
  sample: sampleToDenoiser,
  flow_prediction: flowToDenoiser,
};
/** The denoiser D(x0 + σε; σ) of a network with the scheduler that it was trained for. */
export const foreignDenoiser = (raw: RawNetwork, { prediction, process }: Pick<ForeignSchedule, 'prediction' | 'process'>): Network =>
  DENOISERS[prediction](raw, process);
