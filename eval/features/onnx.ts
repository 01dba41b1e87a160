/** @file Any ONNX file as an extractor: pictures into its one image input, features out of an output or of any value inside. */
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { sha256 } from '../../engine/io/atomic.ts';
import { InputError } from '../../engine/io/errors.ts';
import { fileFailure } from '../../engine/io/failures.ts';
import { loadModel } from '../../engine/run/ort.ts';
import { type Executable, float32, type HostTensor } from '../../engine/run/runtime.ts';
import { type OnnxInput, onnxFacts, parseOnnx, withOutput } from '../../models/foreign/onnx-taps.ts';
import type { Extraction, PictureExtractor, Prepared } from './extractor.ts';
import { AS_THEY_ARE, preparer, ruleOf, SCALES, type ScaleName } from './inputs.ts';

export interface OnnxOptions {
  readonly path: string;
  /** An output, or a value inside; null for the only output. */
  readonly tap: string | null;
  readonly resize: string | null;
  /** What the network wants values of pixels to be. */
  readonly scale: string;
  /** What its features are called; null for the file's name and the tap. */
  readonly name?: string | null;
}

/** How the input is laid out. */
interface Layout {
  readonly name: string;
  readonly channels: 1 | 3;
  /** Null for any size. */
  readonly side: number | null;
  /** Channels last, as TensorFlow has them. */
  readonly last: boolean;
  /** Images in a run, where the file fixes it. */
  readonly batch: number | null;
}

/** Of a network that takes any size, where no rule gives one: it is asked once for the size of its features. */
const PROBE_SIDE = 224;
const BATCH = 16;
const SHARD = 128;

function layoutOf(path: string, inputs: readonly OnnxInput[]): Layout {
  const said = inputs.map(({ name, shape, float }) => `${name} ${float ? 'float32' : 'other'}[${shape.map((d) => d ?? '?').join(',')}]`);
  const [image] = inputs;
  if (inputs.length !== 1 || !image?.float || image.shape.length !== 4)
    throw new InputError(
      `${path}: takes ${said.join(', ') || 'nothing'}; one input of images, float32 [N,C,H,W] or [N,H,W,C], expected of an extractor`,
    );
  const [batch, second, third, fourth] = image.shape as [number | null, number | null, number | null, number | null];
  const isChannels = (d: number | null): d is 1 | 3 => d === 1 || d === 3;
  const last = !isChannels(second) && isChannels(fourth);
  const channels = last ? fourth : second;
  const [height, width] = last ? [second, third] : [third, fourth];
  if (!isChannels(channels)) throw new InputError(`${path}: takes ${said[0]}, and no size in it is 1 or 3 channels; images expected`);
  if (height !== width) throw new InputError(`${path}: takes ${said[0]}; images that are square expected`);
  return { name: image.name, channels, side: height, last, batch };
}

/** Rows of features out of an output: [N, d], or maps [N, C, H, W], of which each one's mean is taken. */
function rowsOf(path: string, tap: string, tensor: HostTensor | undefined, n: number, last: boolean): Float32Array {
  const shape = tensor?.shape ?? [];
  if (tensor?.dtype !== 'float32' || shape[0] !== n || (shape.length !== 2 && shape.length !== 4))
    throw new InputError(
      `${path}: ${tap} is ${tensor?.dtype}[${shape}] for ${n} images; float32 [N, features], or maps of them, expected: tap another value with --tap`,
    );
  const data = tensor.data as Float32Array;
  const rest = shape.slice(2).reduce((a, b) => a * b, 1);
  if (rest === 1) return data;
  const [channels, area] = last ? [shape[3]!, shape[1]! * shape[2]!] : [shape[1]!, rest];
  return Float32Array.from({ length: n * channels }, (_, row) => {
    const [i, c] = [Math.floor(row / channels), row % channels];
    let sum = 0;
    for (let k = 0; k < area; k++) sum += data[i * area * channels + (last ? k * channels + c : c * area + k)]!;
    return sum / area;
  });
}

