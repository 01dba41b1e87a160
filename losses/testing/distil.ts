/** @file Distils exact mixtures into small networks on points, and tells where the samples fall. */
import '../../engine/graph/fluent.ts';
import { constant, input } from '../../engine/graph/ops/leaf.ts';
import { fillIndex, fillNormal, fillUniform, streamKey } from '../../engine/random/philox.ts';
import { ortRuntime } from '../../engine/run/ort.ts';
import { float32 } from '../../engine/run/runtime.ts';
import { parseAverage } from '../../engine/train/averages.ts';
import { type Loss, learnsFromPairs, mainPlayers, originOf, scalarsOf, shadowsOf } from '../../engine/train/loss.ts';
import type { Denoiser, Head, Network, SampleType, Scope } from '../../engine/train/network.ts';
import { optimizerOptions } from '../../engine/train/optimizer.ts';
import { resolve } from '../../engine/train/options.ts';
import { trainedOf } from '../../engine/train/program.ts';
import { type Batch, Trainer } from '../../engine/train/trainer.ts';
import { constantScope, type Weights } from '../../engine/train/weights.ts';
import { experts, together } from '../../models/experts.ts';
import { linear, silu } from '../../models/layers.ts';
import { levelHead } from '../../models/level-head.ts';
import { type MixtureOptions, mixture } from '../../models/mixture.ts';
import { type MlpOptions, mlpFamily } from '../../models/mlp.ts';
import { inForm } from '../../samplers/forms.ts';
import { heun } from '../../samplers/heun.ts';
import { karras } from '../../samplers/karras.ts';
import { student } from '../../samplers/student.ts';
import { unroll } from '../../samplers/unroll.ts';
import edm from '../edm.ts';

const AVERAGE = 'constant:0.99';
const HEAD_WIDTH = 32;

/** Samples of the mixture [n, D], a function of (seed, step). */
export function draws({ weights, means, variances }: MixtureOptions, n: number, seed: number, step: number): Float32Array {
  const size = means[0]!.length;
  const [noise, picks] = [new Float32Array(n * size), new Float32Array(n)];
  fillNormal(noise, streamKey(seed, step, 'mixture'), size);
  fillUniform(picks, streamKey(seed, step, 'component'), 1);
  const upTo = weights.map((_, k) => weights.slice(0, k + 1).reduce((a, b) => a + b));
  return noise.map((eps, i) => {
    const found = upTo.findIndex((end) => picks[Math.floor(i / size)]! < end);
    const k = found < 0 ? weights.length - 1 : found;
    return means[k]![i % size]! + Math.sqrt(variances[k]!) * eps;
  });
}

export interface Plan {
  readonly target: MixtureOptions;
  readonly network?: Partial<MlpOptions>;
  readonly seed: number;
  readonly batch: number;
  readonly steps: number;
  /** Of the main player; the others' is `othersLr` times as high, 1 by default. Rates fall linearly to 0. */
  readonly lr: number;
  readonly othersLr?: number;
  /** Classes that samples are labelled with and that tell nothing of them; 0 by default. */
  readonly classes?: number;
}
const sampleOf = ({ target: { means }, classes = 0 }: Plan): SampleType => ({ shape: [means[0]!.length], classes });
/** Rows of n labels in turn; null without classes. */
function labelsOf({ classes = 0 }: Plan, n: number): Float32Array | null {
  return classes > 0
    ? Float32Array.from({ length: n * classes }, (_, i) => Number(Math.floor(i / classes) % classes === i % classes))
    : null;
}
/** Classes that a method needs to be tried: some where its experts are told apart by them. */
export const classesOf = (loss: Loss): number => {
  const some = 3;
  const [expert] = loss.experts?.(resolve(loss.name, loss.options, {}), some) ?? [];
  return expert && 'classes' in expert ? some : 0;
};
const networkOf = (plan: Plan, scalars: readonly string[] = []): ((scope: Scope) => Network) => {
  const values = resolve('mlp', mlpFamily.options, { ...plan.network });
  return (scope) => mlpFamily.build(scope, values, { ...sampleOf(plan), scalars });
};

/** One hidden layer on the network's last one: logits [N,1]. */
export const pointHead =
  (scope: Scope): Head =>
  ({ bottleneck }) =>
    linear(scope, 'out', silu(linear(scope, 'hidden', bottleneck!.reshape([bottleneck!.shape[0]!, -1]), HEAD_WIDTH)), 1);

