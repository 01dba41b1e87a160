/** @file Latents into images and back, by the autoencoder of a model's pipeline. */
import { join } from 'node:path';
import { input } from '../../engine/graph/ops/leaf.ts';
import type { Tensor } from '../../engine/graph/tensor.ts';
import { type Compute, runtimeFor } from '../../engine/run/devices.ts';
import { type Executable, float32 } from '../../engine/run/runtime.ts';
import { constantScope } from '../../engine/train/weights.ts';
import { type LoadedAutoencoder, loadAutoencoder } from '../../models/foreign/diffusers/folder.ts';
import type { Model, ModelCard } from './model.ts';

/** The shape of what people look at: the image that a latent stands for, or the sample itself. */
export const imageShape = ({ image, sample }: Pick<ModelCard, 'image' | 'sample'>): readonly number[] => image ?? sample.shape;

/** Where the autoencoder of a model is. */
const folderOf = ({ folder }: Pick<Model, 'folder'>): string => join(folder!, 'vae');
export const autoencoderOf = (model: Pick<Model, 'folder'>): Promise<LoadedAutoencoder> => loadAutoencoder(folderOf(model));
/** Latents [N, …sample] into images, by constants of the graph. */
export const decoderOf = ({ decode, weights }: LoadedAutoencoder): ((latent: Tensor) => Tensor) => {
  const scope = constantScope(weights);
  return (latent) => decode(scope, latent);
};

export interface Latents {
  /** [n, …sample] → [n, …image] in about −1…1. */
  decode(latents: Float32Array): Promise<Float32Array>;
  /** The reverse; of a posterior the mean. */
  encode(images: Float32Array): Promise<Float32Array>;
  close(): Promise<void>;
}

/** Images that pass through the autoencoder at once: its maps are as large as the images. */
const AT_ONCE = 4;
/** The autoencoder of a latent model; each half is loaded when it is first needed. Errors: InputError as `loadAutoencoder`. */
export function openLatents({ card, folder }: Pick<Model, 'card' | 'folder'>, compute: Compute = {}): Latents {
  const [latent, image] = [card.sample.shape, imageShape(card)];
  const opened = new Map<'decode' | 'encode', Promise<Executable>>();
  const open = async (half: 'decode' | 'encode'): Promise<Executable> => {
    const autoencoder = await autoencoderOf({ folder: folder! });
    const from = input('x', ['N', ...(half === 'decode' ? latent : image)]);
    const y = autoencoder[half](constantScope(autoencoder.weights), from);
    const runtime = runtimeFor(compute);
    return (await runtime.compile({ half: { outputs: { y }, updates: new Map() } }, runtime.state({})))['half']!;
  };
  const through = async (half: 'decode' | 'encode', data: Float32Array): Promise<Float32Array> => {
    if (!opened.has(half)) opened.set(half, open(half));
    const executable = await opened.get(half)!;
    const shapes = half === 'decode' ? [latent, image] : [image, latent];
    return inParts(executable, data, shapes as [readonly number[], readonly number[]]);
  };
  return {
    decode: (latents) => through('decode', latents),
    encode: (images) => through('encode', images),
    async close() {
      for (const each of opened.values()) await (await each).close();
    },
  };
}

async function inParts(
  executable: Executable,
  data: Float32Array,
  [from, to]: readonly [readonly number[], readonly number[]],
): Promise<Float32Array> {
  const [inside, outside] = [from, to].map((shape) => shape.reduce((a, b) => a * b, 1)) as [number, number];
  const n = data.length / inside;
  const out = new Float32Array(n * outside);
  for (let first = 0; first < n; first += AT_ONCE) {
    const count = Math.min(AT_ONCE, n - first);
    const x = float32(data.subarray(first * inside, (first + count) * inside), [count, ...from]);
    out.set((await executable.run({ x }))['y']!.data as Float32Array, first * outside);
  }
  return out;
}