function channelsLast(values: Float32Array, n: number, channels: number): Float32Array {
  const area = values.length / n / channels;
  const out = new Float32Array(values.length);
  for (let i = 0; i < n; i++)
    for (let c = 0; c < channels; c++)
      for (let k = 0; k < area; k++) out[(i * area + k) * channels + c] = values[(i * channels + c) * area + k]!;
  return out;
}

async function load(path: string, file: string | Uint8Array): Promise<Executable> {
  return loadModel(file, { threads: 1 }).catch((error: unknown) => {
    const why = (error as Error).message.split('\n')[0]!.slice(0, 300);
    throw new InputError(`${path}: ONNX Runtime cannot load it: ${why}`);
  });
}

function tapOf(path: string, tap: string | null, outputs: readonly string[]): string {
  if (tap !== null) return tap;
  if (outputs.length === 1) return outputs[0]!;
  throw new InputError(`${path}: gives ${outputs.join(', ')}; name the one that is features with --tap`);
}

/** @throws InputError where the file is none of ONNX, takes no images or has no such value */
export async function openOnnx({ path, tap, resize, scale, name: called = null }: OnnxOptions): Promise<PictureExtractor> {
  if (!Object.hasOwn(SCALES, scale))
    throw new InputError(`scale: '${scale}' is not one of ${Object.keys(SCALES).join(', ')}, what the network wants pixels to be`);
  const bytes = await readFile(path).catch((error: unknown) => {
    throw fileFailure('read', path, error);
  });
  const parsed = parseOnnx(bytes, path);
  const { inputs, outputs } = onnxFacts(parsed);
  const layout = layoutOf(path, inputs);
  const name = tapOf(path, tap, outputs);
  const rule = resize ?? AS_THEY_ARE;
  const prepare = preparer({ channels: layout.channels, side: layout.side, resize: rule, scale: scale as ScaleName });
  // By its path, where weights may lie beside it.
  const model = await load(path, outputs.includes(name) ? path : withOutput(parsed, name, path));
  const run = (values: Float32Array, n: number, shape: Prepared['shape']): Promise<Extraction> =>
    runRows(model, { path, name, layout }, values, n, shape);
  const side = ruleOf(rule, layout.side).side ?? PROBE_SIDE;
  const probe: Prepared['shape'] = [layout.channels, side, side];
  const { features } = await run(new Float32Array(layout.channels * side * side), 1, probe);
  return {
    name: called ?? `${basename(path)}, ${name}`,
    checksum: sha256(bytes),
    dimensions: features.length,
    classes: 0,
    resize: `${rule}, ${scale}`,
    channels: layout.channels,
    batch: Math.min(BATCH, layout.batch ?? BATCH),
    shard: SHARD,
    prepare,
    run,
    close: () => model.close(),
  };
}

async function runRows(
  model: Executable,
  { path, name, layout }: { readonly path: string; readonly name: string; readonly layout: Layout },
  values: Float32Array,
  n: number,
  [channels, height, width]: Prepared['shape'],
): Promise<Extraction> {
  // A file of a fixed batch gets blank images to fill it.
  const rows = Math.max(n, layout.batch ?? n);
  const each = channels * height * width;
  const filled = rows === n ? values : Float32Array.from({ length: rows * each }, (_, i) => values[i] ?? 0);
  const [data, shape] = layout.last
    ? [channelsLast(filled, rows, channels), [rows, height, width, channels]]
    : [filled, [rows, channels, height, width]];
  const out = await model.run({ [layout.name]: float32(data, shape) }).catch((error: unknown) => {
    const why = (error as Error).message.split('\n')[0]!.slice(0, 300);
    throw new InputError(`${path}: ONNX Runtime cannot run it on images of ${height}x${width}: ${why}`);
  });
  const features = rowsOf(path, name, out[name], rows, layout.last);
  return { features: features.subarray(0, (features.length / rows) * n), logits: null };
}
