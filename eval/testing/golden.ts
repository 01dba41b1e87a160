/** @file Stored feature sets and the numbers that other tools give for them. */
import { readFileSync } from 'node:fs';
import { readSafetensors, type StoredTensor, toFloat32 } from '../../engine/io/safetensors.ts';
import { goldenPath } from '../../engine/testing/golden.ts';

export interface GoldenSet {
  readonly real: Float32Array;
  readonly fake: Float32Array;
  readonly d: number;
}

/** Null where the collection is not there; then its tests are skipped. */
// biome-ignore lint/suspicious/noExplicitAny: what a file holds is seen by the test that fails on it
export const goldenJson = (name: string): any => {
  const path = goldenPath(name);
  return path ? JSON.parse(readFileSync(path, 'utf8')) : null;
};

export async function goldenTensors(name: string): Promise<ReadonlyMap<string, StoredTensor>> {
  const path = goldenPath(name);
  return path ? (await readSafetensors(path)).tensors : new Map();
}

/** All sets of features by name; none where the collection is not there. */
export async function goldenSets(): Promise<ReadonlyMap<string, GoldenSet>> {
  const tensors = await goldenTensors('metrics/features.safetensors');
  const names = [...tensors.keys()].filter((name) => name.endsWith('.real')).map((name) => name.slice(0, -5));
  return new Map(
    names.map((name) => {
      const [real, fake] = [tensors.get(`${name}.real`)!, tensors.get(`${name}.fake`)!];
      return [name, { real: toFloat32(real), fake: toFloat32(fake), d: real.shape[1]! }];
    }),
  );
}
