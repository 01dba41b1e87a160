/** @file Which image ends a worker: each one of a shard by itself. */
import { InputError } from '../../engine/io/errors.ts';
import type { ShardFeatures } from './extract.ts';
import type { Shard } from './shard.ts';

/** Some of the images of a shard. */
const part = (shard: Shard, keep: (index: number) => boolean): Shard => ({
  bytes: shard.bytes,
  items: shard.items.filter((_, i) => keep(i)),
  labels: shard.labels.filter((_, i) => keep(i)),
  captions: shard.captions.filter((_, i) => keep(i)),
});

/**
 * The features of a shard that ended its worker twice, without the images that do.
 * @param attempt features, or why the worker ended
 * @throws InputError that names the first such image, unless `skip`; or all images, where each by itself is harmless
 */
export async function culprits(
  shard: Shard,
  attempt: (shard: Shard) => Promise<ShardFeatures | string>,
  why: string,
  skip: boolean,
): Promise<ShardFeatures> {
  const ended = new Map<number, string>();
  for (const [i, { name }] of shard.items.entries()) {
    const result = await attempt(part(shard, (index) => index === i));
    if (typeof result !== 'string') continue;
    if (!skip)
      throw new InputError(
        `${name}: ends the worker that decodes it (${result}), also at a second try; remove it, or leave it out with --unreadable skip`,
      );
    ended.set(i, `${name}: ends the worker that decodes it (${result})`);
  }
  const rest = part(shard, (index) => !ended.has(index));
  const result = ended.size > 0 && rest.items.length > 0 ? await attempt(rest) : why;
  if (typeof result === 'string' && rest.items.length > 0) {
    const [from, to] = [shard.items[0]!.name, shard.items.at(-1)!.name];
    throw new InputError(
      `images: the worker ends with ${from} to ${to} together (${result}); give fewer --workers, which need less memory`,
    );
  }
  return withPlaces(shard, ended, typeof result === 'string' ? null : result);
}

/** Puts the places of the whole shard into the result of the rest. */
function withPlaces(shard: Shard, ended: ReadonlyMap<number, string>, rest: ShardFeatures | null): ShardFeatures {
  const places = [...shard.items.keys()].filter((i) => !ended.has(i));
  const left = [
    ...[...ended].map(([index, why]) => ({ index, why })),
    ...(rest?.left ?? []).map(({ index, why }) => ({ index: places[index]!, why })),
  ];
  return {
    features: rest?.features ?? new Float32Array(0),
    logits: rest?.logits ?? null,
    left: left.toSorted((a, b) => a.index - b.index),
    size: rest?.size ?? '',
  };
}
