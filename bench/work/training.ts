/** @file What the training benchmarks have in common: a trainer on fixed data, and everything a peer needs to repeat its first steps. */
import { availableParallelism } from 'node:os';
import { fillNormal, fillUniform, streamKey } from '../../engine/random/philox.ts';
import { ortRuntime } from '../../engine/run/ort.ts';
import { optimizerOptions } from '../../engine/train/optimizer.ts';
import { resolve } from '../../engine/train/options.ts';
import { buildPhases, type DrawSpec, declarationsOf, type Stage, trainedOf } from '../../engine/train/program.ts';
import { type Batch, Trainer } from '../../engine/train/trainer.ts';
import { initialise, type Weights } from '../../engine/train/weights.ts';
import { type Shared, writeExchange } from '../exchange.ts';

/** One side of a benchmark: what is timed, and what it says of itself. */
export interface Work {
  readonly facts: Readonly<Record<string, unknown>>;
  /** One round; the values that both sides must agree on. */
  round(): Promise<readonly number[]>;
  close?(): Promise<void>;
}

const SEED = 1;
const RATE = 1e-3;
/** Rounds whose random draws are handed to the peer. */
export const CHECKED_ROUNDS = 2;

/** Weights that no symmetry or zero initialisation hides: the network's own start plus N(0, 0.02²). */
export function disturbed(player: string, stage: Stage): Weights {
  const own = initialise(declarationsOf(stage)[player]!, SEED, player);
  return new Map(
    [...own].map(([name, { shape, data }]) => {
      const noise = new Float32Array(data.length);
      fillNormal(noise, streamKey(SEED, 0, `disturb/${player}/${name}`), noise.length);
      return [name, { shape, data: data.map((v, i) => v + 0.02 * noise[i]!) }];
    }),
  );
}

/** Noise of the size of data, with labels in turn. */
export function fixedBatch({ batch, sample }: Stage): Batch {
  const size = sample.shape.reduce((a, b) => a * b, 1);
  const images = new Float32Array(batch * size);
  fillNormal(images, streamKey(SEED, 0, 'bench/data'), size);
  const labels = sample.classes > 0 ? new Float32Array(batch * sample.classes) : null;
  for (let i = 0; labels && i < batch; i++) labels[i * sample.classes + (i % sample.classes)] = 1;
  return { images: images.map((v) => 0.5 * v), labels };
}

/** Labels that are drawn: one value for all, so that a peer knows them without the generator. */
const LABELS = [3];

function drawn({ name, kind, shape }: DrawSpec, step: number): Shared {
  const data = new Float32Array(shape.reduce((a, b) => a * b, 1));
  const perSample = shape.length > 0 ? data.length / shape[0]! : 1;
  if (kind === 'condition') for (let i = 0; i < shape[0]!; i++) data[i * shape[1]! + LABELS[0]!] = 1;
  else (kind === 'normal' ? fillNormal : fillUniform)(data, streamKey(SEED, step, name), perSample);
  return { shape, data };
}

export interface TrainingRequest {
  readonly stage: Stage;
  readonly threads: number;
  readonly stepsPerRound: number;
  /** Where the peer finds weights, data and draws; null: no peer. */
  readonly folder: string | null;
  readonly profile?: string;
}

/** Adam without decay, clipping or averages. Values of a round: every loss of its steps. */
export async function trainingWork({ stage, threads, stepsPerRound, folder, profile }: TrainingRequest): Promise<Work> {
  const start = performance.now();
  const players = [...Object.keys(stage.cast.networks), ...Object.keys(stage.cast.heads)];
  const weights = Object.fromEntries(players.map((player) => [player, disturbed(player, stage)]));
  const trained = trainedOf(stage.loss);
  const adam = resolve('adam', optimizerOptions, { kind: 'adam', weightDecay: 0 });
  const each = <T>(value: T): Record<string, T> => Object.fromEntries(trained.map((player) => [player, value]));
  const optimizers = each(adam);
  const batch = fixedBatch(stage);
  const cuts = threads || availableParallelism(); // as the command line does
  const built = performance.now();
  const trainer = await Trainer.create(
    {
      stage: { ...stage, batch: stage.batch / cuts },
      parts: cuts,
      beside: cuts,
      seed: SEED,
      optimizers,
      rates: each(() => RATE),
      clip: {},
      averages: {},
      labels: LABELS,
    },
    ortRuntime({ threads, ...(profile ? { profile } : {}) }),
    weights,
  );
  const seconds = (performance.now() - built) / 1000;
  if (folder) {
    const phases = buildPhases(stage, trainer.declarations, weights, { optimizers, clip: {}, averages: {} });
    const tensors: Record<string, Shared> = { data: { shape: [stage.batch, ...stage.sample.shape], data: batch.images } };
    if (batch.labels) tensors['label'] = { shape: [stage.batch, stage.sample.classes], data: batch.labels };
    for (const player of players) for (const [name, w] of weights[player]!) tensors[`${player}/${name}`] = w;
    for (let step = 0; step < CHECKED_ROUNDS * stepsPerRound; step++)
      for (const spec of phases.flatMap((p) => p.draws)) tensors[`draw/${step}/${spec.name}`] = drawn(spec, step);
    await writeExchange(folder, tensors);
  }
  const parameters = Object.fromEntries(
    Object.entries(trainer.declarations).map(([player, declared]) => [
      player,
      declared.filter((d) => d.trained).reduce((n, d) => n + d.shape.reduce((a, b) => a * b, 1), 0),
    ]),
  );
  return {
    facts: { parameters, buildSeconds: seconds, preparationSeconds: (built - start) / 1000 },
    async round() {
      const losses: number[] = [];
      const onStep = ({ terms }: { readonly terms: Readonly<Record<string, number>> }): void => {
        losses.push(...Object.entries(terms).flatMap(([name, value]) => (name.endsWith('/loss') ? [value] : [])));
      };
      await trainer.run({ until: trainer.step + stepsPerRound, batch: async () => batch, onStep });
      return losses;
    },
    close: () => trainer.close(),
  };
}