/** A head of the kind that the method asks for. */
export const headOf = (loss: Loss, name: string): ((scope: Scope) => Head) =>
  (loss.levelHeads as readonly string[] | undefined)?.includes(name) ? levelHead : pointHead;

/** Decays of Adam's moments that the method asks for: adversarial ones collapse with momentum. */
const momentsOf = ({ recommended = {} }: Loss): Readonly<Record<string, unknown>> =>
  Object.fromEntries(Object.entries(recommended).filter(([name]) => name === 'beta1' || name === 'beta2'));

/** A trainer of a method whose teacher is the exact denoiser. */
export function trainerOf(
  plan: Plan,
  loss: Loss,
  options: Readonly<Record<string, unknown>>,
  given: Readonly<Record<string, Weights>>,
): Promise<Trainer> {
  const { target, batch, steps, lr, othersLr = 1, seed } = plan;
  const each = <T>(value: T): Record<string, T> => Object.fromEntries(trainedOf(loss).map((name) => [name, value]));
  const { predict, denoise } = mixture(target);
  // Its labels are components; classes of a plan tell nothing of samples.
  const exact = (): Network => ({ predict: (x, sigma) => predict(x, sigma), denoise: (x, sigma) => denoise(x, sigma) });
  const main = mainPlayers(loss, resolve(loss.name, loss.options, options), plan.classes ?? 0);
  const cast = {
    networks: Object.fromEntries(
      Object.keys(loss.players).map((name) => [name, name === 'teacher' ? exact : networkOf(plan, scalarsOf(loss, name))]),
    ),
    heads: Object.fromEntries((loss.heads ?? []).map((name) => [name, headOf(loss, name)])),
  };
  const settings = {
    stage: { loss, options: resolve(loss.name, loss.options, options), cast, sample: sampleOf(plan), schedule: karras(), batch },
    steps,
    parts: 1,
    seed,
    optimizers: each(resolve('optimizer', optimizerOptions, { weightDecay: 0, ...momentsOf(loss) })),
    rates: Object.fromEntries(
      trainedOf(loss).map((name) => [name, (step: number) => lr * (main.includes(name) ? 1 : othersLr) * (1 - step / steps)]),
    ),
    clip: {},
    averages: each([parseAverage(AVERAGE)]),
    labels: null,
  };
  return Trainer.create(settings, ortRuntime({ threads: 1 }), given);
}
const POOL = 8192;
/** Noise and what the exact denoiser's trajectory makes of it, [POOL, D] both: with 64 levels the spread is right within 0.4 %. */
async function pool(plan: Plan): Promise<{ readonly noise: Float32Array; readonly samples: Float32Array }> {
  const { target, seed } = plan;
  const shape = [POOL, ...sampleOf(plan).shape];
  const noise = new Float32Array(POOL * shape[1]!);
  fillNormal(noise, streamKey(seed, 0, 'pairs'), shape[1]!);
  return { noise, samples: await along(mixture(target).denoise, noise, shape, karras().levels(64)) };
}

/** Batches of a plan; with pairs where they are wanted, which are made once. */
export function batches(plan: Plan, wanted = false): (step: number) => Promise<Batch> {
  const { target, batch, seed } = plan;
  const made = wanted ? pool(plan) : undefined;
  return async (step) => {
    const images = draws(target, batch, seed, step);
    const labels = labelsOf(plan, batch);
    if (!made) return { images, labels };
    const all = await made;
    const size = images.length / batch;
    const picks = new Int32Array(batch);
    fillIndex(picks, streamKey(seed, step, 'pair'), 1, POOL, 0);
    const pick = (from: Float32Array): Float32Array =>
      Float32Array.from(images, (_, i) => from[picks[Math.floor(i / size)]! * size + (i % size)]!);
    return { images, labels, pairs: { noise: pick(all.noise), samples: pick(all.samples), labels } };
  };
}

