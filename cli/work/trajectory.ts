/** @file Parts of a sampler's trajectory, walked on the host: from any sample at any level down to any other, with what the network makes of every state on the way. */
import { input, leafOf } from '../../engine/graph/ops/leaf.ts';
import { type Shape, type Tensor, topological } from '../../engine/graph/tensor.ts';
import { type DeviceName, deviceOf } from '../../engine/run/devices.ts';
import { type Executable, float32, type HostTensor, scalar } from '../../engine/run/runtime.ts';
import type { ConditionTable } from '../../engine/train/conditions.ts';
import type { Draw } from '../../engine/train/loss.ts';
import type { Denoiser } from '../../engine/train/network.ts';
import type { Place, Sampler } from '../../engine/train/sampler.ts';
import { constantScope } from '../../engine/train/weights.ts';
import { clipped } from '../../samplers/clip.ts';
import { guided } from '../../samplers/guidance.ts';
import { numbersAt, placeOf } from '../../samplers/steps.ts';
import { conditionFeeds, nullConditions, oneHot, sampleDraw, sampleNoise } from './feeds.ts';
import { builderOf, conditionOf, type Model } from './model.ts';

/** Samples `first`, `first` + 1, … on their way through some levels. */
export interface Span {
  /** Falling, in units of the data. */
  readonly levels: readonly number[];
  /** The level at which it ends; default 0, the clean sample. */
  readonly end?: number;
  /** Samples [count, …sample] at the first level; default: noise of that level, the same as a generator's. */
  readonly start?: Float32Array;
  /** Steps that were made before: what is drawn on the way differs from theirs. */
  readonly made?: number;
  readonly labels: ArrayLike<number> | null;
  /** What else the samples are conditioned on, taken in turn; absent: the null condition. */
  readonly conditions?: ConditionTable;
  readonly seed: number;
  readonly first: number;
  readonly count: number;
}
/** Where a span leads. */
export interface Walked {
  /** [count, …sample] */
  readonly x: Float32Array;
  /** For each level, the clean sample as the network sees it from there, [count, …sample]. */
  readonly estimates: readonly Float32Array[];
}
export interface Trajectories {
  walk(span: Span): Promise<Walked>;
  close(): Promise<void>;
}

/** Network evaluations of a walk through `levels` down to `end`. Guidance that is not 1 doubles them. */
export function evaluationsOf(solver: Sampler, levels: readonly number[], end = 0, guidance = 1): number {
  const once = levels.reduce((sum, _, i) => sum + solver.evaluations(placeOf(i, levels[i + 1] ?? end, solver.opening)), 0);
  return once * (guidance === 1 ? 1 : 2);
}

interface Step {
  readonly executable: Executable;
  readonly draws: readonly DrawFact[];
  readonly carried: readonly string[];
  /** Inputs that the graph really uses. */
  readonly used: ReadonlySet<string>;
}
interface DrawFact {
  readonly name: string;
  readonly kind: 'normal' | 'uniform';
  readonly shape: Shape;
}
/** A compiled step by its place; a sampler has the same names of numbers at every step. */
type StepAt = (place: Place, numbers: readonly string[]) => Promise<Step>;
/** The output that holds what the network makes of the state before the step. */
const ESTIMATE = 'estimate';

export interface TrajectoryOptions {
  /** Scale of classifier-free guidance; default 1, none. */
  readonly guidance?: number;
  /** Bound of the denoised sample at every step; 0, the default, for none. */
  readonly clip?: number;
  readonly threads?: number;
  readonly device?: DeviceName;
}
/** A model and a sampler, each of whose steps is compiled when it is first needed. */
export function openTrajectories(model: Model, solver: Sampler, options: TrajectoryOptions = {}): Trajectories {
  const compiled = new Map<Place, Promise<Step>>();
  const stepAt: StepAt = (place, numbers) => {
    if (!compiled.has(place)) compiled.set(place, compileStep(model, solver, { ...options, place, numbers }));
    return compiled.get(place)!;
  };
  return {
    walk: (span) => walk(model, solver, stepAt, span),
    async close() {
      for (const step of compiled.values()) await (await step).executable.close();
    },
  };
}

