/** @file What a finished student is fed with. Pure: the same in Node and in a page. */
import { type HostTensor, int64 } from '../engine/run/runtime.ts';
import { sampleNoise } from './noise.ts';

/** What a student takes. */
export interface StudentInputs {
  /** Of a sample, without the batch axis. */
  readonly shape: readonly number[];
  /** 0 without classes. */
  readonly classes: number;
  /** Shape of the noise, where it is that of a latent and not of a sample. */
  readonly latent?: readonly number[];
  /** Noise inputs: `noise`, and `noise1`, … for the later calls of a student of several steps that draws anew. */
  readonly noises: number;
}

/** Name of the input for the noise of the k-th call. */
export const noiseName = (k: number): string => (k === 0 ? 'noise' : `noise${k}`);

/** Inputs for samples `first` … `first` + count − 1 of a seed: sample i depends on (seed, i) alone. @param labels classes of these samples, count of them */
export function studentFeeds(
  { shape, latent = shape, classes, noises }: StudentInputs,
  {
    seed,
    first,
    count,
    labels,
  }: { readonly seed: number; readonly first: number; readonly count: number; readonly labels: ArrayLike<number> | null },
): Record<string, HostTensor> {
  const feeds: Record<string, HostTensor> = {};
  for (let k = 0; k < noises; k++) feeds[noiseName(k)] = sampleNoise([count, ...latent], seed, k, first);
  if (labels && classes > 0) feeds['label'] = int64(BigInt64Array.from(labels as ArrayLike<number> & Iterable<number>, BigInt), [count]);
  return feeds;
}
