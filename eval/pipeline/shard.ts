/** @file Cuts a source into shards: some images each, as they are stored, in memory that threads share without a copy. */
import { createHash } from 'node:crypto';
import { InputError } from '../../engine/io/errors.ts';
import type { Item, StoredPixels } from '../sources/container.ts';

/** One image of a shard. */
export interface ShardItem {
  /** For messages. */
  readonly name: string;
  /** Of its bytes in the shard. */
  readonly begin: number;
  readonly end: number;
  /** Of pixels; null for an encoded image. */
  readonly form: Omit<StoredPixels, 'pixels'> | null;
  /** Why it could not even be read; null where it could. */
  readonly unread: string | null;
}
export interface Shard {
  readonly items: readonly ShardItem[];
  /** In shared memory. */
  readonly bytes: Uint8Array;
  /** Of each item. */
  readonly labels: readonly (number | null)[];
  readonly captions: readonly (string | null)[];
}

/** Images that are read side by side. */
const WAVE = 16;
/** A shard ends where it would become larger. */
const MAX_BYTES = 2 ** 28;

interface Loaded {
  readonly item: Item;
  readonly value: Uint8Array | StoredPixels | null;
  readonly unread: string | null;
}

async function load(item: Item, skip: boolean): Promise<Loaded> {
  try {
    return { item, value: await item.load(), unread: null };
  } catch (error) {
    if (!skip || !(error instanceof InputError)) throw error;
    return { item, value: null, unread: error.message };
  }
}

const bytesOf = ({ value }: Loaded): Uint8Array =>
  value === null ? new Uint8Array(0) : value instanceof Uint8Array ? value : value.pixels;
const formOf = ({ value }: Loaded): ShardItem['form'] => {
  if (value === null || value instanceof Uint8Array) return null;
  const { width, height, channels } = value;
  return { width, height, channels };
};

function pack(loaded: readonly Loaded[]): Shard {
  const total = loaded.reduce((sum, one) => sum + bytesOf(one).length, 0);
  const bytes = new Uint8Array(new SharedArrayBuffer(total));
  let at = 0;
  const items = loaded.map((one): ShardItem => {
    const begin = at;
    const own = bytesOf(one);
    bytes.set(own, begin);
    at += own.length;
    return { name: one.item.name, begin, end: at, form: formOf(one), unread: one.unread };
  });
  return { items, bytes, labels: loaded.map(({ item }) => item.label), captions: loaded.map(({ item }) => item.caption) };
}

/**
 * Shards of `size` images, fewer where they would take more than 256 MB; where they end depends on the images alone.
 * @param skip images that cannot be read become items that say so, instead of an error
 * @throws InputError for an image that cannot be read
 */
export async function* shardsOf(items: AsyncIterable<Item>, size: number, skip: boolean): AsyncGenerator<Shard, void> {
  let shard: Loaded[] = [];
  let wave: Promise<Loaded>[] = [];
  let bytes = 0;
  const settle = async (): Promise<void> => {
    for (const one of await Promise.all(wave)) {
      shard.push(one);
      bytes += bytesOf(one).length;
    }
    wave = [];
  };
  for await (const item of items) {
    const loading = load(item, skip);
    loading.catch(() => {}); // it is thrown where it is waited for
    wave.push(loading);
    if (wave.length < WAVE && shard.length + wave.length < size) continue;
    await settle();
    if (shard.length < size && bytes < MAX_BYTES) continue;
    yield pack(shard);
    [shard, bytes] = [[], 0];
  }
  await settle();
  if (shard.length > 0) yield pack(shard);
}

/** SHA-256 of what the features of a shard depend on beside the network: the bytes of its images, not their names. */
export function shardDigest({ items, bytes }: Shard): string {
  const hash = createHash('sha256');
  for (const { begin, end, form, unread } of items) {
    hash.update(`${end - begin} ${form ? `${form.height}x${form.width}x${form.channels}` : 'encoded'} ${unread ?? ''}\n`);
    hash.update(bytes.subarray(begin, end));
  }
  return hash.digest('hex');
}
