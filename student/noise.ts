/** @file The noise of samples: a function of seed, step, name and sample, whoever draws it. Pure, so that a page in a browser draws the same. */
import { fillNormal, fillUniform, streamKey } from '../engine/random/philox.ts';
import { float32, type HostTensor } from '../engine/run/runtime.ts';

/**
 * The noise of a student's k-th call for samples `first`, `first` + 1, …: unit normal, shaped [count, …sample]. The first call starts from it; later
 * ones are made noisy with it. A finished student is fed the same, so that it gives the same samples.
 */
export const sampleNoise = (shape: readonly number[], seed: number, k: number, first: number): HostTensor =>
  sampleDraw('normal', k === 0 ? 'z' : 'fresh', shape, seed, k, first);

/** What a sampler draws under a name at a step, counted from 1; shaped [count, …]. */
export function sampleDraw(
  kind: 'normal' | 'uniform',
  name: string,
  shape: readonly number[],
  seed: number,
  step: number,
  first: number,
): HostTensor {
  const data = new Float32Array(shape.reduce((a, b) => a * b, 1));
  (kind === 'normal' ? fillNormal : fillUniform)(data, streamKey(seed, step, `sample/${name}`), data.length / shape[0]!, first);
  return float32(data, shape);
}
