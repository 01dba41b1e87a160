/** @file Turns a method into programs: one graph per phase with forward, backward, clipping, guard, optimizer and averages. */
import '../graph/fluent.ts';
import { maybeGradients } from '../graph/gradients.ts';
import { abs, add, and, div, lessOrEqual, minimum, sub } from '../graph/ops/elementwise.ts';
import { constant, input, state } from '../graph/ops/leaf.ts';
import { concat, fill, unpack } from '../graph/ops/movement.ts';
import { reduceSum } from '../graph/ops/reduce.ts';
import { lowered, type Precision } from '../graph/precision.ts';
import { recomputed } from '../graph/recompute.ts';
import type { Shape, Tensor } from '../graph/tensor.ts';
import type { Program } from '../run/runtime.ts';
import type { FrozenStore } from './frozen.ts';
import { type Draw, followersOf, type Loss, learnsFromPairs, type Scene, shadowsOf } from './loss.ts';
import type { Condition, Head, Network, SampleType, Scope } from './network.ts';
import { type OptimizerOptions, optimize, slotsOf } from './optimizer.ts';
import type { NoiseSchedule } from './schedule.ts';
import {
  constantScope,
  type Declaration,
  type Layout,
  layoutOf,
  layoutSize,
  packedScope,
  recordingScope,
  type Weights,
} from './weights.ts';

/** Who plays: how the network of each player and each head is built. */
export interface Cast {
  readonly networks: Readonly<Record<string, (scope: Scope) => Network>>;
  readonly heads: Readonly<Record<string, (scope: Scope) => Head>>;
}

/** A method with everything that its graphs depend on. */
export interface Stage {
  readonly loss: Loss;
  readonly options: Readonly<Record<string, unknown>>;
  readonly cast: Cast;
  readonly sample: SampleType;
  readonly schedule: NoiseSchedule;
  /** Samples in one run of a program. */
  readonly batch: number;
  /** Whether the backward pass computes values between blocks again instead of keeping them (gradient checkpointing). */
  readonly recompute?: boolean;
}

/** One declared draw: fed from (seed, step, name, sample). */
export interface DrawSpec {
  readonly name: string;
  readonly kind: 'normal' | 'uniform' | 'condition';
  readonly shape: readonly number[];
  /** Those that conditions are drawn from; all without. */
  readonly classes?: readonly number[];
  /** The condition of a table, such as `text`, and the draw that it belongs to: conditions of one draw are of the same sample. */
  readonly of?: { readonly condition: string; readonly draw: string };
}

export interface PhaseProgram {
  readonly phase: string;
  readonly trains: readonly string[];
  readonly draws: readonly DrawSpec[];
  readonly terms: readonly string[];
  /** Fused: gradients and update in one graph. */
  readonly fused: Program;
  /** In two cuts: the gradients of one part of a batch, which a runtime adds up, … */
  readonly part: Program;
  /** … and the update from their sum. */
  readonly apply: Program;
}

/** Players that follow others. */
interface Followers {
  readonly followers: Readonly<Record<string, { readonly follows: string }>>;
}
export interface UpdateSettings {
  readonly optimizers: Readonly<Record<string, OptimizerOptions>>;
  /** Largest norm of each phase's gradient, over all that it trains; 0 = no limit. */
  readonly clip: Readonly<Record<string, number>>;
  /** Names of the weight averages of each player. */
  readonly averages: Readonly<Record<string, readonly string[]>>;
  /** Of products in networks, forward and backward; weights, updates and everything else are in float32. Default float32. */
  readonly precision?: Precision;
}
/** The input by which a loss is multiplied before its gradients are taken, which would vanish in float16 otherwise; gradients are divided by it again. */
export const LOSS_SCALE = 'loss scale';

/** Heads and players that some phase trains: they are state, never constants. */
export const trainedOf = (loss: Loss): string[] => [...new Set(Object.values(loss.phases).flatMap((p) => p.trains as readonly string[]))];

/** The name of the state vector that holds a method's memory. */
export const MEMORY = 'memory';