/** Averaged weights of the finished model after training. Players that start from the teacher start from `start`: exact denoisers have no weights. */
export async function trained(plan: Plan, loss: Loss, options: Readonly<Record<string, unknown>> = {}, start?: Weights): Promise<Weights> {
  const starts = Object.keys(loss.players).filter((name) => originOf(loss, name) === 'teacher' && !shadowsOf(loss)[name]);
  const given = starts.map((name) => [name, name === 'teacher' ? new Map() : start!] as const);
  const trainer = await trainerOf(plan, loss, options, Object.fromEntries(given));
  await trainer.run({ until: plan.steps, batch: batches(plan, learnsFromPairs(loss, resolve(loss.name, loss.options, options))) });
  const parts: Weights[] = [];
  for (const player of mainPlayers(loss, resolve(loss.name, loss.options, options), plan.classes ?? 0))
    parts.push(await trainer.weights(player, AVERAGE));
  await trainer.close();
  return loss.experts ? together(parts) : parts[0]!;
}

/** A denoiser of the target by diffusion training. */
export const pretrained = (plan: Plan): Promise<Weights> => trained(plan, edm as unknown as Loss);

/** Samples from unit noise [n, D], in one step or along a trajectory of more levels. */
async function along(
  denoise: Denoiser,
  noise: Float32Array,
  shape: readonly number[],
  levels: readonly number[],
  solver = heun.build(resolve('heun', heun.options, {})),
): Promise<Float32Array> {
  const start = input('z', shape).mul(levels[0]!);
  const none = { normal: undefined, uniform: undefined, condition: undefined } as never; // Heun without churn draws nothing
  const x = levels.length === 1 ? denoise(start, constant(levels[0]!)) : unroll(solver, denoise, start, levels, none);
  const runtime = ortRuntime({ threads: 1 });
  const { sample } = await runtime.compile({ sample: { outputs: { x }, updates: new Map() } }, runtime.state({}));
  const found = await sample!.run({ z: float32(noise, shape) });
  await sample!.close();
  return found['x']!.data as Float32Array;
}

/** Samples [n, D] of a method's finished player: in one step from its level, or along a trajectory of the given number of levels. */
export async function samplesOf(plan: Plan, loss: Loss, weights: Weights, n: number, levels = 1): Promise<Float32Array> {
  const { shape } = sampleOf(plan);
  const noise = new Float32Array(n * shape[0]!);
  fillNormal(noise, streamKey(plan.seed, 0, 'samples'), shape[0]!);
  const options = resolve(loss.name, loss.options, {});
  const routes = loss.experts?.(options, plan.classes ?? 0);
  const build = networkOf(plan, routes ? [] : scalarsOf(loss, mainPlayers(loss, options, 0)[0]!));
  const scope = constantScope(weights);
  const network = inForm(routes ? experts(scope, build, routes) : build(scope), loss.form?.(options));
  const rows = labelsOf(plan, n);
  const condition = rows ? { label: constant(rows, [n, plan.classes!]) } : {};
  const denoise: Denoiser = (x, sigma) => network.denoise(x, sigma, condition);
  const schedule = karras();
  // Experts of levels are called at their own ones, with the noise that the sample holds.
  if (routes && 'above' in routes[0]!) {
    const solver = student.build(resolve('student', student.options, { noise: loss.noise }));
    return along(denoise, noise, [n, ...shape], options['studentLevels'] as number[], solver);
  }
  const first = Number(options['studentLevel'] ?? schedule.sigmaMax);
  return along(denoise, noise, [n, ...shape], levels === 1 ? [first] : schedule.levels(levels));
}

/** The share of samples nearest to each mean, and of those that are more than five standard deviations away from every one. */
export function modes({ means, variances }: MixtureOptions, samples: Float32Array) {
  const size = means[0]!.length;
  const n = samples.length / size;
  const shares = means.map(() => 0);
  let stray = 0;
  for (let i = 0; i < n; i++) {
    const offsets = means.map((m) => m.reduce((sum, v, d) => sum + (samples[i * size + d]! - v) ** 2, 0));
    const k = offsets.indexOf(Math.min(...offsets));
    shares[k]! += 1 / n;
    if (offsets[k]! > 25 * variances[k]!) stray += 1 / n;
  }
  return { shares, stray };
}
/** Half the sum of absolute differences: no share is off by more. */
export const totalVariation = (shares: readonly number[], weights: readonly number[]): number =>
  shares.reduce((sum, share, k) => sum + Math.abs(share - weights[k]!), 0) / 2;
