/** @file Holds the only loop: runs the phases of a method step by step, feeds data, draws and rates, and skips steps that are not finite. */

import type { Precision } from '../graph/precision.ts';
import { InputError } from '../io/errors.ts';
import { fillIndex, fillNormal, fillUniform, streamKey } from '../random/philox.ts';
import {
  type Executable,
  type Feeds,
  float32,
  type HostTensor,
  type Outputs,
  type Runtime,
  type State,
  type Steps,
  type Sums,
  scalar,
} from '../run/runtime.ts';
import type { Average } from './averages.ts';
import { type ConditionTable, gatherRows } from './conditions.ts';
import { FROZEN, type FrozenStorage, frozenStore } from './frozen.ts';
import { followersOf, type Loss, type Moment, recalledOf, shadowsOf, scalarsOf as toldOf } from './loss.ts';
import { firstScale, type LossScale, maySink, nextScale } from './loss-scale.ts';
import { type OptimizerOptions, scalarsOf } from './optimizer.ts';
import {
  averageProgram,
  buildPhases,
  type DrawSpec,
  declarationsOf,
  LOSS_SCALE,
  MEMORY,
  memoryLayout,
  type PhaseProgram,
  type Stage,
  stateLabels,
  trainedOf,
  type UpdateSettings,
} from './program.ts';
import { checkWeights, type Declaration, initialise, type Layout, layoutOf, pack, unpackWeights, type Weights } from './weights.ts';

/** Clean samples of one step; labels one-hot [N, classes] where there are classes. */
export interface Batch {
  readonly images: Float32Array;
  readonly labels: Float32Array | null;
  /** Noise and the teacher's samples of it, for methods that train on pairs. */
  readonly pairs?: { readonly noise: Float32Array; readonly samples: Float32Array; readonly labels: Float32Array | null };
  /** What else the samples are conditioned on, by name: [N, …]. */
  readonly conditions?: Readonly<Record<string, Float32Array>>;
}

export interface TrainerSettings {
  readonly stage: Stage;
  /** Length of the whole run, for what depends on it. */
  readonly steps?: number;
  /** Parts that a step's batch is cut into; their gradients are added up. */
  readonly parts: number;
  /** Parts that are computed side by side; default 1. */
  readonly beside?: number;
  readonly seed: number;
  readonly optimizers: Readonly<Record<string, OptimizerOptions>>;
  /** Learning rate of each player at a 0-based step. */
  readonly rates: Readonly<Record<string, (step: number) => number>>;
  readonly clip: Readonly<Record<string, number>>;
  readonly averages: Readonly<Record<string, readonly Average[]>>;
  /** Whether averages move with every update of their player (default) or on every step, towards the same weights between updates (FastGen). */
  readonly averageOn?: 'update' | 'step';
  /** Of products in networks; default float32. */
  readonly precision?: Precision;
  /** How weights that are not trained are held; default float32. */
  readonly frozen?: FrozenStorage;
  /** Labels of the data set, from which conditions are drawn. */
  readonly labels: ArrayLike<number> | null;
  /** Most steps that run in one go where the runtime gains by it; default 1. The values are those of single steps. */
  readonly together?: number;
  /** Conditions beside the class, from which they are drawn. */
  readonly conditions?: ConditionTable;
}

/** What one step did. */
export interface StepReport {
  readonly step: number;
  readonly nimg: number;
  /** Terms of every phase that ran, as `phase/term`. */
  readonly terms: Readonly<Record<string, number>>;
  readonly rates: Readonly<Record<string, number>>;
  /** Steps skipped so far because something was not finite. */
  readonly skipped: number;
}

/** Everything that a resumed run needs. */
export interface Snapshot {
  readonly step: number;
  readonly nimg: number;
  readonly skipped: number;
  /** Updates of each player. */
  readonly updates: Readonly<Record<string, number>>;
  /** Scales of the phases' losses, where products are in float16. */
  readonly scales?: Readonly<Record<string, LossScale>>;
  /** Vectors by state label. */
  readonly vectors: Readonly<Record<string, Float32Array>>;
}

