/** @file Puts the features of shards together, with the labels and captions of the images that were kept, and tells how it goes on. */
import { InputError } from '../../engine/io/errors.ts';
import type { ExtractorFacts } from '../features/extractor.ts';
import type { ExtractedSet, ExtractOptions } from '../pool.ts';
import type { ImageSource } from '../sources/source.ts';
import type { LeftOut, ShardFeatures } from './extract.ts';
import type { Shard } from './shard.ts';

export interface Collector {
  /** Shards in their order. @throws InputError for images of several sizes, and for unreadable ones unless they are skipped */
  add(shard: Shard, result: ShardFeatures, hit: boolean): void;
  result(): ExtractedSet;
}

/** Memory that grows; no larger at once where its size is known. */
function growing(length: number | null): { push(values: Float32Array): void; result(): Float32Array } {
  let [memory, used] = [new Float32Array(length ?? 0), 0];
  return {
    push(values) {
      if (used + values.length > memory.length) {
        const larger = new Float32Array(Math.max(2 * memory.length, used + values.length));
        larger.set(memory.subarray(0, used));
        memory = larger;
      }
      memory.set(values, used);
      used += values.length;
    },
    result: () => (used === memory.length ? memory : memory.slice(0, used)),
  };
}

export function collector(source: ImageSource, facts: ExtractorFacts, { unreadable = 'fail', onProgress }: ExtractOptions): Collector {
  const { dimensions, classes } = facts;
  const whole = (each: number): number | null => source.count && source.count * each;
  const [features, logits] = [growing(whole(dimensions)), growing(whole(classes))];
  const [labels, captions]: [(number | null)[], (string | null)[]] = [[], []];
  const [places, left]: [number[], LeftOut[]] = [[], []];
  const counts = { done: 0, cached: 0 };
  const start = performance.now();
  let first: { readonly size: string; readonly name: string } | null = null;
  const tell = (): void => {
    const fresh = counts.done - counts.cached;
    const imagesPerSecond = (1000 * (fresh || counts.done)) / Math.max(1, performance.now() - start);
    const secondsLeft = source.count === null ? null : (source.count - counts.done) / imagesPerSecond;
    onProgress?.({ ...counts, n: source.count, imagesPerSecond, secondsLeft });
  };
  return {
    add(shard, result, hit) {
      if (unreadable === 'fail' && result.left.length > 0) throw new InputError(result.left[0]!.why);
      const out = new Set(result.left.map(({ index }) => index));
      const kept = [...shard.items.keys()].filter((i) => !out.has(i));
      if (kept.length > 0) {
        first ??= { size: result.size, name: shard.items[kept[0]!]!.name };
        if (result.size !== first.size)
          throw new InputError(
            `images: of several sizes: ${first.name} is ${first.size}, ${shard.items[kept[0]!]!.name} is ${result.size}; give one size, or a rule with --resize`,
          );
      }
      features.push(result.features);
      if (result.logits) logits.push(result.logits);
      labels.push(...kept.map((i) => shard.labels[i]!));
      captions.push(...kept.map((i) => shard.captions[i]!));
      places.push(...kept.map((i) => counts.done + i));
      left.push(...result.left.map(({ index, why }) => ({ index: counts.done + index, why })));
      counts.done += shard.items.length;
      if (hit) counts.cached += shard.items.length;
      tell();
    },
    result() {
      const n = labels.length;
      if (n === 0)
        throw new InputError(`images: ${source.name}: none of ${counts.done} could be read (${left[0]?.why ?? 'there are none'})`);
      const all = <T>(values: readonly (T | null)[]): readonly T[] | null => (values.includes(null) ? null : (values as readonly T[]));
      const numbers = all(labels);
      return {
        facts,
        n,
        features: features.result(),
        logits: classes > 0 ? logits.result() : null,
        labels: numbers && Int32Array.from(numbers),
        captions: all(captions),
        places,
        left,
        cached: counts.cached,
      };
    },
  };
}