/** The memory of a method in the order of one flat vector. */
export function memoryLayout({ memory = {} }: Loss): Layout {
  const declared = Object.entries(memory).map(([name, { shape, value }]) => ({
    name,
    shape,
    init: { kind: 'constant', value } as const,
    trained: true,
  }));
  return layoutOf(declared);
}
/** The state vector of the memory, and its parts by name. */
function memoryOf(loss: Loss): { readonly vector: Tensor | null; readonly parts: Readonly<Record<string, Tensor>> } {
  const layout = memoryLayout(loss);
  if (layout.length === 0) return { vector: null, parts: {} };
  const vector = state(MEMORY, [layoutSize(layout)]);
  const parts = unpack(
    vector,
    layout.map((l) => l.shape),
  );
  return { vector, parts: Object.fromEntries(layout.map(({ name }, i) => [name, parts[i]!])) };
}

type Scopes = Readonly<Record<string, Scope>>;

/** Declares draws into `specs`. */
export function makeDraw(
  batch: number,
  { classes, conditions = {} }: Pick<SampleType, 'classes' | 'conditions'>,
  specs: Map<string, DrawSpec>,
): Draw {
  const declare = (kind: 'normal' | 'uniform') => (name: string, like: { readonly shape: Shape }) => {
    const shape = like.shape as readonly number[];
    const before = specs.get(name);
    if (before && (before.kind !== kind || before.shape.join() !== shape.join()))
      throw new Error(`draw: ${name} is drawn as ${before.kind} [${before.shape}] and as ${kind} [${shape}]`);
    specs.set(name, { name, kind, shape });
    return input(`draw/${name}`, shape);
  };
  return {
    normal: declare('normal'),
    uniform: declare('uniform'),
    condition(name, among) {
      const drawn: Record<string, Tensor> = {};
      if (classes > 0) {
        specs.set(name, { name, kind: 'condition', shape: [batch, classes], ...(among ? { classes: among } : {}) });
        drawn['label'] = input(`draw/${name}`, [batch, classes]);
      }
      for (const [condition, own] of Object.entries(conditions)) {
        const of = { condition, draw: name };
        specs.set(`${name}/${condition}`, { name: `${name}/${condition}`, kind: 'condition', shape: [batch, ...own], of });
        drawn[condition] = input(`draw/${name}/${condition}`, [batch, ...own]);
      }
      return drawn;
    },
  };
}

/** Inputs for what a batch's samples are conditioned on, under names led by `lead`. */
const conditionsOf = ({ classes, conditions = {} }: SampleType, batch: number, lead = ''): Condition => ({
  ...(classes > 0 ? { label: input(`${lead}label`, [batch, classes]) } : {}),
  ...Object.fromEntries(Object.entries(conditions).map(([name, shape]) => [name, input(`${lead}${name}`, [batch, ...shape])])),
});

/** What a phase sees, with networks and heads built on the given scopes. */
export function sceneOf(stage: Stage, scopes: Scopes, draw: Draw): Scene<string, string, Readonly<Record<string, unknown>>> {
  const { cast, sample, schedule, batch, options } = stage;
  const build = <T>(makers: Readonly<Record<string, (scope: Scope) => T>>): Record<string, T> =>
    Object.fromEntries(Object.entries(makers).map(([name, make]) => [name, make(scopes[name]!)]));
  return {
    nets: build(cast.networks),
    heads: build(cast.heads),
    clock: Object.fromEntries(Object.keys(stage.loss.clock ?? {}).map((name) => [name, input(`clock/${name}`, [])])),
    memory: memoryOf(stage.loss).parts,
    data: input('data', [batch, ...sample.shape]),
    condition: conditionsOf(sample, batch),
    pair() {
      if (!learnsFromPairs(stage.loss, stage.options)) throw new Error(`internal: ${stage.loss.name} uses pairs but does not say so`);
      const given = (name: string): Tensor => input(`pair/${name}`, [batch, ...sample.shape]);
      return {
        noise: given('noise'),
        sample: given('sample'),
        condition: conditionsOf(sample, batch, 'pair/'),
      };
    },
    schedule,
    draw,
    options,
  };
}

/** What every player and head asks for, in the order in which the phases first ask. */
export function declarationsOf(stage: Stage): Readonly<Record<string, readonly Declaration[]>> {
  const names = [...Object.keys(stage.cast.networks), ...Object.keys(stage.cast.heads)];
  const records = Object.fromEntries(names.map((name) => [name, recordingScope(name)]));
  const scopes = Object.fromEntries(names.map((name) => [name, records[name]!.scope]));
  for (const phase of Object.values(stage.loss.phases)) phase.terms(sceneOf(stage, scopes, makeDraw(stage.batch, stage.sample, new Map())));
  const shadows = shadowsOf(stage.loss);
  const frozen = stage.loss.freezes?.(stage.options) ?? {};
  return Object.fromEntries(
    names.map((name) => {
      const own = shadows[name] ?? name;
      const trained = (d: Declaration): boolean => d.trained && !frozen[own]?.(d.name);
      return [name, [...records[own]!.declared.values()].map((d) => ({ ...d, trained: trained(d) }))];
    }),
  );
}

