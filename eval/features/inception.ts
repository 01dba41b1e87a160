/** @file The FID Inception as an extractor, with the resizing and the scaling of the tools whose numbers people quote. */
import { toOnnx } from '../../engine/graph/onnx.ts';
import { add, mul } from '../../engine/graph/ops/elementwise.ts';
import { input } from '../../engine/graph/ops/leaf.ts';
import type { Tensor } from '../../engine/graph/tensor.ts';
import { InputError } from '../../engine/io/errors.ts';
import { openSafetensors } from '../../engine/io/safetensors.ts';
import { openTorch } from '../../engine/io/torch.ts';
import { loadModel } from '../../engine/run/ort.ts';
import { type Executable, float32 } from '../../engine/run/runtime.ts';
import { checkWeights, constantScope, recordingScope, type Weights } from '../../engine/train/weights.ts';
import { readInceptionOnnx } from '../../models/foreign/inception-onnx.ts';
import { readWeightsOf } from '../../models/foreign/hf-weights.ts';
import { INCEPTION_CLASSES, INCEPTION_SIZE, INCEPTION_TAPS, inception, type InceptionTap } from '../../models/foreign/inception.ts';
import { type Resizer, resizerNamed } from '../resize/index.ts';
import type { Extraction, Extractor } from './extractor.ts';
import { inceptionWeights } from './weights-cache.ts';

interface Convention {
  /** Rule of resizing to 299×299, by its name in `eval/resize`. */
  readonly resize: string;
  /** Bytes 0..255 to the network's −1..1: factor and what is added after it. */
  readonly scale: readonly [factor: number, offset: number];
  /** Whether the logits of its Inception Score have their bias. */
  readonly bias: boolean;
}
/** pytorch-fid 0.3: `interpolate` bilinear, 2·x/255 − 1. torch-fidelity 0.4: TensorFlow 1's bilinear, (x − 128)/128. clean-fid 0.1: Pillow's bicubic on floats. */
const CONVENTIONS = {
  'pytorch-fid': { resize: 'torch_bilinear', scale: [2 / 255, -1], bias: true },
  'torch-fidelity': { resize: 'tf1_bilinear', scale: [1 / 128, -1], bias: false },
  'clean-fid': { resize: 'pil_float_bicubic', scale: [1 / 128, -1], bias: true },
} as const satisfies Readonly<Record<string, Convention>>;
export type InceptionConvention = keyof typeof CONVENTIONS;
export const INCEPTION_CONVENTIONS = Object.keys(CONVENTIONS) as readonly InceptionConvention[];
/** What it is called with the published weights; Fréchet distances of its 2,048 features are called FID. */
export const INCEPTION_NAME = 'FID Inception';
export { INCEPTION_TAPS, type InceptionTap };

export interface InceptionOptions {
  /** File of the weights (.pth, .pt, .safetensors, .onnx), or null to look for it; see `inceptionWeights`. */
  readonly weights?: string | null;
  /** Weights of another checksum than the published file's are welcome. Default false. */
  readonly acceptWeights?: boolean;
  /** Default 2048. */
  readonly tap?: InceptionTap;
  /** Default pytorch-fid. */
  readonly convention?: InceptionConvention;
  /** Another rule of resizing than the convention's, or `none`: then images must all be of one size, which goes into the network as it is. */
  readonly resize?: string | null;
  /** Threads inside one operation; default 1. */
  readonly threads?: number;
}

/** Pixels [height, width, 3], 0..255. */
export interface InceptionPicture {
  readonly pixels: Uint8Array;
  readonly height: number;
  readonly width: number;
}
type Shape3 = readonly [channels: number, height: number, width: number];

/** The open network. Pictures are prepared one by one and run in batches. */
export interface InceptionNetwork {
  readonly name: string;
  /** SHA-256 of the file of weights and of what was made of it: distances compare only within one checksum. */
  readonly checksum: string;
  /** Whether the weights are the published file, byte for byte. */
  readonly published: boolean;
  readonly dimensions: InceptionTap;
  /** 1008, or 0 where a tap before the last has none, and with weights without a classifier. */
  readonly classes: number;
  /** Rule of resizing and scaling. */
  readonly resize: string;
  readonly channels: 3;
  /** Pictures in one run, at most. */
  readonly batch: number;
  readonly shard: number;
  /** Resized, channels first, 0..255 in floats. */
  prepare(picture: InceptionPicture): { readonly values: Float32Array; readonly shape: Shape3 };
  /** values [n, …shape] as `prepare` gives them. @throws InputError for images smaller than the network takes */
  run(values: Float32Array, n: number, shape: Shape3): Promise<Extraction>;
  close(): Promise<void>;
}