export interface RunOptions {
  /** The number of steps after which to stop. */
  readonly until: number;
  batch(step: number): Promise<Batch>;
  readonly signal?: AbortSignal;
  onStep?(report: StepReport): void | Promise<void>;
  /** Whether the state is looked at when so many steps are done; steps that run in one go end there. Default: after every step. */
  pauses?(step: number): boolean;
}

interface Compiled {
  readonly executables: Readonly<Record<string, Executable>>;
  readonly sums: Readonly<Record<string, Sums>>;
  readonly steps: Steps | null;
  readonly heldBytes: number;
}

/** Steps in a row that may fail before training stops. */
export const MAX_BAD_STEPS = 20;

export class Trainer {
  step = 0;
  nimg = 0;
  skipped = 0;
  readonly declarations: Readonly<Record<string, readonly Declaration[]>>;
  readonly layouts: Readonly<Record<string, Layout>>;
  private readonly updates: Record<string, number> = {};
  private badInARow = 0;
  /** Of each phase's loss, where products are in float16. */
  private scales: Readonly<Record<string, LossScale>> = {};
  private readonly grouped = new Map<string, ArrayLike<number>>();
  private readonly settings: TrainerSettings;
  /** The graphs, one program a phase. */
  readonly phases: readonly PhaseProgram[];
  private readonly state: State;
  private readonly executables: Readonly<Record<string, Executable>>;
  /** Gradients of each phase, where batches are cut. */
  private readonly sums: Readonly<Record<string, Sums>>;
  /** Several steps in one go, where the runtime gains by it and the method allows it. */
  private readonly several: Steps | null;
  /** Bytes of the weights that are held in fewer bits, once for all programs. */
  readonly heldBytes: number;
  /** What training leaves as it is: the buffers of trained players, all weights of the others. */
  readonly fixed: Readonly<Record<string, Weights>>;

  private constructor(
    settings: TrainerSettings,
    declarations: Trainer['declarations'],
    phases: readonly PhaseProgram[],
    state: State,
    { executables, sums, steps, heldBytes }: Compiled,
    weights: Readonly<Record<string, Weights>>,
  ) {
    this.settings = settings;
    this.declarations = declarations;
    this.layouts = layoutsOf(settings.stage, declarations);
    this.phases = phases;
    this.state = state;
    this.executables = executables;
    this.sums = sums;
    this.several = steps;
    this.heldBytes = heldBytes;
    this.fixed = fixedOf(declarations, Object.keys(this.layouts), weights);
    for (const player of trainedOf(settings.stage.loss)) this.updates[player] = 0;
    if (settings.precision === 'float16') this.scales = Object.fromEntries(phases.map(({ phase }) => [phase, firstScale]));
  }

