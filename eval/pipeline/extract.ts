/** @file What a worker thread does with a shard: decode, resize, run the network batch by batch. */
import { InputError } from '../../engine/io/errors.ts';
import type { Extraction, PictureExtractor, Prepared } from '../features/extractor.ts';
import { type DecodeOptions, decodeLoaded } from '../sources/source.ts';
import type { Shard, ShardItem } from './shard.ts';

/** An image that was left out, by its place in the shard, and why. */
export interface LeftOut {
  readonly index: number;
  readonly why: string;
}
export interface ShardFeatures extends Extraction {
  readonly left: readonly LeftOut[];
  /** Size of the first picture as the network saw it, `HEIGHTxWIDTH`; empty where there is none. */
  readonly size: string;
}
export interface ShardTask extends Pick<Shard, 'items' | 'bytes'> {
  readonly decoding: DecodeOptions;
  /** Leave images out that cannot be decoded. */
  readonly skip: boolean;
}

type Decoded = { readonly prepared: Prepared } | { readonly why: string };

async function decode(task: ShardTask, item: ShardItem, extractor: PictureExtractor): Promise<Decoded> {
  try {
    if (item.unread !== null) throw new InputError(item.unread);
    const bytes = task.bytes.slice(item.begin, item.end); // decoders take no shared memory
    const loaded = item.form ? { ...item.form, pixels: bytes } : bytes;
    const picture = await decodeLoaded(loaded, item.name, { ...task.decoding, channels: extractor.channels });
    return { prepared: sized(item, extractor, picture) };
  } catch (error) {
    // A picture of the wrong size is readable: leaving it out would hide a mistake.
    if (!(error instanceof InputError) || !task.skip || error instanceof SizeError) throw error;
    return { why: error.message };
  }
}

/** A picture that the network does not take. */
class SizeError extends InputError {}

function sized({ name }: ShardItem, extractor: PictureExtractor, picture: Parameters<PictureExtractor['prepare']>[0]): Prepared {
  try {
    return extractor.prepare(picture);
  } catch (error) {
    throw error instanceof InputError ? new SizeError(`${name}: ${error.message}`) : error;
  }
}

const sizeOf = ({ shape: [, height, width] }: Prepared): string => `${height}x${width}`;

/**
 * Features of the images of a shard that can be decoded.
 * @param between is called before every batch; what it throws ends the work
 * @throws InputError for the first that cannot, unless `skip`, and for pictures of several sizes
 */
export async function extractShard(task: ShardTask, extractor: PictureExtractor, between = (): void => {}): Promise<ShardFeatures> {
  const { items } = task;
  const features = new Float32Array(items.length * extractor.dimensions);
  const logits = extractor.classes > 0 ? new Float32Array(items.length * extractor.classes) : null;
  const left: LeftOut[] = [];
  let [done, first]: [number, { readonly size: string; readonly name: string } | null] = [0, null];
  const decodeFrom = (from: number): Promise<Decoded[]> => {
    const decoding = Promise.all(items.slice(from, from + extractor.batch).map((item) => decode(task, item, extractor)));
    decoding.catch(() => {}); // it is thrown where it is waited for
    return decoding;
  };
  let next = decodeFrom(0);
  for (let from = 0; from < items.length; from += extractor.batch) {
    const decoded = await next;
    between();
    // The next batch is decoded by other threads while the network runs.
    next = decodeFrom(from + extractor.batch);
    const good: Prepared[] = [];
    for (const [i, one] of decoded.entries()) {
      if ('why' in one) {
        left.push({ index: from + i, why: one.why });
        continue;
      }
      const { name } = items[from + i]!;
      first ??= { size: sizeOf(one.prepared), name };
      if (sizeOf(one.prepared) !== first.size)
        throw new InputError(
          `images: of several sizes: ${first.name} is ${first.size}, ${name} is ${sizeOf(one.prepared)}; give one size, or a rule with --resize`,
        );
      good.push(one.prepared);
    }
    if (good.length === 0) continue;
    const out = await extractor.run(joined(good), good.length, good[0]!.shape);
    features.set(out.features, done * extractor.dimensions);
    if (logits && out.logits) logits.set(out.logits, done * extractor.classes);
    done += good.length;
  }
  return {
    features: features.slice(0, done * extractor.dimensions),
    logits: logits?.slice(0, done * extractor.classes) ?? null,
    left,
    size: first?.size ?? '',
  };
}

function joined(prepared: readonly Prepared[]): Float32Array {
  const each = prepared[0]!.values.length;
  const out = new Float32Array(prepared.length * each);
  prepared.forEach(({ values }, i) => {
    out.set(values, i * each);
  });
  return out;
}
