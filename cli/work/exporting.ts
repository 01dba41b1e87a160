/** @file Writes a student as an ONNX file: noise and label in, image out, any batch size. */

import { basename, dirname, join } from 'node:path';
import { roundToBlocks, SMALLEST } from '../../engine/graph/blocks.ts';
import { type ModelFiles, type Storage, toOnnxFiles } from '../../engine/graph/onnx.ts';
import { clamp, mul } from '../../engine/graph/ops/elementwise.ts';
import { constant, input } from '../../engine/graph/ops/leaf.ts';
import { oneHot } from '../../engine/graph/ops/select.ts';
import { simplify } from '../../engine/graph/simplify.ts';
import type { Tensor } from '../../engine/graph/tensor.ts';
import { sha256, sha256Of, writeAtomic } from '../../engine/io/atomic.ts';
import { InputError } from '../../engine/io/errors.ts';
import type { Draw } from '../../engine/train/loss.ts';
import type { Scope } from '../../engine/train/network.ts';
import { resolve } from '../../engine/train/options.ts';
import { constantScope } from '../../engine/train/weights.ts';
import { partOf } from '../../models/experts.ts';
import { networkFamily } from '../../models/index.ts';
import { sampler } from '../../samplers/index.ts';
import { unroll } from '../../samplers/unroll.ts';
import { nullConditions } from './feeds.ts';
import { type Generator, openGenerator } from './generator.ts';
import { autoencoderOf, decoderOf } from './latents.ts';
import { builderOf, conditionOf, type Model, type ModelCard } from './model.ts';
import { evenLabels } from './scores.ts';
import { openStudentFile } from './student-file.ts';

export type { Storage } from '../../engine/graph/onnx.ts';
/** Bytes of weights above which they lie in a file of their own: ONNX Runtime reads no protocol buffer above 2 GB. */
export const EXTERNAL_BYTES = 1.8e9;
const BYTES: Readonly<Record<Storage, number>> = { float32: 4, float16: 2, int8: 1.125, int4: 0.625 };
/** What the file would weigh. */
const bytesOf = ({ weights }: Model, storage: Storage): number =>
  [...weights.values()].reduce((sum, { data }) => sum + data.length * BYTES[storage], 0);

/** The model as its file holds it: matrices and filters rounded to blocks of few bits. */
export function rounded(model: Model, storage: Storage): Model {
  if (storage !== 'int8' && storage !== 'int4') return model;
  const bits = storage === 'int8' ? 8 : 4;
  const weights = [...model.weights].map(([name, { shape, data }]) => {
    const large = shape.length >= 2 && data.length >= SMALLEST;
    return [name, { shape, data: large ? roundToBlocks(data, shape[0]!, bits) : data }] as const;
  });
  return { ...model, weights: new Map(weights) };
}

/** Latents into images, in the graph. */
type Decode = (latent: Tensor) => Tensor;
/** The decoder of a latent model, with its weights. */
export const decodeFor = async (model: Model): Promise<Decode | undefined> =>
  model.card.image ? decoderOf(await autoencoderOf(model)) : undefined;

/**
 * The bytes of the ONNX file. Inputs: `noise` [N,…] (unit normal), `noise1`, … for the later steps of a few-step student, `label` [N] int64, features of
 * texts by their names. Output: `image` in [−1, 1]; of a latent student without `decode` the `latent`.
 */
export const studentOnnx = (model: Model, storage: Storage = 'float32', decode?: Decode): Uint8Array =>
  studentFiles(model, storage, undefined, decode).model;

/** Errors: InputError for a teacher. */
export function requireStudent({ card, source }: Model): void {
  if (card.levels) return;
  throw new InputError(`export: ${source} is a teacher, which needs a sampler; distil it first (onestep distill dmd2 --teacher ${source})`);
}

/** The same with the weights in a file of the name `external` beside it. Errors as in `studentOnnx`. */
export function studentFiles(model: Model, storage: Storage, external?: string, decode?: Decode): ModelFiles {
  requireStudent(model);
  return write(model, { start: 0, end: model.card.levels!.length }, storage, { external, decode });
}

/** Levels of the card that a file is for, from the index `start` up to `end`. */
interface Stretch {
  readonly start: number;
  readonly end: number;
}

/**
 * The files of a student's experts by themselves. Of experts by class each is a student. Of experts by level each takes what the one before it gives:
 * `noise` the first, `x` the others, a sample at its highest level; it gives `x` at the level of the next one, the last one `image`.
 * Errors: the student is one network.
 */
