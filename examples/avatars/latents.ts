/** @file Drawings as the latents of the autoencoder and back, encoded once and kept. */
import { input } from '../../engine/graph/ops/leaf.ts';
import type { Tensor } from '../../engine/graph/tensor.ts';
import { ortRuntime } from '../../engine/run/ort.ts';
import { float32 } from '../../engine/run/runtime.ts';
import { constantScope, type Weights } from '../../engine/train/weights.ts';
import { autoencoderKL } from '../../models/foreign/diffusers/autoencoder-kl.ts';
import { autoencoderConfig, LATENT } from './autoencoder.ts';
import { SIZE } from './drawings.ts';
import { LATENT_SIZE } from './teacher.ts';

const [IMAGE, CODE] = [
  [3, SIZE, SIZE],
  [LATENT.channels, LATENT.side, LATENT.side],
] as const;
const AT_ONCE = 64;

async function through(
  x: Float32Array,
  shape: readonly number[],
  size: number,
  build: (x: Tensor) => Tensor,
  threads: number,
): Promise<Float32Array> {
  const runtime = ortRuntime({ threads });
  const each = shape.reduce((a, b) => a * b, 1);
  const y = build(input('x', ['N', ...shape]));
  const { program } = await runtime.compile({ program: { outputs: { y }, updates: new Map() } }, runtime.state({}));
  const n = x.length / each;
  const out = new Float32Array(n * size);
  for (let first = 0; first < n; first += AT_ONCE) {
    const count = Math.min(AT_ONCE, n - first);
    const part = float32(x.slice(first * each, (first + count) * each), [count, ...shape]);
    out.set((await program!.run({ x: part }))['y']!.data as Float32Array, first * size);
  }
  await program!.close();
  return out;
}

const network = (weights: Weights) => autoencoderKL(constantScope(weights), autoencoderConfig());
/** Images [n,3,32,32] in −1…1 → the means of their latents [n,4,8,8], not scaled. */
export const encode = (weights: Weights, images: Float32Array, threads = 1): Promise<Float32Array> =>
  through(images, IMAGE, LATENT_SIZE, (x) => network(weights).encode(x).mean, threads);
/** The reverse. */
export const decode = (weights: Weights, latents: Float32Array, threads = 1): Promise<Float32Array> =>
  through(latents, CODE, 3 * SIZE * SIZE, (x) => network(weights).decode(x), threads);

/** One over the standard deviation of all values. */
export function scaleOf(values: Float32Array): number {
  let [sum, squares] = [0, 0];
  for (const v of values) {
    sum += v;
    squares += v * v;
  }
  return 1 / Math.sqrt(squares / values.length - (sum / values.length) ** 2);
}
