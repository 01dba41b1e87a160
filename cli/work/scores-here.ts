/** @file Measures models on their data set, on the calling thread. */
import { toBytes } from '../../data/bytes.ts';
import { openEvaluation } from '../../eval/evaluation.ts';
import { evenLabels } from '../../student/labels.ts';
import { openGenerator } from './generator.ts';
import type { ModelEvaluation, ScoreRequest } from './scores.ts';

/** Samples of a model as an evaluation takes them, evenly of all classes. @param between is called between batches; what it throws ends the work */
export async function imagesOf({ model, n, seed, threads, device }: ScoreRequest, between = (): void => {}): Promise<Uint8Array> {
  const generator = openGenerator(model, { threads, ...(device ? { device } : {}) });
  const labels = evenLabels(n, model.card.sample.classes);
  return toBytes(await generator.generate({ labels, n, seed, onProgress: between }).finally(() => generator.close()));
}

/**
 * @param between is called between batches; what it throws ends the evaluation
 * Errors: there are no features for the data set.
 */
export async function evaluationHere(data: string, between = (): void => {}): Promise<ModelEvaluation> {
  const evaluation = await openEvaluation(data, { between });
  return {
    async run(request) {
      const { model, n } = request;
      const images = request.images ?? (await imagesOf(request, between));
      return evaluation.evaluate({ images, n, labels: evenLabels(n, model.card.sample.classes) });
    },
    close: () => evaluation.close(),
  };
}
