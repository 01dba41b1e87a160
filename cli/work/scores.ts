/** @file Measures a model on its data set, where the project has features for it. */
import { toBytes } from '../../data/bytes.ts';
import { evaluatedAs, openEvaluation, type Scores } from '../../eval/evaluation.ts';
import { openGenerator } from './generator.ts';
import type { Model } from './model.ts';

export type { Scores } from '../../eval/evaluation.ts';
export interface ScoreRequest {
  readonly model: Model;
  readonly n: number;
  readonly seed: number;
  readonly threads: number;
}
export interface ModelEvaluation {
  run(request: ScoreRequest): Promise<Scores>;
  close(): Promise<void>;
}

/** How models of a data set are measured; null where there are no features for it. */
export async function evaluationOf(data: string): Promise<ModelEvaluation | null> {
  if (!evaluatedAs(data)) return null;
  const evaluation = await openEvaluation(data);
  return {
    async run({ model, n, seed, threads }) {
      const generator = openGenerator(model, { threads });
      const labels = evenLabels(n, model.card.sample.classes);
      const images = toBytes(await generator.generate({ labels, n, seed }));
      await generator.close();
      return evaluation.evaluate({ images, n, labels });
    },
    close: () => evaluation.close(),
  };
}

/** Every class equally often: 0, 1, …, 0, 1, …; null without classes. */
export const evenLabels = (n: number, classes: number): Int32Array | null =>
  classes > 0 ? Int32Array.from({ length: n }, (_, i) => i % classes) : null;
