/** @file Options of measuring sets of images: metrics, features, what images are compared with. */
import { choice, flag, options, text, texts, whole } from '../../engine/train/options.ts';
import { EXTRACTOR_NAMES } from '../../eval/features/find.ts';
import { SCALES } from '../../eval/features/inputs.ts';
import type { Group } from '../config.ts';

/** How features come about: of whatever computes them. */
export const featureOptions = options({
  extractor: text(
    'auto',
    `network that gives the features: ${EXTRACTOR_NAMES.join(', ')}, an .onnx file, or the folder of a DINOv2, CLIP or SigLIP; auto: the classifier of a data set that has one, else the best that is there`,
  ),
  weights: text('', 'file with the weights of the extractor; of the FID Inception .pth, .safetensors or .onnx'),
  acceptWeights: flag(
    false,
    'go on where the checksum of the weights is another, or where a file does not say which network gave its features',
  ),
  tap: text('', 'which of its values are the features: an output or any value inside of an .onnx file'),
  scale: text('', `what the network of an .onnx file wants pixels to be: ${Object.keys(SCALES).join(', ')}`),
  resize: text(
    '',
    'rule by which pictures get the size that the network takes: pytorch, tf1 or clean for the FID Inception, for others a resizer such as pil_uint8_lanczos; none: they have it',
  ),
  workers: whole(0, 'threads that decode pictures and compute features; 0 for one a core', { min: 0, max: 1024 }),
  cache: text('', 'folder where features are kept, so that the same images are not computed again; none: nowhere'),
  unreadable: choice(['fail', 'skip'], 'fail', 'what happens to an image that cannot be read'),
});
export const featureGroup: Group<typeof featureOptions> = { where: 'features', schema: featureOptions };

/** What is measured. */
export const measureOptions = options({
  metrics: texts([], 'what is measured, such as frechet,kid,prdc'),
  features: text('', 'an .onnx file that gives the features'),
  clip: text('', 'folder of the CLIP of clip-score and cmmd; or a number: bound of what a teacher says at every step, 0 for none'),
  captions: text('', 'captions of the generated images, one a line (.txt), or .json, .jsonl; default: those beside the images'),
  floor: flag(true, 'measure the reference against itself too, half against half'),
});
export const measureGroup: Group<typeof measureOptions> = { where: 'evaluate', schema: measureOptions };

/** Of `onestep features`. */
const featuresOptions = options({ n: whole(0, 'images, from the first; samples of a model; 0 for all, and 5,000 of a model', { min: 0 }) });
export const featuresGroup: Group<typeof featuresOptions> = { where: 'features', schema: featuresOptions };
