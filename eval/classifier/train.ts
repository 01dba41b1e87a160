/** @file Trains the digit classifier with the engine's own trainer: cross-entropy on slightly moved images. */
import '../../engine/graph/fluent.ts';
import { assemble, indexer } from '../../data/assemble.ts';
import type { Dataset } from '../../data/dataset.ts';
import { constant } from '../../engine/graph/ops/leaf.ts';
import { logSoftmax } from '../../engine/graph/ops/reduce.ts';
import type { Tensor } from '../../engine/graph/tensor.ts';
import { type SingleTask, type SingleTraining, trainSingle } from '../../engine/train/single.ts';
import type { StepReport } from '../../engine/train/trainer.ts';
import type { Weights } from '../../engine/train/weights.ts';
import { type ClassifierOptions, classifier, DIGIT_CLASSIFIER } from '../../models/classifier.ts';
import { type Motion, moveImages } from './augment.ts';

/** Share of the label that is spread over all classes. Szegedy et al. 2015, section 7. */
const SMOOTHING = 0.02;

export interface ClassifierTraining extends SingleTraining {
  readonly motion: Motion;
  readonly network: ClassifierOptions;
}
export const CLASSIFIER_TRAINING: ClassifierTraining = {
  ...{ steps: 1200, batch: 128, seed: 0, rate: 2e-3, warmup: 50 },
  ...{ average: 'constant:0.99', weightDecay: 0.02, threads: 1 },
  motion: { shift: 2, angle: 0.15, zoom: 0.1 },
  network: DIGIT_CLASSIFIER,
};

/** Cross-entropy with smoothed labels, mean over the batch. logits, label [N, classes]. */
function crossEntropy(logits: Tensor, label: Tensor): Tensor {
  const target = label.mul(1 - SMOOTHING).add(SMOOTHING / Number(label.shape[1]));
  return target
    .mul(logSoftmax(logits))
    .sum()
    .mul(-1 / Number(label.shape[0]));
}

/**
 * Trains on a data set with square images and labels; the same settings give the same weights on the same machine.
 * @returns the averaged weights by name
 */
export async function trainClassifier(
  dataset: Dataset,
  training: ClassifierTraining = CLASSIFIER_TRAINING,
  onStep?: (report: StepReport) => void,
): Promise<Weights> {
  const { batch, seed, motion, network } = training;
  const task: SingleTask = {
    name: 'classifier',
    title: 'cross-entropy of a classifier',
    reference: '1512.00567',
    shape: [dataset.channels, dataset.height, dataset.width],
    beside: network.classes,
    build:
      (scope) =>
      ({ image }) =>
        classifier(scope, network)(image!).logits,
    terms: ({ head, data, condition }) => ({ loss: crossEntropy(head({ image: data }, constant(0)), condition['label']!) }),
  };
  const indicesOf = indexer(dataset.size, batch, seed);
  const batchOf = (step: number) => {
    const { images, labels } = assemble(dataset, indicesOf(step), { flip: false, seed, step });
    return { images: moveImages(images, dataset.width, motion, { seed, step }), labels: oneHot(labels!, network.classes) };
  };
  return trainSingle(task, training, batchOf, onStep);
}

function oneHot(labels: BigInt64Array, classes: number): Float32Array {
  const rows = new Float32Array(labels.length * classes);
  labels.forEach((label, i) => {
    rows[i * classes + Number(label)] = 1;
  });
  return rows;
}