  /** Compiles the phases. `given` holds the weights of players that do not start fresh. Errors: weights that do not fit. */
  static async create(settings: TrainerSettings, runtime: Runtime, given: Readonly<Record<string, Weights>>): Promise<Trainer> {
    const { stage } = settings;
    const declarations = declarationsOf(stage);
    const weights: Record<string, Weights> = {};
    for (const [player, declared] of Object.entries(declarations)) {
      const origin = shadowsOf(stage.loss)[player] ?? player;
      weights[player] = startOf(stage.loss, declared, given[player] ?? given[origin], settings.seed, origin);
    }
    const update = updateSettings(settings);
    const store = frozenStore(settings.frozen ?? 'float32');
    const phases = buildPhases(stage, declarations, weights, update, store);
    const layouts = layoutsOf(stage, declarations);
    const initial: Record<string, HostTensor> = {};
    for (const [player, layout] of Object.entries(layouts)) {
      if (player === MEMORY) continue;
      const vector = pack(layout, weights[player]!);
      const { slots, averages } = stateLabels(player, update);
      const vectorOf = (data: Float32Array): HostTensor => float32(data, [data.length]);
      initial[player] = vectorOf(vector);
      const points = recalledOf(stage.loss)[player]?.points(stage.options as never) ?? 0;
      for (let i = 0; i < points; i++) initial[pathLabel(player, i)] = vectorOf(vector);
      if (!update.optimizers[player]) continue; // takes after another player
      for (const label of slots) initial[label] = vectorOf(new Float32Array(vector.length));
      for (const label of averages) initial[label] = vectorOf(vector);
      if (settings.parts > 1) initial[`${player}/gradient`] = vectorOf(new Float32Array(vector.length));
    }
    const memory = Object.values(stage.loss.memory ?? {}).flatMap(({ shape, value }) =>
      Array(shape.reduce((n, d) => n * d, 1)).fill(value),
    );
    for (const name of memory.length === 0 ? [] : settings.parts > 1 ? [MEMORY, `${MEMORY}/gradient`] : [MEMORY])
      initial[name] = float32(Float32Array.from(memory), [memory.length]);
    const state = runtime.state({ ...initial, ...store?.held });
    const cut = settings.parts > 1;
    const programs = Object.fromEntries(phases.map((p) => [p.phase, cut ? p.apply : p.fused]));
    if (settings.averageOn === 'step')
      for (const player of averagedOf(settings)) programs[`${player}/average`] = averageProgram(player, layouts[player]!, update);
    const parts = cut ? Object.fromEntries(phases.map((p) => [p.phase, p.part])) : {};
    const executables = await runtime.compile(programs, state);
    const sums = await runtime.compileSums(parts, state, settings.beside ?? 1);
    const heldBytes = Object.values(store?.held ?? {}).reduce((n, { data }) => n + data.byteLength, 0);
    const compiled = {
      executables,
      sums,
      heldBytes,
      steps: mayRunTogether(settings) ? (runtime.steps?.(executables, state) ?? null) : null,
    };
    return new Trainer(settings, declarations, phases, state, compiled, weights);
  }

  /** Runs steps until `until` or until the signal; a step is never left half done. */
  async run({ until, batch, signal, onStep, pauses = () => true }: RunOptions): Promise<void> {
    while (this.step < until && !signal?.aborted) {
      const several = this.several ? this.reach(until, pauses) : 1;
      const done = several > 1 ? await this.runSeveral(await Promise.all(range(several).map((i) => batch(this.step + i)))) : [];
      // The first step that is not finite, or the only one, runs by itself.
      const reports = done.length > 0 ? done : [await this.runStep(await batch(this.step))];
      for (const report of reports) await onStep?.(report);
    }
  }

  /** Steps up to the next one after which the state is looked at. */
  private reach(until: number, pauses: (step: number) => boolean): number {
    const most = Math.min(this.settings.together ?? 1, until - this.step);
    let n = 1;
    while (n < most && !pauses(this.step + n)) n++;
    return n;
  }

  /** Steps in one go. @returns reports of those before the first that was not finite */
  private async runSeveral(batches: readonly Batch[]): Promise<StepReport[]> {
    const start = { step: this.step, nimg: this.nimg, updates: { ...this.updates }, scales: { ...this.scales } };
    const planned = batches.map((batch) => {
      const rates: Record<string, number> = {};
      const running = this.running();
      const runs = running.map((phase) => {
        const feeds = this.feedsOf(phase, batch, 0, rates);
        for (const player of phase.trains) this.updates[player]! += 1;
        const scale = this.rescale(phase, true);
        return { program: phase.phase, feeds, scale };
      });
      const report = this.advance();
      return {
        turn: { runs, hold: this.settings.stage.loss.simultaneous ?? false },
        running,
        rates,
        told: Object.assign({}, ...runs.map(({ scale }) => scale)) as Record<string, number>,
        after: { ...report, updates: { ...this.updates }, scales: { ...this.scales } },
      };
    });
    Object.assign(this, { step: start.step, nimg: start.nimg, scales: start.scales });
    Object.assign(this.updates, start.updates);
    const done = await this.several!.run(planned.map(({ turn }) => turn));
    return done.map((outputs, i) => {
      const { running, rates, after, told } = planned[i]!;
      const terms = Object.assign({}, told, ...running.map(({ phase }, k) => termsOf(phase, outputs[k]!))) as Record<string, number>;
      Object.assign(this.updates, after.updates);
      Object.assign(this, { step: after.step, nimg: after.nimg, scales: after.scales });
      this.countBad(true, terms);
      return { step: after.step, nimg: after.nimg, terms, rates, skipped: this.skipped };
    });
  }