/** Measured on one thread: 55 ms an image of 299×299 in batches of 8, 57 of 16, 59 of 32, 86 alone. */
const BATCH = 8;
const SHARD = 64;
/** What the taps need at least. */
const SMALLEST: Readonly<Record<InceptionTap, number>> = { 64: 11, 192: 27, 768: 43, 2048: 75 };

/**
 * The weights of a file by name, without what training counted. Of an ONNX file that ends at the features those of the classifier are not there.
 * @throws InputError where it cannot be read or is no network of this kind
 */
export async function readInceptionWeights(path: string): Promise<Weights> {
  const weights = path.endsWith('.onnx') ? await readInceptionOnnx(path) : await readNamed(path);
  const { scope, declared } = recordingScope('inception');
  const network = inception(scope, input('images', ['N', 3, INCEPTION_SIZE, INCEPTION_SIZE]));
  if (path.endsWith('.onnx') && !weights.has(CLASSIFIER)) network.features(2048);
  else network.logits();
  checkWeights(path, declared.values(), weights);
  return weights;
}
const CLASSIFIER = 'fc.weight';

async function readNamed(path: string): Promise<Weights> {
  const file = await (path.endsWith('.safetensors') ? openSafetensors(path) : openTorch(path));
  return readWeightsOf(file, (name) => !name.endsWith('num_batches_tracked')).finally(() => file.close());
}

function checkOptions({ tap = 2048, convention = 'pytorch-fid' }: InceptionOptions): readonly [InceptionTap, Convention] {
  if (!INCEPTION_TAPS.includes(tap))
    throw new InputError(`tap: ${tap} is none of the Inception's; one of ${INCEPTION_TAPS.join(', ')} expected`);
  if (!Object.hasOwn(CONVENTIONS, convention))
    throw new InputError(`convention: there is no '${convention}'; one of ${INCEPTION_CONVENTIONS.join(', ')} expected`);
  return [tap, CONVENTIONS[convention]];
}

/** Images [N,3,H,W] of 0..255 → features and, at the last tap, logits. */
function compile(weights: Weights, tap: InceptionTap, { scale, bias }: Convention, [, h, w]: Shape3, threads: number): Promise<Executable> {
  const images = input('images', ['N', 3, h, w]);
  const net = inception(constantScope(weights), add(mul(images, scale[0]), scale[1]));
  const outputs: Record<string, Tensor> = {
    features: net.features(tap),
    ...(tap === 2048 && weights.has(CLASSIFIER) ? { logits: net.logits(bias) } : {}),
  };
  // ONNX Runtime folds the normalisations into the filters.
  return loadModel(toOnnx(outputs, { target: 'cpu' }), { threads });
}

/** Resizers by the size of the picture; they keep their weights. */
function preparer(rule: string): InceptionNetwork['prepare'] {
  const resizers = new Map<string, Resizer<Uint8Array, Uint8Array | Float32Array>>();
  const side = INCEPTION_SIZE;
  return ({ pixels, height, width }) => {
    const same = rule === 'none' || (height === side && width === side);
    const key = `${height}x${width}`;
    const resizer = same ? null : (resizers.get(key) ?? resizerNamed(rule, { from: [height, width], to: [side, side], channels: 3 }));
    if (resizer) {
      if (resizers.size > 16) resizers.clear();
      resizers.set(key, resizer);
    }
    const shape: Shape3 = same ? [3, height, width] : [3, side, side];
    return { values: channelsFirst(resizer ? resizer(pixels) : pixels, shape[1] * shape[2]), shape };
  };
}
function channelsFirst(pixels: Uint8Array | Float32Array, area: number): Float32Array {
  if (pixels.length !== 3 * area) throw new InputError(`inception: ${pixels.length} values in a picture of ${area} pixels of 3 channels`);
  const out = new Float32Array(3 * area);
  for (let i = 0, j = 0; i < area; i++) {
    out[i] = pixels[j++]!;
    out[i + area] = pixels[j++]!;
    out[i + 2 * area] = pixels[j++]!;
  }
  return out;
}

