/** @file Features computed by worker threads: a source of images in, one set of features out, whose bits do not depend on how many threads there are. */
import { availableParallelism } from 'node:os';
import { InputError } from '../engine/io/errors.ts';
import { workerEntry } from '../engine/io/threads.ts';
import { endOf } from './answer.ts';
import { type FeatureCache, shardKey } from './features/cache.ts';
import type { ExtractorFacts, ExtractorSpec } from './features/extractor.ts';
import { collector } from './pipeline/collect.ts';
import type { LeftOut, ShardFeatures } from './pipeline/extract.ts';
import { inOrder } from './pipeline/in-order.ts';
import { culprits } from './pipeline/isolate.ts';
import { type Shard, shardDigest, shardsOf } from './pipeline/shard.ts';
import type { ImageSource } from './sources/source.ts';
import { openThreads, type Stop } from './threads.ts';
import type { Described, ExtractTask } from './worker.ts';

export interface PoolOptions {
  /** Threads, each with a session of one thread; default: one a core. */
  readonly threads?: number;
  /** Gives way to whatever else runs, such as a training. */
  readonly low?: boolean;
  /** Milliseconds that a thread has to come to the end of a batch when it should stop, before it is ended; default 30,000. */
  readonly patience?: number;
}
export interface ExtractOptions {
  /** What to do with an image that cannot be read; default: fail. */
  readonly unreadable?: 'fail' | 'skip';
  readonly cache?: FeatureCache | null;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: ExtractProgress) => void;
}
export interface ExtractProgress {
  readonly done: number;
  /** Null where only the end of the source tells. */
  readonly n: number | null;
  /** Out of the cache. */
  readonly cached: number;
  readonly imagesPerSecond: number;
  /** Null where it is not known. */
  readonly secondsLeft: number | null;
}
export interface ExtractedSet {
  readonly facts: ExtractorFacts;
  readonly n: number;
  /** [n, dimensions] */
  readonly features: Float32Array;
  /** [n, classes]; null where the network does not classify. */
  readonly logits: Float32Array | null;
  /** Null where not every image has one. */
  readonly labels: Int32Array | null;
  readonly captions: readonly string[] | null;
  /** Of each kept image, its place in the source. */
  readonly places: readonly number[];
  /** Images that were left out: their places in the source, and why. */
  readonly left: readonly LeftOut[];
  /** How many of the images came out of the cache. */
  readonly cached: number;
}
export interface FeaturePool {
  /** Opens an extractor in a worker. @throws InputError where it cannot be opened */
  describe(spec: ExtractorSpec): Promise<ExtractorFacts>;
  /**
   * Features of all images of a source, in their order; the same bits whatever the number of threads.
   * @throws InputError for unreadable images unless they are skipped, for images that the network does not take and for those that end a worker; the signal's reason
   */
  extract(source: ImageSource, spec: ExtractorSpec, options?: ExtractOptions): Promise<ExtractedSet>;
  close(): Promise<void>;
}

/** Shards that wait beside those at work. */
const AHEAD = 2;

/**
 * Starts threads as they are needed. Close the pool when done.
 * @throws InputError for a number of threads below 1
 */
export function openPool({ threads = availableParallelism(), ...how }: PoolOptions = {}): FeaturePool {
  if (!Number.isInteger(threads) || threads < 1) throw new InputError(`pool: ${threads} threads; a whole number of at least 1 expected`);
  const pool = openThreads(workerEntry(import.meta.url, 'worker'), { threads, ...how });
  const describe = (spec: ExtractorSpec): Promise<Described> => pool.run('describe', { spec }, pool.stopping());
  const extract = async (source: ImageSource, spec: ExtractorSpec, options: ExtractOptions, stop: Stop): Promise<ExtractedSet> => {
    const { shard: size, ...facts } = await describe(spec);
    const { unreadable = 'fail', signal, cache = null } = options;
    const skip = unreadable === 'skip';
    const task = (shard: Shard): ExtractTask => ({ spec, items: shard.items, bytes: shard.bytes, decoding: source.decoding, skip });
    const run = (part: Shard): Promise<ShardFeatures> => pool.run('extract', task(part), stop);
    const compute = (shard: Shard): Promise<ShardFeatures> => surviving(shard, run, { skip, signal });
    const found = collector(source, facts, options);
    const results = inOrder(shardsOf(source.items(), size, skip), threads + AHEAD, async (shard) => {
      signal?.throwIfAborted();
      return { shard, ...(await cached(shard, facts, source, cache, compute)) };
    });
    for await (const { shard, result, hit } of results) {
      signal?.throwIfAborted();
      found.add(shard, result, hit);
    }
    return found.result();
  };
  return {
    async describe(spec) {
      const { shard: _, ...facts } = await describe(spec);
      return facts;
    },
    async extract(source, spec, options = {}) {
      const { signal } = options;
      const stop = pool.stopping();
      signal?.addEventListener('abort', stop.stop);
      try {
        return await extract(source, spec, options, stop);
      } finally {
        signal?.removeEventListener('abort', stop.stop);
        stop.stop(); // the other shards, after a mistake in one
      }
    },
    close: () => pool.close(),
  };
}

/** Out of the cache, or computed and kept. */
async function cached(
  shard: Shard,
  facts: ExtractorFacts,
  { decoding }: ImageSource,
  cache: FeatureCache | null,
  compute: (shard: Shard) => Promise<ShardFeatures>,
): Promise<{ readonly result: ShardFeatures; readonly hit: boolean }> {
  if (!cache) return { result: await compute(shard), hit: false };
  const { skipBad: _, ...how } = decoding;
  const key = shardKey(shardDigest(shard), facts, how);
  const kept = await cache.read(key);
  if (kept && kept.features.length === (shard.items.length - kept.left.length) * facts.dimensions) return { result: kept, hit: true };
  const result = await compute(shard);
  await cache.write(key, result);
  return { result, hit: false };
}

/** A worker that ends is replaced, and the shard is tried once more; then the images that end it are found one by one. */
async function surviving(
  shard: Shard,
  run: (shard: Shard) => Promise<ShardFeatures>,
  { skip, signal }: { readonly skip: boolean; readonly signal: AbortSignal | undefined },
): Promise<ShardFeatures> {
  const attempt = async (part: Shard): Promise<ShardFeatures | string> => {
    try {
      return await run(part);
    } catch (error) {
      signal?.throwIfAborted();
      const why = endOf(error);
      if (why === null) throw error;
      return why;
    }
  };
  const [first] = [await attempt(shard)];
  if (typeof first !== 'string') return first;
  const second = await attempt(shard);
  return typeof second === 'string' ? culprits(shard, attempt, second, skip) : second;
}
