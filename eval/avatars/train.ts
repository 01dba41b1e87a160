/** @file Trains a small CLIP on pictures and their captions with the engine's own trainer: each picture finds its caption in the batch, and each caption its picture. */
import '../../engine/graph/fluent.ts';
import { cast } from '../../engine/graph/ops/elementwise.ts';
import { constant } from '../../engine/graph/ops/leaf.ts';
import { logSoftmax } from '../../engine/graph/ops/reduce.ts';
import type { Tensor } from '../../engine/graph/tensor.ts';
import { type SingleTask, type SingleTraining, trainSingle } from '../../engine/train/single.ts';
import type { StepReport } from '../../engine/train/trainer.ts';
import type { Weights } from '../../engine/train/weights.ts';
import { type ClipConfig, clip } from '../../models/foreign/clip.ts';

/** Mean of −ln softmax at the diagonal, over rows and over columns. logits [N,N]. Radford et al. 2021, figure 3. */
export function pairLoss(logits: Tensor): Tensor {
  const n = Number(logits.shape[0]);
  const diagonal = constant(
    Float64Array.from({ length: n * n }, (_, i) => Number(i % n === Math.floor(i / n))),
    [n, n],
  );
  const found = logSoftmax(logits, 1).add(logSoftmax(logits, 0));
  return found
    .mul(diagonal)
    .sum()
    .mul(-0.5 / n);
}

export interface PairBatch {
  /** [batch, 3, S, S], preprocessed. */
  readonly images: Float32Array;
  /** [batch, context] */
  readonly ids: BigInt64Array;
}

/** Errors and result as in `trainSingle`. */
export async function trainPairs(
  network: ClipConfig,
  training: SingleTraining,
  batchOf: (step: number) => PairBatch,
  onStep?: (report: StepReport) => void,
): Promise<Weights> {
  const size = network.vision.image_size as number;
  const task: SingleTask = {
    name: 'encoder',
    title: 'contrastive loss of pictures and captions',
    reference: '2103.00020',
    shape: [network.vision.num_channels, size, size],
    beside: network.text.max_position_embeddings,
    build:
      (scope) =>
      ({ image, text }) => {
        const model = clip(scope, network);
        return model.logits(model.image(image!).features, model.text(text!).features);
      },
    // Token numbers stand beside the pictures, as floats that are exact.
    terms: ({ head, data, condition }) => ({
      loss: pairLoss(head({ image: data, text: cast(condition['label']!, 'int64') }, constant(0))),
    }),
  };
  const batch = (step: number) => {
    const { images, ids } = batchOf(step);
    return { images, labels: Float32Array.from(ids, Number) };
  };
  return trainSingle(task, training, batch, onStep);
}
