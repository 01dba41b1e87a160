/** @file Measures a model on its data set, where the project has features for it, in a thread that gives way to the training. */
import { workerEntry } from '../../engine/io/threads.ts';
import type { DeviceName } from '../../engine/run/devices.ts';
import type { Weights } from '../../engine/train/weights.ts';
import { evaluatedAs, type Scores } from '../../eval/evaluation.ts';
import { openThreads } from '../../eval/threads.ts';
import type { Model } from './model.ts';
import type { ScoreTask } from './scores.worker.ts';
import { imagesOf } from './scores-here.ts';

export type { Scores } from '../../eval/evaluation.ts';
export { evenLabels } from '../../student/labels.ts';
export interface ScoreRequest {
  readonly model: Model;
  readonly n: number;
  readonly seed: number;
  /** Of drawing samples: with other numbers of them the last bits differ. */
  readonly threads: number;
  readonly device?: DeviceName;
  /** Samples that are drawn already. */
  readonly images?: Uint8Array;
}
export interface ModelEvaluation {
  /** Draws samples on a device other than the CPU, which one thread alone uses: training waits for these. */
  prepare?(request: ScoreRequest): Promise<ScoreRequest>;
  /** The model is copied before this returns: its weights may change from then on. */
  run(request: ScoreRequest): Promise<Scores>;
  /** An evaluation that runs is stopped. */
  close(): Promise<void>;
}

/** How models of a data set are measured; null where there are no features for it. The bits are those of `evaluationHere`. */
export async function evaluationOf(data: string): Promise<ModelEvaluation | null> {
  if (!evaluatedAs(data)) return null;
  // What it opened for the first evaluation is wanted again at the next.
  const thread = openThreads(workerEntry(import.meta.url, 'scores.worker'), { threads: 1, low: true, idle: Infinity });
  const stop = thread.stopping();
  return {
    prepare: async (request) =>
      request.device === undefined || request.device === 'cpu' ? request : { ...request, images: await imagesOf(request) },
    run({ model, ...request }) {
      const { weights, memory } = copied(request.images ? new Map() : model.weights);
      const task: ScoreTask = { data, ...request, model: { ...model, weights } };
      return thread.run('score', task, stop, [memory]);
    },
    close: () => thread.close(),
  };
}

/** Weights in one piece of memory of their own, which goes over to the thread. */
function copied(weights: Weights): { readonly weights: Weights; readonly memory: ArrayBuffer } {
  const all = new Float32Array([...weights.values()].reduce((sum, { data }) => sum + data.length, 0));
  let from = 0;
  const parts = [...weights].map(([name, { shape, data }]) => {
    all.set(data, from);
    from += data.length;
    return [name, { shape, data: all.subarray(from - data.length, from) }] as const;
  });
  return { weights: new Map(parts), memory: all.buffer };
}
