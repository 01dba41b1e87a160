/** @file Runs of every method on tiny image networks of every family, for comparing devices. */
import { readdirSync } from 'node:fs';
import { fillNormal, streamKey } from '../../engine/random/philox.ts';
import type { Runtime } from '../../engine/run/runtime.ts';
import { parseAverage } from '../../engine/train/averages.ts';
import { arranged, type Loss, scalarsOf } from '../../engine/train/loss.ts';
import type { SampleType } from '../../engine/train/network.ts';
import { optimizerOptions } from '../../engine/train/optimizer.ts';
import { resolve } from '../../engine/train/options.ts';
import { declarationsOf, trainedOf } from '../../engine/train/program.ts';
import { type Batch, Trainer, type TrainerSettings } from '../../engine/train/trainer.ts';
import { initialise, type Weights } from '../../engine/train/weights.ts';
import { discriminatorHead } from '../../models/discriminator.ts';
import { networkFamily } from '../../models/index.ts';
import { levelHead } from '../../models/level-head.ts';
import { karras } from '../../samplers/karras.ts';

const folder = new URL('..', import.meta.url);
/** Names of all methods. */
export const methodNames = readdirSync(folder)
  .filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts') && !file.endsWith('.d.ts') && !file.endsWith('terms.ts'))
  .map((file) => file.slice(0, -3));
const loadMethod = async (name: string): Promise<Loss> =>
  ((await import(new URL(`${name}.ts`, folder).href)) as { readonly default: Loss }).default;

/** Networks of a few thousand weights, on pictures of [1,8,8]: every kind of block is there. */
export const NETWORKS = {
  'song-unet': { channels: 8, multipliers: [1, 1], blocks: 1, attention: [4], embeddingMultiplier: 1 },
  ncsnpp: {
    channels: 8,
    multipliers: [1, 1],
    blocks: 1,
    attention: [4],
    embeddingMultiplier: 1,
    embedding: 'fourier',
    noiseMultiplier: 2,
    encoder: 'residual',
    decoder: 'skip',
    filter: [1, 3, 3, 1],
    augmentations: 9,
  },
  'dhariwal-unet': { channels: 8, multipliers: [1, 1], blocks: 1, attention: [4], embeddingMultiplier: 1, augmentations: 9 },
  'edm2-unet': { channels: 8, multipliers: [1, 1], blocks: 1, attention: [4], headChannels: 4, uncertaintyChannels: 8 },
  dit: { patch: 4, width: 16, depth: 1, heads: 2 },
  mlp: { width: 16, layers: 1, frequencies: 2 },
  'small-unet': { channels: 4, multipliers: [1], blocks: 1, attention: [], embeddingMultiplier: 1, patch: 2 },
} as const;
export type NetworkName = keyof typeof NETWORKS;
const familyOf = (name: NetworkName): string => (name === 'ncsnpp' || name === 'small-unet' ? 'song-unet' : name);

const BATCH = 4;
const CLASSES = 3;
const SAMPLE: SampleType = { shape: [1, 8, 8], classes: CLASSES };

/** Settings of a run; the players' weights are moved apart, because a fake score that equals the teacher gives no gradient. */
export async function tinyRun(
  method: string,
  network: NetworkName,
  given: Readonly<Record<string, unknown>> = {},
  steps = 4,
): Promise<{ readonly settings: TrainerSettings; readonly weights: Readonly<Record<string, Weights>> }> {
  const plain = await loadMethod(method);
  const options = resolve(method, plain.options, given);
  const loss = arranged(plain, options);
  const family = networkFamily(familyOf(network));
  const values = resolve(family.name, family.options, NETWORKS[network]);
  const players = Object.keys(loss.players);
  const cast = {
    networks: Object.fromEntries(
      players.map((player) => [
        player,
        (scope: Parameters<typeof family.build>[0]) => family.build(scope, values, { ...SAMPLE, scalars: scalarsOf(loss, player) }),
      ]),
    ),
    heads: Object.fromEntries(
      (loss.heads ?? []).map((name) => [
        name,
        (scope: Parameters<typeof levelHead>[0]) =>
          loss.levelHeads?.includes(name) ? levelHead(scope) : discriminatorHead(scope, { taps: ['bottleneck'] }),
      ]),
    ),
  };
  const stage = { loss, options, cast, sample: SAMPLE, schedule: karras(), batch: BATCH };
  const each = <T>(value: T): Record<string, T> => Object.fromEntries(trainedOf(loss).map((player) => [player, value]));
  const settings: TrainerSettings = {
    stage,
    steps,
    parts: 1,
    seed: 5,
    optimizers: each(resolve('optimizer', optimizerOptions, {})),
    rates: each(() => 1e-3),
    clip: Object.fromEntries(Object.keys(loss.phases).map((phase) => [phase, 1])),
    averages: each([parseAverage('constant:0.9')]),
    labels: null,
  };
  const weights = Object.fromEntries(
    Object.entries(declarationsOf(stage)).map(([player, declared]) => [
      player,
      new Map([...initialise(declared, 1, player)].map(([name, w]) => [name, { ...w, data: moved(`${player}/${name}`, w.data) }])),
    ]),
  );
  return { settings, weights };
}
function moved(name: string, data: Float32Array): Float32Array {
  const by = new Float32Array(data.length);
  fillNormal(by, streamKey(2, 0, name), data.length);
  return data.map((v, i) => v + 0.05 * by[i]!);
}

