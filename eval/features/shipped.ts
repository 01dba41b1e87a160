/** @file The classifiers that come with the package: which data set each was trained on, its network and its file. */
import { type ClassifierOptions, DIGIT_CLASSIFIER } from '../../models/classifier.ts';

export interface ShippedClassifier {
  /** How it is called wherever a number of it is shown. */
  readonly name: string;
  /** In `artifacts/`. */
  readonly file: string;
  readonly network: ClassifierOptions;
  /** In `artifacts/`: what an evaluation needs of the real images, see eval/reference.ts. */
  readonly reference: string;
  /** Side of the square grey images that it takes. */
  readonly size: number;
}

/** By the name of the data set. */
export const shippedClassifiers = {
  digits: {
    name: 'digit classifier',
    file: 'digit-classifier.safetensors',
    reference: 'digit-reference.safetensors',
    network: DIGIT_CLASSIFIER,
    size: 28,
  },
  'fashion-mnist': {
    name: 'fashion classifier',
    file: 'fashion-classifier.safetensors',
    reference: 'fashion-reference.safetensors',
    // 156,730 parameters on 28×28 grey images: textures take more channels than strokes do.
    network: { channels: [24, 48, 96], narrow: 32, features: 64, classes: 10, groups: 8 },
    size: 28,
  },
} as const satisfies Readonly<Record<string, ShippedClassifier>>;
export type ClassifiedData = keyof typeof shippedClassifiers;

/** Data sets that a classifier is shipped for. */
export const classifiedData = Object.keys(shippedClassifiers) as readonly ClassifiedData[];