  /** Moves the scale of a phase's loss on. @returns what it was, as a term of the log */
  private rescale({ phase }: PhaseProgram, finite: boolean): Record<string, number> {
    const before = this.scales[phase];
    if (!before) return {};
    this.scales = { ...this.scales, [phase]: nextScale(before, finite) };
    return { [`${phase}/lossScale`]: before.scale };
  }

  /** Phases of the step at hand. */
  private running(): PhaseProgram[] {
    const { stage } = this.settings;
    const { step, steps } = this.moment();
    const running = this.phases.filter((p) => stage.loss.phases[p.phase]!.runs?.(step, stage.options as never, steps) ?? true);
    if (stage.loss.simultaneous) checkDistinct(stage.loss.name, running);
    return running;
  }
  private advance(): { readonly step: number; readonly nimg: number } {
    this.step += 1;
    this.nimg += this.settings.stage.batch * this.settings.parts;
    return { step: this.step, nimg: this.nimg };
  }
  /** Feeds of a phase; its rates are noted in `rates`. */
  private feedsOf(phase: PhaseProgram, batch: Batch, part: number, rates: Record<string, number>): Feeds {
    for (const player of phase.trains) rates[player] = this.settings.rates[player]!(this.step);
    return this.feeds(phase, batch, part, rates);
  }

  private async runStep(batch: Batch): Promise<StepReport> {
    const { stage, parts } = this.settings;
    const running = this.running();
    await this.recall();
    const terms: Record<string, number> = {};
    const rates: Record<string, number> = {};
    const hold = stage.loss.simultaneous ?? false;
    let good = true;
    for (const phase of running) {
      for (const player of phase.trains) rates[player] = this.settings.rates[player]!(this.step);
      const outputs =
        parts > 1
          ? await this.runCut(phase, batch, rates, hold)
          : await this.executables[phase.phase]!.run(this.feeds(phase, batch, 0, rates), hold);
      Object.assign(terms, termsOf(phase.phase, outputs));
      const committed = Number(outputs['commit']!.data[0]) !== 0;
      // A scale that was too high is no bad step: the next one is tried with a lower one.
      if (!committed && !(this.scales[phase.phase] && maySink(this.scales[phase.phase]!))) good = false;
      Object.assign(terms, this.rescale(phase, committed));
      if (committed) for (const player of phase.trains) this.updates[player]! += 1;
    }
    if (hold) for (const phase of running) this.executables[phase.phase]!.release();
    if (this.settings.averageOn === 'step') await this.averageIdle(running);
    const at = this.advance();
    this.countBad(good, terms);
    return { ...at, terms, rates, skipped: this.skipped };
  }

  /** Moves players along the paths of others. */
  private async recall(): Promise<void> {
    const { loss, options } = this.settings.stage;
    const copy = async (from: string, to: string): Promise<void> => this.state.write(to, await this.state.read(from));
    for (const [player, { recalls, keeps, takes }] of Object.entries(recalledOf(loss))) {
      const [kept, taken] = [keeps(this.moment(), options as never), takes(this.moment(), options as never)];
      if (kept !== null) await copy(recalls, pathLabel(player, kept));
      if (taken !== null) await copy(pathLabel(player, taken), player);
    }
  }

  private moment(): Moment {
    return { step: this.step, steps: this.settings.steps ?? this.step + 1, nimg: this.nimg };
  }

  /** Averages of players that no phase of this step trains move too. */
  private async averageIdle(running: readonly PhaseProgram[]): Promise<void> {
    const busy = new Set(running.flatMap((p) => p.trains));
    for (const player of averagedOf(this.settings))
      if (!busy.has(player)) await this.executables[`${player}/average`]!.run(this.averageRates(player));
  }

