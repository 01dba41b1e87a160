/** @file Makes the classifiers of `artifacts/`: `npx tsx eval/scripts/train-classifier.ts <digits|fashion-mnist>`, minutes of one core; with `reference` behind it only what evaluations need of the real images, by the classifier that is there. */
import { join } from 'node:path';
import { packageRoot } from '../../data/artifacts.ts';
import { loadDataset } from '../../data/registry.ts';
import { InputError } from '../../engine/io/errors.ts';
import { fromFloat32, toFloat32, writeSafetensors } from '../../engine/io/safetensors.ts';
import { CLASSIFIER_TRAINING, type ClassifierTraining, trainClassifier } from '../classifier/train.ts';
import { classifierExtractor } from '../features/classifier.ts';
import { type ClassifiedData, classifiedData, shippedClassifiers } from '../features/shipped.ts';
import { accuracy } from '../metrics/class-accuracy.ts';
import { computedReference, writeReference } from '../reference.ts';

interface Recipe {
  readonly training: ClassifierTraining;
  readonly origin: string;
}
const RECIPES: Readonly<Record<ClassifiedData, Recipe>> = {
  digits: { training: CLASSIFIER_TRAINING, origin: 'the 8,000 training digits of artifacts/digits.br (MIT)' },
  'fashion-mnist': {
    // Clothes are centred and upright: they are moved less than digits are.
    training: {
      ...CLASSIFIER_TRAINING,
      steps: 2400,
      motion: { shift: 1.5, angle: 0.06, zoom: 0.06 },
      network: shippedClassifiers['fashion-mnist'].network,
    },
    origin: 'the 60,000 training images of Fashion-MNIST (MIT)',
  },
};

async function main(data: ClassifiedData): Promise<void> {
  const { train, heldOut } = await loadDataset(data);
  const { training, origin } = RECIPES[data];
  const begin = performance.now();
  const trained = await trainClassifier(train, training, ({ step, terms }) => {
    if (step % 100 === 0)
      console.log(`step ${step}: loss ${terms['classifier/loss']!.toFixed(4)}, ${((performance.now() - begin) / 1000).toFixed(0)} s`);
  });
  // Measured with the rounded weights: they are what is shipped.
  const stored = [...trained].map(([name, { shape, data }]) => [name, fromFloat32(data, shape, 'F16')] as const);
  const weights = new Map(stored.map(([name, tensor]) => [name, { shape: tensor.shape, data: toFloat32(tensor) }]));
  const extractor = await classifierExtractor(data, { weights });
  const { logits } = await extractor.features(heldOut.images, heldOut.size);
  const right = accuracy(logits!, heldOut.labels!, training.network.classes);
  const { steps, batch, seed } = training;
  await writeSafetensors(join(packageRoot(), 'artifacts', shippedClassifiers[data].file), stored, {
    accuracy: right.toFixed(4),
    batch: String(batch),
    origin: `eval/scripts/train-classifier.ts, trained on ${origin}`,
    seed: String(seed),
    steps: String(steps),
  });
  await extractor.close();
  console.log(`accuracy on ${heldOut.size} held-out images: ${right}`);
}

/** What evaluations need of the real images, by the classifier that is shipped. */
async function reference(data: ClassifiedData): Promise<void> {
  const split = await loadDataset(data);
  const extractor = await classifierExtractor(data);
  const found = await computedReference(split, extractor.features, extractor.dimensions);
  await writeReference(join(packageRoot(), 'artifacts', shippedClassifiers[data].reference), split, extractor.checksum, found);
  await extractor.close();
}

const [wanted, only] = process.argv.slice(2);
const data = classifiedData.find((name) => name === wanted);
if (!data || (only !== undefined && only !== 'reference'))
  throw new InputError(
    `train-classifier: ${[wanted, only].filter(Boolean).join(' ')} is not one of ${classifiedData.join(', ')}, with or without 'reference' behind it`,
  );
if (only === undefined) await main(data);
await reference(data);