/**
 * Opens the network on weights that are found as `inceptionWeights` says.
 * @throws InputError for weights that are missing, of another checksum or of another network, and for unknown options
 */
export async function openInception(options: InceptionOptions = {}): Promise<InceptionNetwork> {
  const { weights = null, acceptWeights = false, convention = 'pytorch-fid', threads = 1 } = options;
  const [tap, rules] = checkOptions(options);
  const rule = options.resize ?? rules.resize;
  if (rule !== 'none') resizerNamed(rule, { from: [1, 1], to: [1, 1], channels: 3 }); // refuses unknown names
  const found = await inceptionWeights(weights, { accept: acceptWeights });
  const values = await readInceptionWeights(found.path);
  const models = new Map<string, Promise<Executable>>();
  const modelFor = (shape: Shape3): Promise<Executable> => {
    const key = shape.join();
    const model = models.get(key) ?? compile(values, tap, rules, shape, threads);
    models.set(key, model);
    return model;
  };
  return {
    name: found.published ? INCEPTION_NAME : `${INCEPTION_NAME} (weights ${found.sha256.slice(0, 8)})`,
    checksum: found.sha256,
    published: found.published,
    dimensions: tap,
    classes: tap === 2048 && values.has(CLASSIFIER) ? INCEPTION_CLASSES : 0,
    resize: `${rule}, ${convention} range`,
    channels: 3,
    batch: BATCH,
    shard: SHARD,
    prepare: preparer(rule),
    async run(images, n, shape) {
      const smallest = SMALLEST[tap];
      if (shape[1] < smallest || shape[2] < smallest)
        throw new InputError(
          `inception: images of ${shape[2]}x${shape[1]}; tap ${tap} needs ${smallest}x${smallest} at least, without a rule of resizing`,
        );
      const { features, logits } = await (await modelFor(shape)).run({ images: float32(images, [n, ...shape]) });
      return { features: features!.data as Float32Array, logits: (logits?.data as Float32Array | undefined) ?? null };
    },
    async close() {
      for (const model of models.values()) await (await model).close();
    },
  };
}

/**
 * The network on sets of images in bytes [n,C,H,W], C 3 or 1 (grey ones count three times).
 * @throws InputError as `openInception`, and for other channels
 */
export async function inceptionExtractor(options: InceptionOptions & { readonly sample: Shape3 }): Promise<Extractor> {
  const [channels, height, width] = options.sample;
  if (channels !== 1 && channels !== 3) throw new InputError(`inception: images of ${channels} channels; 3 or 1 expected`);
  const network = await openInception(options);
  const area = height * width;
  const pictureOf = (images: Uint8Array, i: number): InceptionPicture => {
    const pixels = new Uint8Array(3 * area);
    const from = i * channels * area;
    for (let c = 0; c < 3; c++) for (let j = 0; j < area; j++) pixels[3 * j + c] = images[from + (channels === 1 ? 0 : c * area) + j]!;
    return { pixels, height, width };
  };
  return {
    name: network.name,
    checksum: network.checksum,
    dimensions: network.dimensions,
    async features(images, n) {
      if (images.length !== n * channels * area)
        throw new InputError(
          `${network.name}: ${images.length} bytes for ${n} images of [${options.sample}]; ${n * channels * area} bytes expected`,
        );
      const features = new Float32Array(n * network.dimensions);
      const logits = network.classes > 0 ? new Float32Array(n * network.classes) : null;
      for (let from = 0; from < n; from += network.batch) {
        const rows = Math.min(network.batch, n - from);
        const prepared = Array.from({ length: rows }, (_, i) => network.prepare(pictureOf(images, from + i)));
        const { shape, values } = prepared[0]!;
        const batch = new Float32Array(rows * values.length);
        for (const [i, one] of prepared.entries()) batch.set(one.values, i * values.length);
        const part = await network.run(batch, rows, shape);
        features.set(part.features, from * network.dimensions);
        logits?.set(part.logits!, from * network.classes);
      }
      return { features, logits };
    },
    close: () => network.close(),
  };
}
