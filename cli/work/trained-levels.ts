/** @file The noise levels at which a student was trained: read off its method's own phases, so that every method answers for itself. */
import { join } from 'node:path';
import { leafOf } from '../../engine/graph/ops/leaf.ts';
import { evaluate } from '../../engine/graph/reference.ts';
import { type Tensor, topological } from '../../engine/graph/tensor.ts';
import { fillNormal, fillUniform, streamKey } from '../../engine/random/philox.ts';
import { arranged, type Loss, mainPlayers, scalarsOf } from '../../engine/train/loss.ts';
import type { Network, Scope } from '../../engine/train/network.ts';
import { facts, resolve } from '../../engine/train/options.ts';
import { type DrawSpec, MEMORY, makeDraw, type Stage, sceneOf } from '../../engine/train/program.ts';
import { recordingScope } from '../../engine/train/weights.ts';
import { discriminatorHead } from '../../models/discriminator.ts';
import { levelHead } from '../../models/level-head.ts';
import { karras } from '../../samplers/karras.ts';
import { type Flat, readConfig } from '../config.ts';
import { method, methodNames } from './methods.ts';
import { builderOf, type Model, type ModelCard } from './model.ts';

/** A function of every level between two, or one that knows single levels only, highest first. */
export type TrainedLevels =
  | { readonly kind: 'range'; readonly low: number; readonly high: number }
  | { readonly kind: 'single'; readonly levels: readonly number[] };

type Values = Readonly<Record<string, unknown>>;
/** Samples of a step that is looked at, and how often: enough to tell single levels from a range, and to see how far one goes. */
const SAMPLES = 512;
const LOOKS = 4;
/** More different levels than this are a range. */
const MOST_SINGLE = 16;

/** Errors: a model of no student. A student of a method that this version does not know is one of the levels on its card. */
export async function trainedLevels({ card, source }: Model): Promise<TrainedLevels> {
  if (!card.levels) throw new Error('internal: trainedLevels: the model is no student');
  if (!(await methodNames()).includes(card.method)) return { kind: 'single', levels: card.levels };
  const loss = await method(card.method);
  return levelsIn(loss, await optionsOf(loss, card, source), card);
}

/** The options that a student was trained with: those of its run's configuration where there is one, else the defaults and the levels of its card. */
async function optionsOf(loss: Loss, card: ModelCard, source: string): Promise<Values> {
  const stored = (await configOf(source)) ?? (await configOf(join(source, '..', '..'))) ?? {};
  const names = facts(loss.options).map(({ name }) => name);
  const own = stored['method'] === loss.name ? Object.entries(stored).filter(([name]) => names.includes(name)) : [];
  const levels = names.includes('studentLevels') ? { studentLevels: card.levels } : { studentLevel: card.levels![0] };
  return resolve(loss.name, loss.options, { ...levels, ...Object.fromEntries(own) });
}
const configOf = (folder: string): Promise<Flat | null> => readConfig(folder).catch(() => null);

/** The levels at which the phases that train the student call it. */
export function levelsIn(method: Loss, options: Values, card: ModelCard): TrainedLevels {
  const loss = arranged(method, options);
  const students = mainPlayers(loss, options, card.sample.classes);
  const found = Object.values(loss.phases)
    .filter(({ trains }) => trains.some((player) => students.includes(player)))
    .flatMap((phase) => {
      const seen: Tensor[] = [];
      const specs = new Map<string, DrawSpec>();
      const { stage, scopes } = stageOf(loss, options, card, students, seen);
      phase.terms(sceneOf(stage, scopes, makeDraw(SAMPLES, card.sample, specs)));
      return valuesOf(seen, loss, options, [...specs.values()]);
    });
  const levels = distinct([...found, ...card.levels!]);
  if (levels.length <= MOST_SINGLE) return { kind: 'single', levels };
  return { kind: 'range', low: levels.at(-1)!, high: levels[0]! };
}

/** A stage whose students write down the levels that they are asked at. Nothing of it is run but what makes those levels. */
function stageOf(loss: Loss, options: Values, card: ModelCard, students: readonly string[], seen: Tensor[]) {
  const watched = ({ predict }: Network): Network => {
    const noting: Network['predict'] = (x, sigma, condition) => {
      seen.push(sigma);
      return predict(x, sigma, condition);
    };
    return { predict: noting, denoise: (x, sigma, condition) => noting(x, sigma, condition).denoised };
  };
  const { form: _form, experts: _experts, ...trained } = card;
  const networkOf = (player: string) => {
    const build = builderOf({ ...trained, sample: { ...card.sample, scalars: scalarsOf(loss, player) } });
    return (scope: Scope): Network => (students.includes(player) ? watched(build(scope)) : build(scope));
  };
  const heads = Object.fromEntries(
    (loss.heads ?? []).map((name) => [name, loss.levelHeads?.includes(name) ? levelHead : (scope: Scope) => discriminatorHead(scope)]),
  );
  const networks = Object.fromEntries(Object.keys(loss.players).map((player) => [player, networkOf(player)]));
  const stage: Stage = {
    loss,
    options,
    cast: { networks, heads },
    sample: card.sample,
    schedule: karras(card.schedule),
    batch: SAMPLES,
  };
  const names = [...Object.keys(networks), ...Object.keys(heads)];
  return { stage, scopes: Object.fromEntries(names.map((name) => [name, recordingScope(name).scope])) };
}

/** Values of levels for random draws, from the beginning of a run to its end. */
function valuesOf(levels: readonly Tensor[], { clock = {}, memory = {} }: Loss, options: Values, specs: readonly DrawSpec[]): number[] {
  const steps = 1000;
  const asked = new Set(topological(levels).map((node) => leafOf(node.outputs[0]!)?.label));
  const needed = specs.filter(({ name }) => asked.has(`draw/${name}`));
  const kept = Object.values(memory).flatMap(({ shape, value }) => Array<number>(shape.reduce((n, d) => n * d, 1)).fill(value));
  return Array.from({ length: LOOKS }, (_, look) => {
    const at = { step: Math.round(((steps - 1) * look) / (LOOKS - 1)), steps, nimg: look * steps };
    const clocks = Object.entries(clock).map(([name, value]) => [`clock/${name}`, [value(at, options as never)]] as const);
    const draws = needed.map((spec) => [`draw/${spec.name}`, drawn(spec, look)] as const);
    return evaluate(levels, { ...Object.fromEntries([...clocks, ...draws]), [MEMORY]: kept }).flatMap(({ data }) =>
      Array.from(data, Number),
    );
  }).flat();
}

function drawn({ name, kind, shape }: DrawSpec, look: number): Float32Array {
  const data = new Float32Array(shape.reduce((n, d) => n * d, 1));
  (kind === 'normal' ? fillNormal : fillUniform)(data, streamKey(0, look, name), data.length / (shape[0] ?? 1));
  return data;
}

/** Levels from high to low, without those that rounding alone tells apart. */
const distinct = (values: readonly number[]): number[] =>
  [...values].sort((a, b) => b - a).filter((v, i, all) => i === 0 || Math.abs(all[i - 1]! - v) > 1e-5 * v);