  private averageRates(player: string): Record<string, HostTensor> {
    const { stage, parts, averages, averageOn } = this.settings;
    const t = averageOn === 'step' ? this.step + 1 : this.updates[player]! + 1;
    const progress = { t, nimg: this.nimg, batch: stage.batch * parts };
    return Object.fromEntries(
      (averages[player] ?? []).map((average) => [`${player}/average/${average.name}/rate`, scalar(1 - average.beta(progress))]),
    );
  }

  private countBad(good: boolean, terms: Readonly<Record<string, number>>): void {
    this.badInARow = good ? 0 : this.badInARow + 1;
    if (good) return;
    this.skipped += 1;
    if (this.badInARow < MAX_BAD_STEPS) return;
    const bad = Object.entries(terms).filter(([, v]) => !Number.isFinite(v));
    const shown = bad.map(([name, v]) => `${name} = ${v}`).join(', ') || 'a gradient is not finite';
    throw new InputError(
      `training: ${MAX_BAD_STEPS} steps in a row were not finite at step ${this.step} (${shown}); the last checkpoint is kept; lower the learning rate or check the data`,
    );
  }

  /** Gradients of every part, added up, then one update. */
  private async runCut(
    phase: PhaseProgram,
    batch: Batch,
    rates: Readonly<Record<string, number>>,
    hold: boolean,
  ): Promise<Readonly<Record<string, HostTensor>>> {
    const { parts } = this.settings;
    const feeds = Array.from({ length: parts }, (_, part) => ({ ...this.feeds(phase, batch, part, rates), share: scalar(1 / parts) }));
    const sums: Record<string, number> = {};
    for (const outputs of await this.sums[phase.phase]!.run(feeds))
      for (const [term, value] of Object.entries(outputs)) sums[term] = (sums[term] ?? 0) + Number(value.data[0]) / parts;
    // The update sees the gradients alone; a loss may be infinite where they are not.
    if (!Number.isFinite(sums['loss'])) return { ...toScalars(sums), commit: scalar(0) };
    const applied = await this.executables[phase.phase]!.run(this.scalars(phase, rates), hold);
    return { ...toScalars(sums), ...applied };
  }

  private feeds(
    phase: PhaseProgram,
    { images, labels, pairs, conditions = {} }: Batch,
    part: number,
    rates: Readonly<Record<string, number>>,
  ): Feeds {
    const { stage } = this.settings;
    const { batch, sample } = stage;
    const cut = (data: Float32Array, shape: readonly number[]): HostTensor => {
      const size = data.length / (batch * this.settings.parts);
      return float32(data.subarray(part * batch * size, (part + 1) * batch * size), [batch, ...shape]);
    };
    const feeds: Record<string, HostTensor> = { data: cut(images, sample.shape), ...this.scalars(phase, rates) };
    if (labels) feeds['label'] = cut(labels, [sample.classes]);
    for (const [name, values] of Object.entries(conditions)) feeds[name] = cut(values, sample.conditions![name]!);
    if (pairs) {
      feeds['pair/noise'] = cut(pairs.noise, sample.shape);
      feeds['pair/sample'] = cut(pairs.samples, sample.shape);
      if (pairs.labels) feeds['pair/label'] = cut(pairs.labels, [sample.classes]);
    }
    for (const spec of phase.draws) feeds[`draw/${spec.name}`] = this.draw(spec, part);
    return feeds;
  }

  /** Every part continues the samples of the one before it; a draw that is not per sample, such as one scalar, is the same for all parts. */
  private draw({ name, kind, shape, classes, of }: DrawSpec, part: number): HostTensor {
    const key = streamKey(this.settings.seed, this.step, of?.draw ?? name);
    const data = new Float32Array(shape.reduce((n, d) => n * d, 1));
    const samples = shape[0] ?? 1;
    const perSample = data.length / samples;
    const firstSample = shape.length > 0 && samples % this.settings.stage.batch === 0 ? part * samples : 0;
    if (of) return float32(this.drawRows(of.condition, key, samples, firstSample), shape);
    if (kind === 'normal') fillNormal(data, key, perSample, firstSample);
    else if (kind === 'uniform') fillUniform(data, key, perSample, firstSample);
    else this.drawLabels(data, key, shape, firstSample, classes);
    return float32(data, shape);
  }

