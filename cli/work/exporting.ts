/** @file Writes a student as an ONNX file: noise and label in, image out, any batch size. */

import { toOnnx } from '../../engine/graph/onnx.ts';
import { clamp, mul } from '../../engine/graph/ops/elementwise.ts';
import { constant, input } from '../../engine/graph/ops/leaf.ts';
import { oneHot } from '../../engine/graph/ops/select.ts';
import { simplify } from '../../engine/graph/simplify.ts';
import { writeAtomic } from '../../engine/io/atomic.ts';
import { InputError } from '../../engine/io/errors.ts';
import type { Draw } from '../../engine/train/loss.ts';
import { constantScope } from '../../engine/train/weights.ts';
import { partOf } from '../../models/experts.ts';
import { sampler } from '../../samplers/index.ts';
import { unroll } from '../../samplers/unroll.ts';
import { openGenerator } from './generator.ts';
import { builderOf, type Model } from './model.ts';
import { evenLabels } from './scores.ts';
import { openStudentFile } from './student-file.ts';

/** Type in which weights are stored in the file. */
export type Storage = 'float32' | 'float16';

/** The bytes of the ONNX file. Inputs: `noise` [N,…] (unit normal), `noise1`, … for the later steps of a few-step student, `label` [N] int64. Output: `image` in [−1, 1]. */
export function studentOnnx(model: Model, storage: Storage = 'float32'): Uint8Array {
  const { card } = model;
  if (!card.levels)
    throw new InputError(
      `export: ${model.source} is a teacher, which needs a sampler; distil it first (onestep distill dmd2 --teacher ${model.source})`,
    );
  return write(model, { start: 0, end: card.levels.length }, storage);
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
  const { experts: routes, ...card } = model.card;
  if (!routes || !card.levels) throw new InputError(`export: ${model.source} is one network, without experts; leave out --separate`);
  const levels = card.levels;
  return routes.map((route, i) => {
    const expert = { ...model, card, weights: partOf(model.weights, i) };
    if ('classes' in route) return write(expert, { start: 0, end: levels.length }, storage);
    const before = i === 0 ? Number.POSITIVE_INFINITY : (routes[i - 1] as typeof route).above;
    const own = levels.flatMap((level, k) => (level > route.above && level <= before ? [k] : []));
    return write(expert, { start: own[0]!, end: own.at(-1)! + 1 }, storage);
  });
}

function write(model: Model, { start: from, end: to }: Stretch, storage: Storage): Uint8Array {
  const { card } = model;
  const levels = card.levels!;
  const network = builderOf(card)(constantScope(model.weights));
  const shape = ['N', ...card.sample.shape] as const;
  const condition = card.sample.classes > 0 ? { label: oneHot(input('label', ['N'], 'int64'), card.sample.classes) } : {};
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
  const [name, value] = to === levels.length ? (['image', clamp(end, -1, 1)] as const) : (['x', end] as const);
  const metadata = {
    method: card.method,
    teacher: card.teacher ?? '',
    classes: String(card.sample.classes),
    levels: levels.slice(from, to).join(' '),
    data: card.data,
    seed: String(card.seed),
    step: String(card.step),
    normalisation: 'pixels are (byte / 127.5) - 1; output is clamped to [-1, 1]',
    noise: from === 0 ? `unit normal; multiplied by ${levels[0]} inside` : `none; x is a sample at the level ${levels[from]}`,
    licence: card.licence,
  };
  return toOnnx({ [name]: simplify([value])[0]! }, { target: 'any', storage, metadata });
}

/** Writes the file. Errors as in `studentOnnx`, and where it cannot be written. */
export const exportStudent = async (model: Model, path: string, storage: Storage = 'float32'): Promise<void> =>
  writeAtomic(path, studentOnnx(model, storage));

/** Writes a file for each expert, named after `path`. @returns their paths. Errors as in `expertsOnnx`, and where one cannot be written */
export async function exportExperts(model: Model, path: string, storage: Storage = 'float32'): Promise<readonly string[]> {
  const files = expertsOnnx(model, storage);
  const paths = files.map((_, i) => path.replace(/\.onnx$/, `-expert${i + 1}.onnx`));
  for (const [i, bytes] of files.entries()) await writeAtomic(paths[i]!, bytes);
  return paths;
}

/** How far the file's output may be from the engine's own, on a scale from -1 to 1: rounding of sums in float32. What rounding weights to float16 costs depends on the model. */
export const TOLERANCE: Readonly<Record<Storage, number>> = { float32: 1e-4, float16: Number.POSITIVE_INFINITY };
/** Samples that are compared. */
const COMPARED = 8;

export interface Comparison {
  readonly samples: number;
  readonly maxDifference: number;
}

/** Draws the same samples with the file and with the engine. @param onnx its path or its bytes */
export async function compareExport(model: Model, onnx: string | Uint8Array, { seed = 0, threads = 0 } = {}): Promise<Comparison> {
  const request = { labels: evenLabels(COMPARED, model.card.sample.classes), n: COMPARED, seed };
  const file = await openStudentFile(onnx, { threads });
  const own = openGenerator(model, { threads });
  try {
    const [a, b] = [await file.generator.generate(request), await own.generate(request)];
    const differences = a.map((v, i) => Math.abs(v - Math.min(1, Math.max(-1, b[i]!))));
    // A NaN anywhere comes out as NaN, which is below no tolerance.
    return { samples: COMPARED, maxDifference: differences.reduce((most, d) => (d <= most ? most : d), 0) };
  } finally {
    await file.generator.close();
    await own.close();
  }
}