export function expertsOnnx(model: Model, storage: Storage = 'float32'): readonly Uint8Array[] {
  return expertFiles(model, storage).map(({ model: bytes }) => bytes);
}
function expertFiles(model: Model, storage: Storage, external?: (i: number) => string, decode?: Decode): readonly ModelFiles[] {
  const { experts: routes, ...card } = model.card;
  if (!routes || !card.levels) throw new InputError(`export: ${model.source} is one network, without experts; leave out --separate`);
  const levels = card.levels;
  return routes.map((route, i) => {
    const expert = { ...model, card, weights: partOf(model.weights, i) };
    if ('classes' in route) return write(expert, { start: 0, end: levels.length }, storage, { external: external?.(i), decode });
    const before = i === 0 ? Number.POSITIVE_INFINITY : (routes[i - 1] as typeof route).above;
    const own = levels.flatMap((level, k) => (level > route.above && level <= before ? [k] : []));
    return write(expert, { start: own[0]!, end: own.at(-1)! + 1 }, storage, { external: external?.(i), decode });
  });
}

/** What a student makes of its inputs between two of its levels: `image` at the end, or the `latent` that stands for it; `x` before it. */
export function studentGraph(
  card: ModelCard,
  scope: Scope,
  { start: from, end: to }: Stretch = { start: 0, end: card.levels!.length },
  decode?: Decode,
): { readonly name: 'image' | 'latent' | 'x'; readonly value: Tensor } {
  const levels = card.levels!;
  const network = builderOf(card)(scope);
  const shape = ['N', ...card.sample.shape] as const;
  const { label: _label, ...told } = conditionOf(card.sample);
  const condition = { ...told, ...(card.sample.classes > 0 ? { label: oneHot(input('label', ['N'], 'int64'), card.sample.classes) } : {}) };
  let later = 0;
  const draw: Draw = {
    normal: (_name, like) => input(`noise${++later}`, like.shape),
    uniform: () => {
      throw new Error('internal: a student draws no uniforms');
    },
    condition: () => ({}),
  };
  const start = from === 0 ? mul(input('noise', shape), constant(levels[0]!)) : input('x', shape);
  const end = unroll(
    sampler('student', card.noise ? { noise: card.noise } : {}),
    (x, sigma) => network.denoise(x, sigma, condition),
    start,
    levels.slice(from, to),
    draw,
    levels[to] ?? 0,
  );
  if (to < levels.length) return { name: 'x', value: end };
  return card.image && !decode ? { name: 'latent', value: end } : { name: 'image', value: clamp(decode?.(end) ?? end, -1, 1) };
}

interface Ending {
  readonly external?: string | undefined;
  readonly decode?: Decode | undefined;
}
function write(given: Model, stretch: Stretch, storage: Storage, { external, decode }: Ending): ModelFiles {
  const model = rounded(given, storage);
  const { card } = model;
  const levels = card.levels!;
  const { start: from, end: to } = stretch;
  const { name, value } = studentGraph(card, constantScope(model.weights), stretch, decode);
  const metadata = {
    method: card.method,
    teacher: card.teacher ?? '',
    classes: String(card.sample.classes),
    levels: levels.slice(from, to).join(' '),
    ...(card.image && decode ? { image: card.image.join(' ') } : {}),
    ...(card.text ? { text: JSON.stringify(card.text) } : {}),
    data: card.data,
    seed: String(card.seed),
    step: String(card.step),
    normalisation: 'pixels are (byte / 127.5) - 1; output is clamped to [-1, 1]',
    noise: from === 0 ? `unit normal; multiplied by ${levels[0]} inside` : `none; x is a sample at the level ${levels[from]}`,
    licence: card.licence,
  };
  return toOnnxFiles({ [name]: simplify([value])[0]! }, { target: 'any', storage, metadata, ...(external ? { external } : {}) });
}

const dataName = (path: string): string => `${basename(path)}.data`;
export interface WrittenFile {
  readonly bytes: number;
  readonly sha256: string;
}
/** Files by their names, the model first. */
export type WrittenFiles = Readonly<Record<string, WrittenFile>>;

/** The weights first: a file that names others is complete when it is there. */
async function save(path: string, { model, external }: ModelFiles): Promise<WrittenFiles> {
  if (external.length > 0) await writeAtomic(join(dirname(path), dataName(path)), external);
  await writeAtomic(path, model);
  const bytes = external.reduce((n, piece) => n + piece.length, 0);
  return {
    [basename(path)]: { bytes: model.length, sha256: sha256(model) },
    ...(external.length > 0 ? { [dataName(path)]: { bytes, sha256: sha256Of(external) } } : {}),
  };
}

