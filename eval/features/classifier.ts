/** @file Features of the shipped classifiers, run by ONNX Runtime. */
import { artifactPath } from '../../data/artifacts.ts';
import { toFloat } from '../../data/bytes.ts';
import { toOnnx } from '../../engine/graph/onnx.ts';
import { input } from '../../engine/graph/ops/leaf.ts';
import { simplify } from '../../engine/graph/simplify.ts';
import { sha256 } from '../../engine/io/atomic.ts';
import { InputError } from '../../engine/io/errors.ts';
import { encodeSafetensors, fromFloat32, readSafetensors, toFloat32 } from '../../engine/io/safetensors.ts';
import { loadModel } from '../../engine/run/ort.ts';
import { type Executable, float32 } from '../../engine/run/runtime.ts';
import { constantScope, type Weights } from '../../engine/train/weights.ts';
import { classifier } from '../../models/classifier.ts';
import type { Extraction, Extractor } from './extractor.ts';
import { type ClassifiedData, type ShippedClassifier, shippedClassifiers } from './shipped.ts';

/** Images in one run of the network: enough to fill it, few enough to stay in the cache. */
const BATCH = 250;

export interface ClassifierExtractorOptions {
  /** Threads inside one operation; default 1. */
  readonly threads?: number;
  /** Weights other than the shipped ones. */
  readonly weights?: Weights;
}

/** The weights of a shipped classifier by name, and what is said of them. */
export async function classifierWeights(data: ClassifiedData): Promise<{
  readonly weights: Weights;
  readonly metadata: Readonly<Record<string, string>>;
}> {
  const { tensors, metadata } = await readSafetensors(artifactPath(shippedClassifiers[data].file));
  return { weights: new Map([...tensors].map(([name, t]) => [name, { shape: t.shape, data: toFloat32(t) }])), metadata };
}

/** It takes floats too. */
export interface ClassifierExtractor extends Extractor {
  /** values [n,1,size,size], -1..1 */
  run(values: Float32Array, n: number): Promise<Extraction>;
}

const checksumOf = (weights: Weights): string =>
  sha256(encodeSafetensors([...weights].map(([name, { shape, data }]) => [name, fromFloat32(data, shape)] as const)));

/**
 * The hidden layer (features) and the logits of the classifier of a data set, for square grey images.
 * @throws InputError where the shipped weights are missing or do not fit
 */
export async function classifierExtractor(
  data: ClassifiedData,
  { threads = 1, weights }: ClassifierExtractorOptions = {},
): Promise<ClassifierExtractor> {
  const shipped: ShippedClassifier = shippedClassifiers[data];
  const used = weights ?? (await classifierWeights(data)).weights;
  const { features, logits } = classifier(constantScope(used), shipped.network)(input('images', ['N', 1, shipped.size, shipped.size]));
  const [simpleFeatures, simpleLogits] = simplify([features, logits]);
  const model = await loadModel(toOnnx({ features: simpleFeatures!, logits: simpleLogits! }, { target: 'cpu' }), { threads });
  return {
    name: shipped.name,
    checksum: checksumOf(used),
    dimensions: shipped.network.features,
    features: (images, n) => extract(model, shipped, images, n),
    run: (values, n) => run(model, shipped, values, n),
    close: () => model.close(),
  };
}

async function extract(model: Executable, { name, network, size }: ShippedClassifier, images: Uint8Array, n: number): Promise<Extraction> {
  const pixels = size * size;
  if (images.length !== n * pixels)
    throw new InputError(`${name}: ${images.length} bytes for ${n} images; it takes images of ${size}x${size}x1, ${n * pixels} bytes`);
  const features = new Float32Array(n * network.features);
  const logits = new Float32Array(n * network.classes);
  for (let from = 0; from < n; from += BATCH) {
    const rows = Math.min(BATCH, n - from);
    const batch = toFloat(images.subarray(from * pixels, (from + rows) * pixels));
    const out = await run(model, { size }, batch, rows);
    features.set(out.features, from * network.features);
    logits.set(out.logits!, from * network.classes);
  }
  return { features, logits };
}

async function run(model: Executable, { size }: Pick<ShippedClassifier, 'size'>, values: Float32Array, n: number): Promise<Extraction> {
  const out = await model.run({ images: float32(values, [n, 1, size, size]) });
  return { features: out['features']!.data as Float32Array, logits: out['logits']!.data as Float32Array };
}
