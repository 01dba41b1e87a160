/** @file Weights by name, and the scopes that hand them to networks: recorded, frozen as constants, or cut out of one trained vector. */
import { constant, state } from '../graph/ops/leaf.ts';
import { unpack } from '../graph/ops/movement.ts';
import type { Tensor } from '../graph/tensor.ts';
import { InputError } from '../io/errors.ts';
import { type StoredTensor, toFloat32 } from '../io/safetensors.ts';
import { fillNormal, fillUniform, streamKey } from '../random/philox.ts';
import type { Init, Scope } from './network.ts';

export interface Weight {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}
/** A weight in the bits of its file; every look at `data` widens them anew. */
export interface StoredWeight extends Weight {
  readonly stored: StoredTensor;
}
export const storedWeight = (stored: StoredTensor): StoredWeight => ({
  shape: stored.shape,
  stored,
  get data() {
    return toFloat32(stored);
  },
});
/** Weights of one player, by the names of its checkpoint. */
export type Weights = ReadonlyMap<string, Weight>;

export interface Declaration {
  readonly name: string;
  readonly shape: readonly number[];
  readonly init: Init;
  readonly trained: boolean;
}
/** Values of a weight. */
export const count = (shape: readonly number[]): number => shape.reduce((n, d) => n * d, 1);
const ZERO: Init = { kind: 'constant', value: 0 };

/** Collects what a network asks for. `declared` fills while the network is built. */
export function recordingScope(player: string): {
  readonly scope: Scope;
  readonly declared: ReadonlyMap<string, Declaration>;
  readonly tensors: ReadonlyMap<string, Tensor>;
} {
  const declared = new Map<string, Declaration>();
  const tensors = new Map<string, Tensor>();
  const declare =
    (trained: boolean) =>
    (name: string, shape: readonly number[], init: Init = ZERO) => {
      const before = declared.get(name);
      if (before && before.shape.join() !== shape.join())
        throw new Error(`internal: ${player}: ${name} is asked for as [${before.shape}] and as [${shape}]`);
      if (!before) {
        declared.set(name, { name, shape, init, trained });
        tensors.set(name, state(`${player}/${name}`, shape));
      }
      return tensors.get(name)!;
    };
  return { scope: Object.assign(declare(true), { buffer: declare(false) }), declared, tensors };
}

/**
 * Frozen weights: constants of the graph, which a runtime may rearrange once for speed.
 * @param shared constants by their values, for several players that hold the same ones: each is one constant then
 * @param hold gives large weights another form than that of a constant, anew at each use
 */
export function constantScope(
  weights: Weights,
  shared = new Map<Float32Array, Tensor>(),
  hold: (weight: Weight) => Tensor | null = () => null,
): Scope {
  const get = (name: string, shape: readonly number[]): Tensor => {
    const weight = weights.get(name);
    if (!weight || weight.shape.join() !== shape.join())
      throw new InputError(`weights: ${name} should be [${shape}], but is ${weight ? `[${weight.shape}]` : 'missing'}`);
    const held = hold(weight);
    if (held) return held;
    const known = shared.get(weight.data);
    const tensor = known?.shape.join() === shape.join() ? known : constant(weight.data, shape);
    shared.set(weight.data, tensor);
    return tensor;
  };
  return Object.assign(get, { buffer: get });
}

/** What is trained of a player, in the order of one flat vector. */
export type Layout = readonly { readonly name: string; readonly shape: readonly number[]; readonly offset: number }[];
export function layoutOf(declared: Iterable<Declaration>): Layout {
  let end = 0;
  return [...declared]
    .filter((d) => d.trained)
    .map(({ name, shape }) => {
      const offset = end;
      end += count(shape);
      return { name, shape, offset };
    });
}
export const layoutSize = (layout: Layout): number => layout.reduce((n, { shape }) => n + count(shape), 0);

/** Trained weights: one state vector, so that optimizer, averages and clipping are a handful of nodes however many layers there are. `others` holds what is not trained. */
export function packedScope(
  vector: Tensor,
  layout: Layout,
  others: Weights,
  shared?: Map<Float32Array, Tensor>,
  hold?: (weight: Weight) => Tensor | null,
): Scope {
  const parts = unpack(
    vector,
    layout.map((l) => l.shape),
  );
  const made = new Map(layout.map((l, i) => [l.name, parts[i]!]));
  const fixed = constantScope(others, shared, hold);
  const get = (name: string, shape: readonly number[]): Tensor => made.get(name) ?? fixed(name, shape);
  return Object.assign(get, { buffer: (name: string, shape: readonly number[], init: Init) => fixed.buffer(name, shape, init) });
}

/** Fresh values, a function of (seed, player, name) alone. */
export function initialise(declared: Iterable<Declaration>, seed: number, player: string): Weights {
  return new Map(
    [...declared].map(({ name, shape, init }) => [
      name,
      { shape, data: initialValues(init, count(shape), streamKey(seed, 0, `init/${player}/${name}`)) },
    ]),
  );
}
function initialValues(init: Init, size: number, key: readonly [number, number]): Float32Array {
  const data = new Float32Array(size);
  if (init.kind === 'values') return init.values.slice();
  if (init.kind === 'constant') return data.fill(init.value);
  if (init.kind === 'normal') {
    fillNormal(data, key, size);
    return data.map((v) => v * init.std);
  }
  fillUniform(data, key, size);
  return data.map((v) => (2 * v - 1) * init.bound);
}

/** One vector of all trained weights. */
export function pack(layout: Layout, weights: Weights): Float32Array {
  const vector = new Float32Array(layoutSize(layout));
  for (const { name, offset } of layout) vector.set(weights.get(name)!.data, offset);
  return vector;
}
/** The trained weights by name; views into the vector. */
export const unpackWeights = (layout: Layout, vector: Float32Array): Weights =>
  new Map(layout.map(({ name, shape, offset }) => [name, { shape, data: vector.subarray(offset, offset + count(shape)) }]));

/** Errors: weights that are missing or of another shape; the first three are named. Unused ones are reported too. */
export function checkWeights(where: string, declared: Iterable<Declaration>, weights: Weights): void {
  const wanted = new Map([...declared].map((d) => [d.name, d]));
  const faults = [
    ...[...wanted.values()].flatMap(({ name, shape }) => {
      const w = weights.get(name);
      if (!w) return [`${name} [${shape}] is missing`];
      return w.shape.join() === shape.join() ? [] : [`${name} is [${w.shape}], should be [${shape}]`];
    }),
    ...[...weights.keys()]
      .filter((name) => !wanted.has(name))
      .map((name) => `${name} [${weights.get(name)!.shape}] is not part of the network`),
  ];
  if (faults.length === 0) return;
  const more = faults.length > 3 ? `; and ${faults.length - 3} more` : '';
  throw new InputError(`${where}: the weights do not fit the network: ${faults.slice(0, 3).join('; ')}${more}`);
}