export interface Saved {
  /** The ONNX model, without what lies beside it. */
  readonly model: Uint8Array;
  readonly files: WrittenFiles;
}
export interface SaveOptions {
  readonly storage?: Storage;
  /** Puts the decoder of a latent student behind it; default: it is there. */
  readonly decoded?: boolean;
  /** Bytes of weights above which they lie in a file beside the model. */
  readonly limit?: number;
}
/** Writes the file, and `NAME.onnx.data` beside it where its weights take more than `limit` bytes. Errors as in `studentOnnx`, and where it cannot be written. */
export async function saveStudent(
  model: Model,
  path: string,
  { storage = 'float32', decoded = true, limit = EXTERNAL_BYTES }: SaveOptions = {},
): Promise<Saved> {
  const outside = bytesOf(model, storage) > limit ? dataName(path) : undefined;
  const made = studentFiles(model, storage, outside, decoded ? await decodeFor(model) : undefined);
  return { model: made.model, files: await save(path, made) };
}
/** `saveStudent` for those who want the file alone. */
export const exportStudent = async (model: Model, path: string, storage: Storage = 'float32', limit = EXTERNAL_BYTES): Promise<void> =>
  void (await saveStudent(model, path, { storage, limit }));

/** Writes a file for each expert, named after `path`. @returns their paths. Errors as in `expertsOnnx`, and where one cannot be written */
export async function exportExperts(model: Model, path: string, storage: Storage = 'float32'): Promise<readonly string[]> {
  const named = (i: number): string => path.replace(/\.onnx$/, `-expert${i + 1}.onnx`);
  const files = expertFiles(
    model,
    storage,
    bytesOf(model, storage) > EXTERNAL_BYTES ? (i) => dataName(named(i)) : undefined,
    await decodeFor(model),
  );
  for (const [i, file] of files.entries()) await save(named(i), file);
  return files.map((_, i) => named(i));
}

/** How far the file's output may be from the engine's own, on a scale from -1 to 1: rounding of sums in float32. What rounding weights costs depends on the model. */
export const TOLERANCE: Readonly<Record<Storage, number>> = {
  float32: 1e-4,
  float16: Number.POSITIVE_INFINITY,
  int8: Number.POSITIVE_INFINITY,
  int4: Number.POSITIVE_INFINITY,
};
/** The same for a model: where the network says the noise, what it says is multiplied by the level, and so is its rounding. */
export function toleranceFor({ card }: Model, storage: Storage): number {
  const { preconditioning } = resolve(card.network, networkFamily(card.network).options, card.networkOptions);
  return TOLERANCE[storage] * (BOUNDED.includes(preconditioning) ? 1 : Math.max(1, (card.levels?.[0] ?? 1) / 8));
}
/** Preconditionings whose network is scaled by a factor that is bounded in the level. */
const BOUNDED: readonly unknown[] = ['edm', 'sample', 'v', 'flow', 'trigflow'];

/** Samples that are compared. */
const COMPARED = 8;

export interface Comparison {
  readonly samples: number;
  readonly maxDifference: number;
  /** Square root of the mean squared difference. */
  readonly rmsDifference: number;
}

/** Draws the same samples with the file and with the engine. @param onnx its path or its bytes */
export async function compareExport(model: Model, onnx: string | Uint8Array, { seed = 0, threads = 0 } = {}): Promise<Comparison> {
  return compareWith(model, (await openStudentFile(onnx, { threads })).generator, { seed, threads });
}
/** The same with what is open already, and closed here. */
export const compareWith = (model: Model, file: Generator, { seed = 0, threads = 0 } = {}): Promise<Comparison> =>
  compare(file, openGenerator(model, { threads }), { model, seed, bound: 1 });

/** Draws the same samples with a model and with another of the same card: its weights as they were stored and read again. */
export const compareModels = (model: Model, stored: Model, { seed = 0, threads = 0 } = {}): Promise<Comparison> =>
  compare(openGenerator(stored, { threads }), openGenerator(model, { threads }), {
    model,
    seed,
    bound: Number.POSITIVE_INFINITY,
  });

/** Closes both. @param bound at which the first one's samples are cut off */
async function compare(
  file: Generator,
  own: Generator,
  { model, seed, bound }: { readonly model: Model; readonly seed: number; readonly bound: number },
): Promise<Comparison> {
  const { card, weights } = model;
  const request = { labels: evenLabels(COMPARED, card.sample.classes), n: COMPARED, seed, conditions: nullConditions(weights) };
  try {
    const [a, b] = [await file.generate(request), await own.generate(request)];
    const differences = a.map((v, i) => Math.abs(v - Math.min(bound, Math.max(-bound, b[i]!))));
    // A NaN anywhere comes out as NaN, which is below no tolerance.
    return {
      samples: COMPARED,
      maxDifference: differences.reduce((most, d) => (d <= most ? most : d), 0),
      rmsDifference: Math.sqrt(differences.reduce((sum, d) => sum + d * d, 0) / differences.length),
    };
  } finally {
    await file.close();
    await own.close();
  }
}
