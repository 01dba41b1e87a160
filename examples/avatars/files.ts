/** @file Weights on disk, and the teacher as a folder of diffusers: `model_index.json` and its parts under their own names. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { writeAtomic } from '../../engine/io/atomic.ts';
import { fromFloat32, readSafetensors, toFloat32, writeSafetensors } from '../../engine/io/safetensors.ts';
import type { Weights } from '../../engine/train/weights.ts';
import { AUTOENCODER } from './autoencoder.ts';
import { INDEX, SCHEDULER, TEXT_ENCODER, TOKENIZER, UNET } from './networks.ts';

export type Storage = 'F32' | 'F16';

export async function writeWeights(
  path: string,
  weights: Weights,
  metadata: Readonly<Record<string, string>> = {},
  dtype: Storage = 'F32',
): Promise<void> {
  const stored = [...weights].map(([name, { shape, data }]) => [name, fromFloat32(data, shape, dtype)] as const);
  await writeSafetensors(path, stored, { format: 'pt', ...metadata });
}
export async function readWeights(path: string): Promise<Weights> {
  const { tensors } = await readSafetensors(path);
  return new Map([...tensors].map(([name, tensor]) => [name, { shape: tensor.shape, data: toFloat32(tensor) }]));
}

const [BYTES, STEPS] = ['.bytes', '.steps'];
/** The same in float16, one matrix among them in bytes: each row in steps of 1/127 of its largest value, around 128. */
export async function writeWithBytes(path: string, weights: Weights, matrix: string): Promise<void> {
  const { shape, data } = weights.get(matrix)!;
  const [rows = 0, columns = 0] = shape;
  const steps = Float32Array.from({ length: rows }, (_, i) => {
    const row = data.subarray(i * columns, (i + 1) * columns);
    return row.reduce((most, v) => Math.max(most, Math.abs(v)), 1e-12) / 127;
  });
  const bytes = Uint8Array.from(data, (v, i) => 128 + Math.round(v / steps[Math.floor(i / columns)]!));
  const others = [...weights].filter(([name]) => name !== matrix).map(([name, w]) => [name, fromFloat32(w.data, w.shape, 'F16')] as const);
  const own = [[`${matrix}${BYTES}`, { dtype: 'U8', shape, bytes }] as const, [`${matrix}${STEPS}`, fromFloat32(steps, [rows])] as const];
  await writeSafetensors(path, [...others, ...own], { format: 'pt' });
}
/** Reads what `writeWithBytes` wrote. */
export async function readWithBytes(path: string): Promise<Weights> {
  const { tensors } = await readSafetensors(path);
  return new Map(
    [...tensors].flatMap(([name, tensor]) => {
      if (name.endsWith(STEPS)) return [];
      if (!name.endsWith(BYTES)) return [[name, { shape: tensor.shape, data: toFloat32(tensor) }] as const];
      const matrix = name.slice(0, -BYTES.length);
      const steps = toFloat32(tensors.get(`${matrix}${STEPS}`)!);
      const data = Float32Array.from(tensor.bytes, (v, i) => (v - 128) * steps[Math.floor(i / tensor.shape[1]!)]!);
      return [[matrix, { shape: tensor.shape, data }] as const];
    }),
  );
}

/** The weights whose names begin so, without that beginning. */
export const partOf = (weights: Weights, prefix: string): Weights =>
  new Map([...weights].flatMap(([name, weight]) => (name.startsWith(prefix) ? [[name.slice(prefix.length), weight] as const] : [])));

export interface PipelineParts {
  /** Under `unet.` and `text.`. */
  readonly teacher: Weights;
  readonly autoencoder: Weights;
  /** One over the deviation of the autoencoder's latents. */
  readonly scale: number;
}
/** Writes the folder, `model_index.json` last. */
export async function writePipeline(folder: string, { teacher, autoencoder, scale }: PipelineParts, dtype: Storage = 'F32'): Promise<void> {
  const json = async (part: string, name: string, value: unknown): Promise<void> => {
    await mkdir(join(folder, part), { recursive: true });
    await writeAtomic(join(folder, part, name), `${JSON.stringify(value, null, 1)}\n`);
  };
  const weights = (part: string, name: string, values: Weights) => writeWeights(join(folder, part, name), values, {}, dtype);
  await json('vae', 'config.json', { ...AUTOENCODER, scaling_factor: scale });
  await weights('vae', 'diffusion_pytorch_model.safetensors', autoencoder);
  await json('unet', 'config.json', UNET);
  await weights('unet', 'diffusion_pytorch_model.safetensors', partOf(teacher, 'unet.'));
  await json('text_encoder', 'config.json', TEXT_ENCODER);
  await weights('text_encoder', 'model.safetensors', partOf(teacher, 'text.'));
  for (const [name, value] of Object.entries(TOKENIZER)) await json('tokenizer', name, value);
  await json('scheduler', 'scheduler_config.json', SCHEDULER);
  await json('.', 'model_index.json', INDEX);
}