/** The state of a player's training beside its weights: slots of the optimizer and averages, by label. */
export function stateLabels(
  player: string,
  settings: UpdateSettings,
): { readonly slots: readonly string[]; readonly averages: readonly string[] } {
  const optimizer = settings.optimizers[player];
  return {
    slots: optimizer ? slotsOf(optimizer).map((slot) => `${player}/${slot}`) : [],
    averages: (settings.averages[player] ?? []).map((name) => `${player}/average/${name}`),
  };
}

/** The programs of every phase. `store` holds weights that nothing trains; without one they are constants. */
export function buildPhases(
  stage: Stage,
  declarations: Readonly<Record<string, readonly Declaration[]>>,
  weights: Readonly<Record<string, Weights>>,
  settings: UpdateSettings,
  store: FrozenStore | null = null,
): PhaseProgram[] {
  const followers = followersOf(stage.loss);
  const moving = [...trainedOf(stage.loss), ...Object.keys(shadowsOf(stage.loss))];
  const layouts = Object.fromEntries(moving.map((name) => [name, layoutOf(declarations[name]!)]));
  const vectors = Object.fromEntries(moving.map((name) => [name, state(name, [layoutSize(layouts[name]!)])]));
  const shared = new Map<Float32Array, Tensor>();
  const scopes = Object.fromEntries(
    Object.keys(declarations).map((name) => [
      name,
      vectors[name]
        ? packedScope(vectors[name], layouts[name]!, weights[name]!, shared, store?.hold)
        : constantScope(weights[name]!, shared, store?.hold),
    ]),
  );
  return Object.entries(stage.loss.phases).map(([name, phase]) => {
    const specs = new Map<string, DrawSpec>();
    const scene = sceneOf(stage, scopes, makeDraw(stage.batch, stage.sample, specs));
    const terms = phase.terms(scene);
    const trains = phase.trains as readonly string[];
    const trained = trains.map((t) => vectors[t]!);
    const scale = settings.precision === 'float16' ? input(LOSS_SCALE, []) : null;
    const loss = scale ? terms.loss.mul(scale) : terms.loss;
    const whole = maybeGradients(loss, trained).map((g, i) => g ?? fill(0, trained[i]!.shape));
    const remembered = rememberedBy(stage.loss, scene.memory, phase.remember?.(scene));
    const beside = [...Object.values(terms), ...remembered.values()];
    const scaled = stage.recompute ? recomputed({ loss, trained, beside }, whole) : whole;
    const gradients = scale ? scaled.map((g) => g.div(scale)) : scaled;
    const low = inPrecision({ terms, gradients, remembered }, settings.precision);
    return phaseProgram(name, trains, [...specs.values()], low.terms, vectors, low.gradients, { ...settings, followers }, low.remembered);
  });
}

interface Computed {
  readonly terms: { readonly loss: Tensor } & Readonly<Record<string, Tensor>>;
  readonly gradients: readonly Tensor[];
  readonly remembered: ReadonlyMap<Tensor, Tensor>;
}
/** What a phase computes, as one graph in a precision. */
function inPrecision({ terms, gradients, remembered }: Computed, precision: Precision = 'float32'): Computed {
  const [names, kept] = [Object.keys(terms), [...remembered]];
  const all = lowered([...Object.values(terms), ...gradients, ...kept.map(([, value]) => value)], precision);
  const [n, g] = [names.length, gradients.length];
  return {
    terms: Object.fromEntries(names.map((name, i) => [name, all[i]!])) as Computed['terms'],
    gradients: all.slice(n, n + g),
    remembered: new Map(kept.map(([vector], i) => [vector, all[n + g + i]!])),
  };
}

/** The update of the memory's vector: what a phase leaves alone stays. */
function rememberedBy(loss: Loss, before: Readonly<Record<string, Tensor>>, next?: Readonly<Record<string, Tensor>>): Map<Tensor, Tensor> {
  const { vector } = memoryOf(loss);
  if (!vector || !next) return new Map();
  const flat = memoryLayout(loss).map(({ name }) => (next[name] ?? before[name]!).reshape([-1]));
  return new Map([[vector, concat(flat, 0)]]);
}

