/** @file The tiny networks of the reference values of losses, and a method's phases on values that are given. */
import '../../engine/graph/fluent.ts';
import { gradients } from '../../engine/graph/gradients.ts';
import { conv2d } from '../../engine/graph/ops/conv.ts';
import { silu } from '../../engine/graph/ops/elementwise.ts';
import { linear } from '../../engine/graph/ops/linalg.ts';
import { groupNorm } from '../../engine/graph/ops/normalize.ts';
import { evaluate } from '../../engine/graph/reference.ts';
import type { Tensor } from '../../engine/graph/tensor.ts';
import { deviation, type Golden } from '../../engine/testing/golden-tensors.ts';
import type { Loss, Scene } from '../../engine/train/loss.ts';
import { type Head, type Network, type SampleType, type Scope, within } from '../../engine/train/network.ts';
import { resolve } from '../../engine/train/options.ts';
import { type DrawSpec, makeDraw, sceneOf } from '../../engine/train/program.ts';
import { recordingScope, type Weights } from '../../engine/train/weights.ts';
import { edmPrecondition } from '../../models/precondition.ts';
import { karras } from '../../samplers/karras.ts';
import { indexRange } from '../terms.ts';

const CHANNELS = 3;
const WIDTH = 6;
export const CLASSES = 3;
/** Images [3,4,4] with three classes. */
export const TINY: SampleType = { shape: [CHANNELS, 4, 4], classes: CLASSES };

/** s = ln(σ)/4; e = silu(time s + label); h = silu(conv_in(c_in x) + e), the bottleneck; F = conv_out(h), preconditioned as EDM. */
export function tinyNetwork(outer: Scope): Network {
  const scope = within(outer, 'model.');
  return edmPrecondition(
    (x, noise, { label }) => {
      const time = linear(noise.reshape([-1, 1]), scope('time.weight', [WIDTH, 1]), scope('time.bias', [WIDTH])); // [N or 1, 6]
      const labelled = scope('label.weight', [WIDTH, CLASSES]);
      const e = silu(label ? time.add(linear(label, labelled)) : time).reshape([-1, WIDTH, 1, 1]);
      const conv = (name: string, from: Tensor, out: number, inside: number): Tensor =>
        conv2d(from, scope(`${name}.weight`, [out, inside, 3, 3]), { bias: scope(`${name}.bias`, [out]), padding: 1 });
      const h = silu(conv('conv_in', x, WIDTH, CHANNELS).add(e));
      return { output: conv('conv_out', h, CHANNELS, WIDTH), features: { bottleneck: h } };
    },
    { sigmaData: 0.5 },
  );
}

/** Convolution, group norm, silu, convolution to one logit [N,1]; names of the layers as in the reference. */
export const tinyHead =
  ([first, norm, last]: readonly [string, string, string]) =>
  (scope: Scope): Head =>
  ({ bottleneck }) => {
    const h = conv2d(bottleneck!, scope(`${first}.weight`, [WIDTH, WIDTH, 3, 3]), {
      bias: scope(`${first}.bias`, [WIDTH]),
      stride: 2,
      padding: 1,
    });
    const active = silu(groupNorm(h, scope(`${norm}.weight`, [WIDTH]), scope(`${norm}.bias`, [WIDTH]), 2, 1e-5));
    return conv2d(active, scope(`${last}.weight`, [1, WIDTH, 2, 2]), { bias: scope(`${last}.bias`, [1]) }).reshape([-1, 1]);
  };

/** Weights under a prefix of a reference file, by their names without it. */
export function storedWeights({ tensor, names }: Golden<unknown>, prefix: string): Weights {
  const own = names.filter((name) => name.startsWith(prefix));
  return new Map(own.map((name) => [name.slice(prefix.length), { shape: tensor(name).shape, data: Float32Array.from(tensor(name).data) }]));
}

/** One-hot rows. */
export const oneHot = (classes: ArrayLike<number>, of: number): Float32Array => {
  const rows = new Float32Array(classes.length * of);
  Array.from(classes).forEach((c, i) => {
    rows[i * of + c] = 1;
  });
  return rows;
};

type Values = Readonly<Record<string, ArrayLike<number>>>;
export interface Rehearsal {
  readonly scene: Scene<string, string, never>;
  readonly terms: Readonly<Record<string, Tensor>>;
  readonly draws: readonly DrawSpec[];
  /** Parameters of a player as they were asked for. */
  parameters(player: string): ReadonlyMap<string, Tensor>;
  /** Values in float64; weights are fed as `player/name`, draws as `draw/name`. */
  evaluate(tensors: readonly Tensor[], feeds: Values): Float64Array[];
}

export interface Stage {
  readonly networks: Readonly<Record<string, (scope: Scope) => Network>>;
  readonly heads?: Readonly<Record<string, (scope: Scope) => Head>>;
  readonly sample: SampleType;
  readonly batch: number;
  readonly options?: Readonly<Record<string, unknown>>;
}

/** Builds the terms of one phase with every weight as a state of its own. */
export function rehearse(loss: Loss, phase: string, { networks, heads = {}, sample, batch, options = {} }: Stage): Rehearsal {
  const names = [...Object.keys(networks), ...Object.keys(heads)];
  const records = Object.fromEntries(names.map((name) => [name, recordingScope(name)]));
  const scopes = Object.fromEntries(names.map((name) => [name, records[name]!.scope]));
  const specs = new Map<string, DrawSpec>();
  const stage = {
    loss,
    options: resolve(loss.name, loss.options, options),
    cast: { networks, heads },
    sample,
    schedule: karras(),
    batch,
  };
  const scene = sceneOf(stage, scopes, makeDraw(batch, sample, specs)) as Scene<string, string, never>;
  const terms = loss.phases[phase]!.terms(scene);
  return {
    scene,
    terms,
    draws: [...specs.values()],
    parameters: (player) => records[player]!.tensors,
    evaluate: (tensors, feeds) => evaluate(tensors, feeds).map((value) => value.data as Float64Array),
  };
}

/** Gradients of `y` in all parameters of one player or head, by name. */
export function parameterGradients(rehearsal: Rehearsal, player: string, y: Tensor, feeds: Values): Map<string, Float64Array> {
  const parameters = rehearsal.parameters(player);
  const values = rehearsal.evaluate(gradients(y, [...parameters.values()]), feeds);
  return new Map([...parameters.keys()].map((name, i) => [name, values[i]!]));
}

/** What `rehearse` is fed for the weights of players. */
export const weightFeeds = (players: Readonly<Record<string, Weights>>): Values =>
  Object.fromEntries(
    Object.entries(players).flatMap(([player, weights]) => [...weights].map(([name, w]) => [`${player}/${name}`, w.data])),
  );

/** Uniform draws in [0, 1) that lead to the given indices among 1000 levels. */
export function uniforms(indices: ArrayLike<number>, from = 0, to = 1): Float32Array {
  const { low, count } = indexRange(1000, from, to);
  return Float32Array.from(indices, (i) => (i - low + 0.5) / count);
}

/** The deviation measured against the reference's largest entry, also where that is small. */
export function relative(ours: ArrayLike<number>, reference: ArrayLike<number>): number {
  const size = Math.max(...Array.from(reference, Math.abs));
  const scaled = (values: ArrayLike<number>): number[] => Array.from(values, (v) => v / size);
  return deviation(scaled(ours), scaled(reference));
}