async function walk({ card, weights }: Model, solver: Sampler, stepAt: StepAt, span: Span): Promise<Walked> {
  const { levels, end = 0, made = 0, labels, seed, first, count } = span;
  const shape = [count, ...card.sample.shape];
  const start = float32(span.start ?? noiseAt(levels[0]!, shape, seed, first), shape);
  const label = labels ? oneHot(labels, first, count, card.sample.classes) : null;
  const given = conditionFeeds(card.sample, span.conditions ?? nullConditions(weights), first, count);
  const estimates: Float32Array[] = [];
  let carry: Readonly<Record<string, HostTensor>> = {};
  for (const [i, sigma] of levels.entries()) {
    const next = levels[i + 1] ?? end;
    const numbers = numbersAt(solver, levels, i, end);
    const step = await stepAt(placeOf(i, next, solver.opening), Object.keys(numbers));
    const feeds: Record<string, HostTensor> = {
      ...given,
      'level/previous': scalar(levels[i - 1] ?? 0),
      'level/sigma': scalar(sigma),
      'level/next': scalar(next),
      'level/steps': scalar(levels.length),
    };
    for (const [name, value] of Object.entries(numbers)) feeds[`number/${name}`] = scalar(value);
    for (const key of step.carried) feeds[`carry/${key}`] = carry[key] ?? start;
    for (const { name, kind, shape: own } of step.draws)
      feeds[`draw/${name}`] = sampleDraw(kind, name, [count, ...(own.slice(1) as number[])], seed, made + i + 1, first);
    if (label) feeds['label'] = label;
    const { [ESTIMATE]: estimate, ...rest } = await step.executable.run(
      Object.fromEntries(Object.entries(feeds).filter(([key]) => step.used.has(key))),
    );
    estimates.push(estimate!.data as Float32Array);
    carry = rest;
  }
  return { x: carry['x']!.data as Float32Array, estimates };
}

const noiseAt = (level: number, shape: readonly number[], seed: number, first: number): Float32Array =>
  (sampleNoise(shape, seed, 0, first).data as Float32Array).map((v) => v * level);

/** Inputs for whatever is drawn, and the list of it. */
function recordingDraw(): { readonly draw: Draw; readonly facts: readonly DrawFact[] } {
  const facts: DrawFact[] = [];
  const declare =
    (kind: DrawFact['kind']) =>
    (name: string, like: { readonly shape: Shape }): Tensor => {
      facts.push({ name, kind, shape: like.shape });
      return input(`draw/${name}`, like.shape);
    };
  return { draw: { normal: declare('normal'), uniform: declare('uniform'), condition: () => ({}) }, facts };
}

interface StepSettings extends TrajectoryOptions {
  readonly place: Place;
  readonly numbers: readonly string[];
}
async function compileStep(
  model: Model,
  solver: Sampler,
  { place, numbers, guidance = 1, clip = 0, threads = 0, device }: StepSettings,
): Promise<Step> {
  const { sample } = model.card;
  const network = builderOf(model.card)(constantScope(model.weights));
  const condition = conditionOf(sample);
  const seen: Tensor[] = [];
  // What a sampler tells the network stands beside the null condition too.
  const said: Denoiser = (x, sigma, told = {}) =>
    guided((...given) => network.denoise(...given), guidance, told)(x, sigma, { ...condition, ...told });
  const denoise: Denoiser = (...given) => {
    const denoised = clipped(said, clip)(...given);
    seen.push(denoised);
    return denoised;
  };
  const { draw, facts } = recordingDraw();
  const initial = Object.entries(solver.start(input('carry/x', ['N', ...sample.shape])));
  const carried = Object.fromEntries(initial.map(([key, t]) => [key, input(`carry/${key}`, t.shape)]));
  const levels = {
    previous: input('level/previous', []),
    sigma: input('level/sigma', []),
    next: input('level/next', []),
    steps: input('level/steps', []),
    numbers: Object.fromEntries(numbers.map((name) => [name, input(`number/${name}`, [])])),
  };
  const state = solver.step(denoise, carried as never, levels, draw, place);
  // A sampler's first question is about the state that it starts from.
  const outputs = { ...state, [ESTIMATE]: seen[0]! };
  const used = new Set(topological(Object.values(outputs)).flatMap((node) => leafOf(node.outputs[0]!)?.label ?? []));
  const runtime = deviceOf(device).runtime(threads > 0 ? { threads } : {});
  const { step } = await runtime.compile({ step: { outputs, updates: new Map() } }, runtime.state({}));
  return { executable: step!, draws: facts, carried: Object.keys(carried), used };
}