  /** The values of a condition for samples picked at random from the table. */
  private drawRows(condition: string, key: readonly [number, number], n: number, firstSample: number): Float32Array {
    const { conditions } = this.settings;
    if (!conditions) throw new Error(`internal: ${condition} is drawn, but there is no table of it`);
    const picked = new Int32Array(n);
    fillIndex(picked, key, 1, conditions.size, firstSample);
    return gatherRows(conditions, condition, picked);
  }

  /** One-hot labels of samples picked at random from the data set. */
  private drawLabels(
    data: Float32Array,
    key: readonly [number, number],
    [n, classes]: readonly number[],
    firstSample: number,
    among?: readonly number[],
  ): void {
    const all = this.settings.labels ?? Array.from({ length: classes! }, (_, c) => c);
    const labels = among ? this.labelsAmong(all, among) : all;
    const picked = new Int32Array(n!);
    fillIndex(picked, key, 1, labels.length, firstSample);
    picked.forEach((p, i) => {
      data[i * classes! + labels[p]!] = 1;
    });
  }

  /** The labels that are of some classes; looked up once. Errors: the data set has none of them. */
  private labelsAmong(all: ArrayLike<number>, classes: readonly number[]): ArrayLike<number> {
    const key = classes.join();
    if (!this.grouped.has(key)) {
      const wanted = new Set(classes);
      const found = Array.from(all).filter((label) => wanted.has(label));
      if (found.length === 0) throw new InputError(`data: there is no sample of the classes ${key}`);
      this.grouped.set(key, found);
    }
    return this.grouped.get(key)!;
  }

  private scalars(phase: PhaseProgram, rates: Readonly<Record<string, number>>): Record<string, HostTensor> {
    const { loss, options } = this.settings.stage;
    const at = this.moment();
    const fed: Record<string, HostTensor> = {};
    const scale = this.scales[phase.phase];
    if (scale) fed[LOSS_SCALE] = scalar(scale.scale);
    for (const [name, value] of Object.entries(loss.clock ?? {})) fed[`clock/${name}`] = scalar(value(at, options as never));
    for (const [name, follower] of Object.entries(followersOf(loss))) fed[`${name}/rate`] = scalar(1 - follower.beta(at, options as never));
    for (const player of phase.trains) {
      const t = this.updates[player]! + 1;
      for (const [name, value] of Object.entries(scalarsOf(player, this.settings.optimizers[player]!, t, rates[player]!)))
        fed[name] = scalar(value);
      Object.assign(fed, this.averageRates(player));
    }
    return fed;
  }

  /** Weights of a player, or of an average of a trained one, with its buffers. */
  async weights(player: string, average?: string): Promise<Weights> {
    const layout = this.layouts[player];
    if (!layout) return this.fixed[player]!;
    const { data } = await this.state.read(average ? `${player}/average/${average}` : player);
    return new Map([...unpackWeights(layout, data as Float32Array), ...this.fixed[player]!]);
  }

  /** States that a run goes on from. */
  private saved(): readonly string[] {
    return this.state.names().filter((name) => !name.endsWith('/gradient') && !name.startsWith(FROZEN));
  }

  async snapshot(): Promise<Snapshot> {
    const vectors: Record<string, Float32Array> = {};
    for (const name of this.saved()) vectors[name] = (await this.state.read(name)).data as Float32Array;
    const scales = Object.keys(this.scales).length > 0 ? { scales: this.scales } : {};
    return { step: this.step, nimg: this.nimg, skipped: this.skipped, updates: { ...this.updates }, ...scales, vectors };
  }

