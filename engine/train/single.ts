/** @file Trains one network by itself, such as a classifier or an autoencoder, with the trainer of the methods: it takes the part of a head. */

import type { Tensor } from '../graph/tensor.ts';
import { ortRuntime } from '../run/ort.ts';
import { parseAverage } from './averages.ts';
import { keepLast, latestCheckpoint, loadCheckpoint, saveCheckpoint } from './checkpoint.ts';
import { type Draw, defineLoss, type Loss } from './loss.ts';
import type { Condition, Head, Scope } from './network.ts';
import { optimizerOptions } from './optimizer.ts';
import { options, resolve } from './options.ts';
import type { Stage } from './program.ts';
import { rateFactor, rateOptions } from './rates.ts';
import type { NoiseSchedule } from './schedule.ts';
import { type StepReport, Trainer } from './trainer.ts';
import type { Weights } from './weights.ts';

export interface SingleTask {
  /** Names the weights' random stream: another name gives other first weights. */
  readonly name: string;
  readonly title: string;
  /** arXiv id. */
  readonly reference: string;
  build(scope: Scope): Head;
  /** The scalar to minimise, and whatever is worth logging. What stands beside a sample is the condition's `label` [N, beside]. */
  terms(scene: { readonly head: Head; readonly data: Tensor; readonly condition: Condition; readonly draw: Draw }): {
    readonly loss: Tensor;
  } & Readonly<Record<string, Tensor>>;
  /** Shape of a sample, without the batch axis. */
  readonly shape: readonly number[];
  /** Numbers that stand beside each sample; 0 for none. */
  readonly beside: number;
}
export interface SingleTraining {
  readonly steps: number;
  readonly batch: number;
  readonly seed: number;
  readonly rate: number;
  /** Steps in which the rate rises; it falls as a cosine after them. */
  readonly warmup: number;
  /** Weight average that is handed out; null for the weights of the last step. */
  readonly average: string | null;
  readonly weightDecay: number;
  readonly threads: number;
}
export interface SingleBatch {
  /** [batch, …shape] */
  readonly images: Float32Array;
  /** [batch, beside]; null where nothing stands beside. */
  readonly labels: Float32Array | null;
}

/** Where the state is kept while it trains, so that an interrupted training goes on. One process at a time. */
export interface SingleCheckpoints {
  readonly folder: string;
  /** Steps between checkpoints. */
  readonly every: number;
}

/** The losses read no noise levels. */
const noLevels: NoiseSchedule = { sigmaMin: 0, sigmaMax: 0, levels: () => [], quantile: (u) => u };

/**
 * @param start weights to start from instead of fresh ones
 * @returns the averaged weights by name; the same settings and batches give the same ones on the same machine, interrupted or not
 */
export async function trainSingle(
  task: SingleTask,
  { steps, batch, seed, rate, warmup, average, weightDecay, threads }: SingleTraining,
  batchOf: (step: number) => SingleBatch,
  onStep?: (report: StepReport) => void,
  { checkpoints, start }: { readonly checkpoints?: SingleCheckpoints; readonly start?: Weights } = {},
): Promise<Weights> {
  const { name, title, reference } = task;
  const loss: unknown = defineLoss({
    name,
    title,
    reference,
    options: options({}),
    players: {},
    heads: [name],
    phases: {
      [name]: {
        trains: [name],
        terms: ({ heads, data, condition, draw }) => task.terms({ head: heads[name]!, data, condition, draw }),
      },
    },
  });
  const stage: Stage = {
    loss: loss as Loss, // a stage forgets the names of heads
    options: {},
    cast: { networks: {}, heads: { [name]: (scope) => task.build(scope) } },
    sample: { shape: task.shape, classes: task.beside },
    schedule: noLevels,
    batch,
  };
  const fall = resolve(name, rateOptions, { kind: 'cosine', warmup: Math.min(warmup, steps >> 1) });
  const trainer = await Trainer.create(
    {
      stage,
      parts: 1,
      seed,
      optimizers: { [name]: resolve(name, optimizerOptions, { kind: 'adamw', weightDecay }) },
      rates: { [name]: (step) => rate * rateFactor(fall, step, steps) },
      clip: { [name]: 1 },
      averages: { [name]: average === null ? [] : [parseAverage(average)] },
      labels: null,
    },
    ortRuntime({ threads }),
    start ? { [name]: start } : {},
  );
  try {
    const last = checkpoints && (await latestCheckpoint(checkpoints.folder));
    if (last) await trainer.restore((await loadCheckpoint(last.path, trainer.layouts)).snapshot);
    const keep = async ({ folder, every }: SingleCheckpoints): Promise<void> => {
      if (trainer.step % every !== 0 && trainer.step !== steps) return;
      await saveCheckpoint(folder, { snapshot: await trainer.snapshot(), trainer, meta: {} });
      await keepLast(folder, 1);
    };
    await trainer.run({
      until: steps,
      batch: async (step) => batchOf(step),
      async onStep(report) {
        onStep?.(report);
        if (checkpoints) await keep(checkpoints);
      },
    });
    return await trainer.weights(name, average ?? undefined);
  } finally {
    await trainer.close();
  }
}
