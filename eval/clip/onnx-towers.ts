/** @file Towers that somebody exported as ONNX files: one for images, one for texts, or one file of both. */
import { InputError } from '../../engine/io/errors.ts';
import { fileFailure } from '../../engine/io/failures.ts';
import { loadModel } from '../../engine/run/ort.ts';
import { type Executable, type Feeds, float32, type HostTensor, int64 } from '../../engine/run/runtime.ts';
import type { Tower } from './tower.ts';
import { access } from 'node:fs/promises';

/** What the exporters call the features, best first. */
const OUTPUTS = {
  image: ['image_embeds', 'image_features', 'image_embedding', 'pooler_output', 'features'],
  text: ['text_embeds', 'text_features', 'text_embedding', 'pooler_output', 'features'],
} as const;
export type Side = keyof typeof OUTPUTS;

export interface OnnxSizes {
  readonly imageSize: number;
  readonly context: number;
}

const firstLine = (error: unknown): string => (error as Error).message.split('\n')[0]!.slice(0, 300);

async function load(path: string, threads: number): Promise<Executable> {
  await access(path).catch((error: unknown) => {
    throw fileFailure('read', path, error);
  });
  return loadModel(path, { threads }).catch((error: unknown) => {
    throw new InputError(`${path}: ONNX Runtime cannot load it: ${firstLine(error)}`);
  });
}

/** One sample of zeros for an input, by its name and type. */
function blank(path: string, name: string, dtype: string, { imageSize, context }: OnnxSizes): HostTensor {
  if (dtype === 'float32') return float32(new Float32Array(3 * imageSize ** 2), [1, 3, imageSize, imageSize]);
  if (dtype === 'int64') return int64(new BigInt64Array(context).fill(name.includes('mask') ? 1n : 0n), [1, context]);
  throw new InputError(`${path}: input ${name} is of ${dtype}; pixels in float32 and tokens in int64 are supported`);
}

function outputOf(path: string, side: Side, outputs: Readonly<Record<string, HostTensor>>): string {
  const flat = Object.entries(outputs).filter(([, { shape, dtype }]) => shape.length === 2 && dtype === 'float32');
  const found = OUTPUTS[side].find((name) => flat.some(([key]) => key === name)) ?? (flat.length === 1 ? flat[0]![0] : undefined);
  if (found === undefined)
    throw new InputError(
      `${path}: outputs ${Object.keys(outputs).join(', ')}; one of ${OUTPUTS[side].join(', ')} expected, float32 [N, features]`,
    );
  return found;
}

/**
 * A tower from a file. Inputs of the other side, in a file of both, are fed one sample of zeros.
 * Feeds are named `pixels`, or `ids` and `mask`.
 * @throws InputError where the file is none of ONNX, or its inputs and outputs are not those of a tower
 */
export async function openOnnxTower(path: string, side: Side, threads: number, sizes: OnnxSizes): Promise<Tower> {
  const model = await load(path, threads);
  const blanks = Object.fromEntries(model.inputs.map(({ name, dtype }) => [name, blank(path, name, dtype, sizes)]));
  const role = (name: string): string => (blanks[name]!.dtype === 'float32' ? 'pixels' : /mask/.test(name) ? 'mask' : 'ids');
  const wanted = side === 'image' ? 'pixels' : 'ids';
  if (!model.inputs.some(({ name }) => role(name) === wanted))
    throw new InputError(
      `${path}: inputs ${model.inputs.map((i) => i.name).join(', ')}; none of them takes ${side === 'image' ? 'pixels' : 'tokens'}`,
    );
  const feedsOf = (feeds: Feeds): Feeds => Object.fromEntries(model.inputs.map(({ name }) => [name, feeds[role(name)] ?? blanks[name]!]));
  const run = async (feeds: Feeds): Promise<Readonly<Record<string, HostTensor>>> =>
    model.run(feedsOf(feeds)).catch((error: unknown) => {
      throw new InputError(`${path}: ONNX Runtime cannot run it: ${firstLine(error)}`);
    });
  const probe = await run({});
  const output = outputOf(path, side, probe);
  return {
    dimensions: probe[output]!.shape[1]!,
    run: async (feeds) => (await run(feeds))[output]!.data as Float32Array,
    close: () => model.close(),
  };
}