  /** Continues from a snapshot. Errors: one that does not fit this run. */
  async restore(snapshot: Snapshot): Promise<void> {
    for (const name of this.saved()) {
      const data = snapshot.vectors[name];
      const size = (await this.state.read(name)).data.length;
      if (data?.length !== size)
        throw new InputError(
          `resume: ${name} should hold ${size} values, the checkpoint has ${data?.length ?? 'none'}; was the run made with other settings?`,
        );
      await this.state.write(name, float32(data, [size]));
    }
    this.step = snapshot.step;
    this.nimg = snapshot.nimg;
    this.skipped = snapshot.skipped;
    Object.assign(this.updates, snapshot.updates);
    // A run that goes on in another precision begins with the first scales.
    if (Object.keys(this.scales).length > 0) this.scales = { ...this.scales, ...snapshot.scales };
  }

  async close(): Promise<void> {
    for (const each of [...Object.values(this.executables), ...Object.values(this.sums)]) await each.close();
    await this.several?.close();
  }
}

const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

/** Terms as they are logged: `phase/term`. */
const termsOf = (phase: string, outputs: Outputs): Record<string, number> =>
  Object.fromEntries(
    Object.entries(outputs).flatMap(([term, { data }]) => (term === 'commit' ? [] : [[`${phase}/${term}`, Number(data[0])] as const])),
  );

/** Whatever happens between steps must happen inside the programs. */
const mayRunTogether = ({ together = 1, parts, averageOn, stage }: TrainerSettings): boolean =>
  together > 1 && parts === 1 && averageOn !== 'step' && Object.keys(recalledOf(stage.loss)).length === 0;

const pathLabel = (player: string, point: number): string => `${player}/path/${point}`;

const toScalars = (values: Readonly<Record<string, number>>): Record<string, HostTensor> =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [name, scalar(value)]));

const averagedOf = ({ averages }: TrainerSettings): string[] => Object.keys(averages).filter((player) => averages[player]!.length > 0);

/** Two held updates of one player would undo each other. */
function checkDistinct(loss: string, phases: readonly PhaseProgram[]): void {
  const trains = phases.flatMap((p) => p.trains);
  const twice = trains.find((player, i) => trains.indexOf(player) < i);
  if (twice) throw new Error(`internal: ${loss}: phases that run simultaneously must train different players, but two train ${twice}`);
}

function fixedOf(
  declarations: Trainer['declarations'],
  moving: readonly string[],
  weights: Readonly<Record<string, Weights>>,
): Record<string, Weights> {
  const buffers = (player: string): Weights =>
    new Map(declarations[player]!.filter((d) => !d.trained).map((d) => [d.name, weights[player]!.get(d.name)!]));
  const fixed = Object.keys(declarations).map((player) => [player, moving.includes(player) ? buffers(player) : weights[player]!] as const);
  return Object.fromEntries(moving.includes(MEMORY) ? [...fixed, [MEMORY, new Map()]] : fixed);
}

const updateSettings = ({ optimizers, clip, averages, precision = 'float32' }: TrainerSettings): UpdateSettings => ({
  precision,
  optimizers,
  clip,
  averages: Object.fromEntries(Object.entries(averages).map(([player, list]) => [player, list.map((a) => a.name)])),
});

/** Of everything that changes: trained players, those that follow them, and the method's memory. */
function layoutsOf({ loss }: Stage, declarations: Readonly<Record<string, readonly Declaration[]>>): Record<string, Layout> {
  const moving = [...trainedOf(loss), ...Object.keys(shadowsOf(loss))];
  const layouts = Object.fromEntries(moving.map((player) => [player, layoutOf(declarations[player]!)]));
  const memory = memoryLayout(loss);
  return memory.length > 0 ? { ...layouts, [MEMORY]: memory } : layouts;
}

/** Given weights or fresh ones. Weights of numbers that the given network was never told of start fresh. */
function startOf(loss: Loss, declared: readonly Declaration[], given: Weights | undefined, seed: number, player: string): Weights {
  if (!given) return initialise(declared, seed, player);
  const told = toldOf(loss, player);
  const added = declared.filter(({ name }) => !given.has(name) && told.some((scalar) => name.includes(`told.${scalar}.`)));
  const whole = new Map([...given, ...initialise(added, seed, player)]);
  checkWeights(player, declared, whole);
  return whole;
}
