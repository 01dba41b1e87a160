/** @file Features that were computed before, by what they depend on: the images' bytes, the network, the rule of resizing. */
import { mkdir } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { sha256 } from '../../engine/io/atomic.ts';
import { InputError } from '../../engine/io/errors.ts';
import { fileFailure } from '../../engine/io/failures.ts';
import { fromFloat32, readSafetensors, type StoredTensor, toFloat32, writeSafetensors } from '../../engine/io/safetensors.ts';
import type { LeftOut, ShardFeatures } from '../pipeline/extract.ts';
import type { ExtractorFacts } from './extractor.ts';

/** Changes where the same bytes, network and rule come to give other features. */
const FORMAT = 1;

export interface FeatureCache {
  readonly folder: string;
  /** What is kept of a shard; null where nothing is, or where it is damaged. */
  read(key: string): Promise<ShardFeatures | null>;
  /** Keeps a shard. Where the disk refuses, `problem` says so, and nothing more is kept. */
  write(key: string, shard: ShardFeatures): Promise<void>;
  /** Why nothing is kept any more, in a line; null where all is well. */
  problem(): string | null;
}

/** `$ONESTEP_CACHE`, else `onestep` in the user's folder for caches. */
export const cacheFolder = (environment: NodeJS.ProcessEnv = process.env): string =>
  environment['ONESTEP_CACHE'] || join(environment['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'onestep');

/** Same key, same features: the name tells the taps of one network. @param digest of the shard's images, see `shardDigest` */
export const shardKey = (
  digest: string,
  { name, checksum, resize }: Pick<ExtractorFacts, 'name' | 'checksum' | 'resize'>,
  decoding: object,
): string => sha256(JSON.stringify([FORMAT, digest, name, checksum, resize, decoding]));

const matrix = (tensor: StoredTensor | undefined): Float32Array | null => (tensor?.shape.length === 2 ? toFloat32(tensor) : null);

/** Features in `folder`/features, one file a shard. The folder is made with the first. */
export function openFeatureCache(folder: string = cacheFolder()): FeatureCache {
  const pathOf = (key: string): string => join(folder, 'features', key.slice(0, 2), `${key}.safetensors`);
  const failures: string[] = [];
  return {
    folder,
    async read(key) {
      try {
        const { tensors, metadata } = await readSafetensors(pathOf(key));
        const features = matrix(tensors.get('features'));
        const { left, size } = JSON.parse(metadata['onestep'] ?? '') as { left: readonly LeftOut[]; size: string };
        return features && { features, logits: matrix(tensors.get('logits')), left, size };
      } catch {
        return null; // missing, or cut off: it is computed again
      }
    },
    async write(key, { features, logits, left, size }) {
      if (failures.length > 0) return;
      const path = pathOf(key);
      try {
        await mkdir(dirname(path), { recursive: true }).catch((error: unknown) => {
          throw fileFailure('write', dirname(path), error);
        });
        const facts = { onestep: JSON.stringify({ left, size }) };
        await writeSafetensors(path, { features: flat(features), ...(logits ? { logits: flat(logits) } : {}) }, facts);
      } catch (error) {
        if (!(error instanceof InputError)) throw error;
        failures.push(`cache: ${error.message}; the evaluation goes on without it`);
      }
    },
    problem: () => failures[0] ?? null,
  };
}

/** Rows are not needed: the network says how long they are. */
const flat = (values: Float32Array): StoredTensor => fromFloat32(values, [1, values.length]);
