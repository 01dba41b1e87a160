/** @file What a training step draws: the same values as the engine's trainer, from (seed, step, name, sample). */
import { fillIndex, fillNormal, fillUniform, streamKey } from '../engine/random/philox.ts';
import { float32, type HostTensor } from '../engine/run/runtime.ts';

/** One declared draw. */
export interface DrawSpec {
  readonly name: string;
  readonly kind: 'normal' | 'uniform' | 'condition';
  readonly shape: readonly number[];
  /** Classes that conditions are drawn from; all without. */
  readonly classes?: readonly number[];
}

/** The values of a draw at a 0-based step. */
export function drawn({ name, kind, shape, classes }: DrawSpec, seed: number, step: number): HostTensor {
  const key = streamKey(seed, step, name);
  const data = new Float32Array(shape.reduce((n, d) => n * d, 1));
  const perSample = data.length / (shape[0] ?? 1);
  if (kind === 'normal') fillNormal(data, key, perSample);
  else if (kind === 'uniform') fillUniform(data, key, perSample);
  else {
    const [n, width] = shape as readonly [number, number];
    const among = classes ?? Array.from({ length: width }, (_, c) => c);
    const picked = new Int32Array(n);
    fillIndex(picked, key, 1, among.length);
    picked.forEach((p, i) => {
      data[i * width + among[p]!] = 1;
    });
  }
  return float32(data, shape);
}