/** Pictures and pairs of noise, the same for the same step. */
export async function tinyBatch(step: number): Promise<Batch> {
  const filled = (name: string): Float32Array => {
    const data = new Float32Array(BATCH * 64);
    fillNormal(data, streamKey(3, step, name), 64);
    return data.map((v) => 0.5 * v);
  };
  const labels = Float32Array.from({ length: BATCH * CLASSES }, (_, i) =>
    Number((Math.floor(i / CLASSES) + step) % CLASSES === i % CLASSES),
  );
  return { images: filled('data'), labels, pairs: { noise: filled('noise'), samples: filled('sample'), labels } };
}

export interface Curve {
  /** Terms of every step by name; what is not finite is null in JSON. */
  readonly terms: readonly Readonly<Record<string, number>>[];
  /** Weights and averages of the trained players after the last step. */
  readonly weights: Readonly<Record<string, readonly number[]>>;
  readonly skipped: number;
  readonly seconds: number;
}

/** Trains on a runtime; `together` steps in one go. */
export async function tinyCurve(
  runtime: Runtime,
  { settings, weights }: Awaited<ReturnType<typeof tinyRun>>,
  steps: number,
  together = 1,
): Promise<Curve> {
  const start = performance.now();
  const trainer = await Trainer.create({ ...settings, together }, runtime, weights);
  const terms: Readonly<Record<string, number>>[] = [];
  await trainer.run({ until: steps, batch: tinyBatch, pauses: () => false, onStep: (report) => void terms.push(report.terms) });
  const { vectors, skipped } = await trainer.snapshot();
  await trainer.close();
  return {
    terms,
    weights: Object.fromEntries(Object.entries(vectors).map(([name, v]) => [name, [...v]])),
    skipped,
    seconds: (performance.now() - start) / 1000,
  };
}

export interface Difference {
  readonly largest: number;
  readonly where: string;
}
/** How far a device's curve is from the CPU's: terms relative to their size (at least 0.01), weights and moments to the largest of their tensor. */
export function differences(cpu: Curve, device: Curve): Readonly<Record<'terms' | 'weights' | 'moments', Difference>> {
  const worst = (found: readonly (readonly [where: string, off: number])[]): Difference =>
    found.reduce<Difference>((most, [where, off]) => (off <= most.largest ? most : { largest: off, where }), { largest: 0, where: '' });
  const off = (values: readonly number[], actual: readonly number[] = []): number => {
    const scale = Math.max(...values.map(Math.abs), 1e-30);
    return values.reduce((most, v, i) => Math.max(most, Number.isFinite(actual[i]) ? Math.abs(v - actual[i]!) / scale : Infinity), 0);
  };
  const terms = cpu.terms.flatMap((step, i) =>
    Object.entries(step).map(([name, value]) => {
      const actual = device.terms[i]?.[name] ?? Number.NaN;
      return [
        `step ${i + 1}: ${name}: ${value} and ${actual}`,
        Number.isFinite(actual) ? Math.abs(actual - value) / Math.max(1e-2, Math.abs(value)) : Infinity,
      ] as const;
    }),
  );
  const tensors = Object.entries(cpu.weights).map(([name, values]) => [name, off(values, device.weights[name])] as const);
  const isMoment = ([name]: readonly [string, number]): boolean => /\/[mv]$/.test(name);
  return { terms: worst(terms), weights: worst(tensors.filter((one) => !isMoment(one))), moments: worst(tensors.filter(isMoment)) };
}
