/** @file What every method keeps to, whichever it is: one set of tests over every file of this folder. */
import { readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { describe, expect, test } from 'vitest';
import { leafOf } from '../engine/graph/ops/leaf.ts';
import { fillNormal, fillUniform, streamKey } from '../engine/random/philox.ts';
import { arranged, followersOf, type Loss, learnsFromPairs, mainPlayers, scalarsOf } from '../engine/train/loss.ts';
import { optimizerOptions } from '../engine/train/optimizer.ts';
import { facts, resolve } from '../engine/train/options.ts';
import { buildPhases, type DrawSpec, declarationsOf, MEMORY, trainedOf } from '../engine/train/program.ts';
import { initialise, type Weights } from '../engine/train/weights.ts';
import type { MixtureOptions } from '../models/mixture.ts';
import { mlpFamily } from '../models/mlp.ts';
import { karras } from '../samplers/karras.ts';
import {
  batches,
  classesOf,
  draws,
  headOf,
  modes,
  type Plan,
  pretrained,
  samplesOf,
  totalVariation,
  trained,
  trainerOf,
} from './testing/distil.ts';
import { oneHot, parameterGradients, rehearse, type Stage } from './testing/tiny.ts';

const folder = dirname(fileURLToPath(import.meta.url));
const names = readdirSync(folder)
  .filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts') && !file.endsWith('.d.ts') && !file.endsWith('terms.ts'))
  .map((file) => file.slice(0, -3));
const methods = await Promise.all(
  names.map(async (name) => {
    const { default: loss } = (await import(pathToFileURL(join(folder, `${name}.ts`)).href)) as { default: Loss };
    return [name, arranged(loss, resolve(name, loss.options, {}))] as const;
  }),
);

const BATCH = 4;
const CLASSES = 3;
const MLP = resolve('mlp', mlpFamily.options, { width: 8, layers: 1, frequencies: 2 });
/** Small networks with classes for every player. */
const stageOf = (loss: Loss): Stage => ({
  networks: Object.fromEntries(
    Object.keys(loss.players).map((name) => [
      name,
      (scope) => mlpFamily.build(scope, MLP, { shape: [2], classes: CLASSES, scalars: scalarsOf(loss, name) }),
    ]),
  ),
  heads: Object.fromEntries((loss.heads ?? []).map((name) => [name, headOf(loss, name)])),
  sample: { shape: [2], classes: CLASSES },
  batch: BATCH,
});

/** The long version is a proof, the short one a check that nothing is broken. */
const PROOF = Boolean(process.env['ONESTEP_PROOF']);
const seeds = PROOF ? [1, 2, 3] : [1];
/** At least so many steps, and so many updates of the main player. */
const [STEPS, UPDATES] = PROOF ? [5000, 2000] : [2000, 800];
// The short version ends before all has settled: over three seeds mean and spread are off by up to 19 % (LADD, TCM), by 5 % for most methods; a wrong
// sign or scale gives more than 50 %. What is claimed is the long version's.
const SLACK = PROOF ? 0.05 : 0.3; // of mean and spread
const SHARE = PROOF ? 0.05 : 0.1; // of the modes' weights, which settle last
const STRAY = PROOF ? 0.02 : 0.05;
const SAMPLES = 20_000; // a mean has a standard error of 0.7 % of the spread
const GAUSSIAN = { weights: [1], means: [[0.3]], variances: [0.16] };
const PAIR = { weights: [0.3, 0.7], means: [[-0.5], [0.5]], variances: [0.04, 0.04] };
const PLANE = { weights: [1], means: [[0.2, -0.1]], variances: [0.25] };

/** Labels of the first samples, so that every class occurs. */
const labels = oneHot(
  Array.from({ length: BATCH }, (_, i) => i % CLASSES),
  CLASSES,
);
function drawn({ name, kind, shape }: DrawSpec): Float32Array {
  if (kind === 'condition') return labels;
  const values = new Float32Array(shape.reduce((n, d) => n * d, 1));
  (kind === 'normal' ? fillNormal : fillUniform)(values, streamKey(1, 0, name), values.length / (shape[0] ?? 1));
  return values;
}
/** Initial weights, moved a little, each player's in its own way: a fake score that equals the teacher gives exactly no gradient. */
function perturbed(loss: Loss): Record<string, Float32Array> {
  const { networks, heads = {}, sample } = stageOf(loss);
  const stage = {
    loss,
    options: resolve(loss.name, loss.options, {}),
    cast: { networks, heads },
    sample,
    schedule: karras(),
    batch: BATCH,
  };
  return Object.fromEntries(
    Object.entries(declarationsOf(stage)).flatMap(([player, declared]) =>
      [...initialise(declared, 1, player)].map(([name, { data }]) => {
        const moved = new Float32Array(data.length);
        fillNormal(moved, streamKey(2, 0, `${player}/${name}`), data.length);
        return [`${player}/${name}`, moved.map((v, i) => data[i]! + 0.1 * v)];
      }),
    ),
  );
}

/** Clock and memory in the middle of a run, and pairs. */
function standing(loss: Loss): Record<string, Float32Array> {
  const options = resolve(loss.name, loss.options, {});
  const clock = Object.entries(loss.clock ?? {}).map(([name, value]) => [
    `clock/${name}`,
    Float32Array.of(value({ step: 500, steps: 1000, nimg: 500 * BATCH }, options)),
  ]);
  const memory = Object.values(loss.memory ?? {}).flatMap(({ shape, value }) => Array(shape.reduce((n, d) => n * d, 1)).fill(value));
  const pair = ['noise', 'sample'].map((name) => [`pair/${name}`, drawn({ name, kind: 'normal', shape: [BATCH, 2] })]);
  return { ...Object.fromEntries([...clock, ...pair]), [MEMORY]: Float32Array.from(memory), 'pair/label': labels };
}

test('there are methods', () => {
  expect(names).toEqual(expect.arrayContaining(['edm', 'dmd', 'dmd2']));
});

/** What a method needs for the proof beside its defaults. */
interface Needs {
  /** So many times the usual steps. */
  readonly times: number;
  readonly options: Readonly<Record<string, unknown>>;
}
/**
 * Consistency from data alone: targets come of single noised samples, which takes longer to average. Of batches this small the papers' levels hardly ever
 * hold the highest one, which alone is sampled from. And the norm of a difference of one value has a sign as its gradient, so that medians are learnt
 * instead of means; a constant beside it makes it smooth.
 */
const NEEDS: Readonly<Record<string, Needs>> = PROOF
  ? {
      ect: { times: 2, options: { huber: 0.03, levelMean: 0, levelStd: 2.5 } },
      // R1 adds up over the values of a sample: of one value, a weight that suits images hardly keeps the head smooth, and the two circle.
      ladd: { times: 1, options: { r1: 30 } },
      tcm: { times: 3, options: { huber: 0.03, firstMean: 0, firstStd: 2.5 } },
    }
  : {};

/** The denoiser from which students start: methods share it. */
const starts = new Map<string, Promise<Weights>>();
function startFor(plan: Plan): Promise<Weights> {
  const key = JSON.stringify(plan);
  if (!starts.has(key)) starts.set(key, pretrained(plan));
  return starts.get(key)!;
}

/** Steps of a training. */
function stepsOf(loss: Loss): number {
  const options = resolve(loss.name, loss.options, {}) as never;
  const [main] = mainPlayers(loss, options, CLASSES);
  const phases = Object.values(loss.phases).filter(({ trains }) => (trains as readonly string[]).includes(main!));
  const runs = (step: number): boolean => phases.some((phase) => phase.runs?.(step, options, 100) ?? true);
  const of100 = Array.from({ length: 100 }, (_, step) => step).filter(runs).length;
  return (NEEDS[loss.name]?.times ?? 1) * Math.max(STEPS, Math.round((UPDATES * 100) / of100));
}

describe.each(methods)('%s', (name, loss) => {
  test('says who it is', () => {
    expect(loss.name).toBe(name);
    expect(loss.title).toMatch(/\S+ \S+/);
    expect(loss.reference).toMatch(/^\d{4}\.\d{4,5}$/);
    for (const trains of Object.values(loss.phases).flatMap((phase) => phase.trains as readonly string[]))
      expect([...Object.keys(loss.players), ...(loss.heads ?? [])]).toContain(trains);
  });

  test('every option has help, a range and a default inside it', () => {
    const defaults = resolve(name, loss.options, {}) as Record<string, unknown>;
    for (const { name: option, type, help, min, max, initial } of facts(loss.options)) {
      expect(help.length, option).toBeGreaterThan(10);
      expect(initial, option).toBeDefined();
      expect(defaults[option], option).toEqual(initial);
      if (['number', 'integer', 'numbers', 'integers'].includes(type)) expect(min ?? max, `range of ${option}`).toBeDefined();
    }
  });

  describe.each(Object.keys(loss.phases))('phase %s', (phase) => {
    const rehearsal = rehearse(loss, phase, stageOf(loss));
    const { terms } = rehearsal;
    const data = draws(PLANE, BATCH, 1, 0);
    const feeds = {
      ...perturbed(loss),
      data,
      label: labels,
      ...standing(loss),
      ...Object.fromEntries(rehearsal.draws.map((spec) => [`draw/${spec.name}`, drawn(spec)])),
    };

    test('all terms are finite scalars', () => {
      expect(terms['loss']).toBeDefined();
      const values = rehearsal.evaluate(Object.values(terms), feeds);
      Object.entries(terms).forEach(([term, { shape }], i) => {
        expect(shape, term).toEqual([]);
        expect(Number.isFinite(values[i]![0]), term).toBe(true);
      });
    });

    test.each(loss.phases[phase]!.trains as readonly string[])('every weight of %s has a gradient', (player) => {
      const found = parameterGradients(rehearsal, player, terms['loss']!, feeds);
      expect(found.size).toBeGreaterThan(0);
      for (const [weight, gradient] of found) {
        expect(gradient.every(Number.isFinite), weight).toBe(true);
        expect(Math.max(...gradient.map(Math.abs)), weight).toBeGreaterThan(1e-9);
      }
    });
  });

  test('a phase changes only what it trains', () => {
    const { networks, heads = {}, sample } = stageOf(loss);
    const stage = { loss, options: resolve(name, loss.options, {}), cast: { networks, heads }, sample, schedule: karras(), batch: BATCH };
    const declared = declarationsOf(stage);
    const weights = Object.fromEntries(Object.entries(declared).map(([player, list]) => [player, initialise(list, 1, player)]));
    const optimizers = Object.fromEntries(trainedOf(loss).map((player) => [player, resolve('optimizer', optimizerOptions, {})]));
    for (const { phase, fused, part } of buildPhases(stage, declared, weights, { optimizers, clip: {}, averages: {} })) {
      const trains = loss.phases[phase]!.trains as readonly string[];
      const changed = [...fused.updates.keys(), ...part.updates.keys()].map((leaf) => leafOf(leaf)!.label.split('/')[0]!);
      const along = Object.entries(followersOf(loss)).flatMap(([player, { follows }]) => (trains.includes(follows) ? [player] : []));
      const kept = loss.phases[phase]!.remember ? [MEMORY] : [];
      expect([...new Set(changed)].sort(), phase).toEqual([...trains, ...along, ...kept].sort());
    }
  });

  test('the same seed gives the same bits, another seed others', async () => {
    const run = async (seed: number) => {
      const plan: Plan = {
        target: PLANE,
        seed: 1,
        batch: 8,
        steps: 3,
        lr: 1e-2,
        network: { width: 8, layers: 1 },
        classes: classesOf(loss),
      };
      const trainer = await trainerOf({ ...plan, seed }, loss, {}, {});
      await trainer.run({ until: 3, batch: batches(plan, learnsFromPairs(loss, resolve(name, loss.options, {}))) }); // the same data
      const { vectors } = await trainer.snapshot();
      await trainer.close();
      return vectors;
    };
    const [first, again, other] = [await run(1), await run(1), await run(2)];
    for (const [label, vector] of Object.entries(first)) {
      expect(new Uint8Array(again[label]!.buffer), label).toEqual(new Uint8Array(vector.buffer));
      // An optimizer's slots stay 0 where a player's time has not come.
      if (vector.some((v) => v !== 0)) expect(other[label], label).not.toEqual(vector);
    }
  });

  describe.each(seeds)('seed %i: from the exact denoiser', (seed) => {
    // A critic that learns faster than the student keeps the two from circling each other.
    const plan = { seed, batch: 64, lr: 2e-3, othersLr: 3, network: { width: 32, layers: 2 }, classes: classesOf(loss) };
    /** One-step samples of the student; along a trajectory where the method trains a denoiser: in 64 steps Heun's spread is right within 0.4 %. */
    const learnt = async (target: MixtureOptions): Promise<Float32Array> => {
      const distils = 'student' in loss.players || loss.experts !== undefined;
      const start = distils ? await startFor({ ...plan, target, steps: 500 }) : undefined;
      const whole = { ...plan, target, steps: stepsOf(loss) };
      return samplesOf(whole, loss, await trained(whole, loss, NEEDS[name]?.options ?? {}, start), SAMPLES, distils ? 1 : 64);
    };

    test('of a Gaussian: mean and spread', { timeout: 300_000 }, async () => {
      const samples = await learnt(GAUSSIAN);
      const mean = samples.reduce((a, b) => a + b, 0) / SAMPLES;
      const spread = Math.sqrt(samples.reduce((sum, v) => sum + (v - mean) ** 2, 0) / SAMPLES);
      expect(Math.abs(mean - 0.3)).toBeLessThan(SLACK * 0.4);
      expect(Math.abs(spread / 0.4 - 1)).toBeLessThan(SLACK);
    });

    test.runIf(PROOF)('of two Gaussians: the share of each', { timeout: 300_000 }, async () => {
      const { shares, stray } = modes(PAIR, await learnt(PAIR));
      expect(totalVariation(shares, PAIR.weights)).toBeLessThan(SHARE);
      expect(stray).toBeLessThan(STRAY);
    });
  });
});