const FINITE = 3.4e38;
const finite = (x: Tensor): Tensor => lessOrEqual(abs(x), FINITE);

function phaseProgram(
  phase: string,
  trains: readonly string[],
  draws: readonly DrawSpec[],
  terms: { readonly loss: Tensor } & Readonly<Record<string, Tensor>>,
  vectors: Readonly<Record<string, Tensor>>,
  gradients: readonly Tensor[],
  settings: UpdateSettings & Followers,
  remembered: ReadonlyMap<Tensor, Tensor>,
): PhaseProgram {
  const limit = settings.clip[phase] ?? 0;
  const fused = updateProgram(trains, vectors, gradients, limit, settings);
  const sums = trains.map((t) => state(`${t}/gradient`, vectors[t]!.shape));
  const share = input('share', []); // 1 / number of parts
  const shares = new Map(sums.map((s, i) => [s, gradients[i]!.mul(share)]));
  // The memory after a step in parts is the mean of what the parts would remember.
  const keeping = [...remembered].map(([vector, value]) => [vector, state(`${MEMORY}/gradient`, vector.shape), value.mul(share)] as const);
  for (const [, sum, value] of keeping) shares.set(sum, value);
  const apply = updateProgram(trains, vectors, sums, limit, settings);
  return {
    phase,
    trains,
    draws,
    terms: Object.keys(terms),
    fused: {
      outputs: { ...terms, ...fused.outputs },
      updates: new Map([...fused.updates, ...remembered]),
      commit: and(fused.commit!, finite(terms.loss)),
    },
    part: { outputs: terms, updates: shares },
    apply: { ...apply, updates: new Map([...apply.updates, ...keeping.map(([vector, sum]) => [vector, sum] as const)]) },
  };
}

/** Clipping by global norm, guard, optimizer and averages. */
function updateProgram(
  trains: readonly string[],
  vectors: Readonly<Record<string, Tensor>>,
  gradients: readonly Tensor[],
  limit: number,
  settings: UpdateSettings & Followers,
): Program {
  const norm = gradients
    .map((g) => reduceSum(g.mul(g), [0]).reshape([]))
    .reduce(add)
    .sqrt();
  // The factor of torch.nn.utils.clip_grad_norm_: min(1, limit / (norm + 1e-6)).
  const factor = limit > 0 ? minimum(div(limit, norm.add(1e-6)), 1) : constant(1);
  const updates = new Map<Tensor, Tensor>();
  trains.forEach((player, i) => {
    const p = vectors[player]!;
    const o = settings.optimizers[player]!;
    const slots = Object.fromEntries(slotsOf(o).map((slot) => [slot, state(`${player}/${slot}`, p.shape)]));
    const next = optimize(player, o, p, gradients[i]!, factor, slots);
    updates.set(p, next.weights);
    for (const [slot, value] of Object.entries(next.slots)) updates.set(slots[slot]!, value);
    moveAverages(updates, player, next.weights, settings);
    for (const [name, { follows }] of Object.entries(settings.followers))
      if (follows === player) moveTowards(updates, state(name, p.shape), next.weights, `${name}/rate`);
  });
  return { outputs: { gradientNorm: norm }, updates, commit: finite(norm) };
}

/** e ← e + rate (w − e) for every average of a player. */
function moveAverages(updates: Map<Tensor, Tensor>, player: string, weights: Tensor, { averages }: UpdateSettings): void {
  for (const name of averages[player] ?? []) {
    const average = state(`${player}/average/${name}`, weights.shape);
    moveTowards(updates, average, weights, `${player}/average/${name}/rate`);
  }
}
function moveTowards(updates: Map<Tensor, Tensor>, average: Tensor, weights: Tensor, rate: string): void {
  updates.set(average, average.add(sub(weights, average).mul(input(rate, []))));
}

/** Moves a player's averages towards weights that did not change: for averages that move on every step. */
export function averageProgram(player: string, layout: Layout, settings: UpdateSettings): Program {
  const updates = new Map<Tensor, Tensor>();
  moveAverages(updates, player, state(player, [layoutSize(layout)]), settings);
  return { outputs: {}, updates };
}
