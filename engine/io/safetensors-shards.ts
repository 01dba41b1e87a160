/**
 * @file Weights in several safetensors files: an index (`NAME.safetensors.index.json`) says which file holds which tensor. They are read as if they were one file.
 * https://huggingface.co/docs/huggingface_hub/package_reference/serialization
 */
import { readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { InputError } from './errors.ts';
import { fileFailure } from './failures.ts';
import { openSafetensors, type SafetensorsFile } from './safetensors.ts';
import { brief, duplicateKey } from './safetensors-header.ts';

/** Enough for a million names; anything longer is no index. */
const MAX_INDEX_BYTES = 200_000_000;

/** Tensor by shard, from the text of an index. Errors: InputError for anything but an object whose `weight_map` maps names to file names. */
export function parseIndex(text: string, where: string): ReadonlyMap<string, string> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new InputError(`${where}: the index is not JSON: ${(error as Error).message.replace(/\s+/g, ' ')}`);
  }
  const twice = duplicateKey(text);
  if (twice !== undefined) throw new InputError(`${where}: the index has the key ${brief(twice)} twice; each may stand once`);
  const map = typeof value === 'object' && value !== null && 'weight_map' in value ? value.weight_map : undefined;
  if (typeof map !== 'object' || map === null || Array.isArray(map))
    throw new InputError(`${where}: weight_map is ${brief(map)}; it must be an object of tensor names and file names`);
  const entries = Object.entries(map);
  if (entries.length === 0) throw new InputError(`${where}: weight_map names no tensor`);
  for (const [name, shard] of entries) {
    const plain = typeof shard === 'string' && shard.endsWith('.safetensors') && !/[/\\\0]/.test(shard);
    if (!plain)
      throw new InputError(
        `${where}: tensor ${brief(name)} is said to be in ${brief(shard)}; it must be a .safetensors file beside the index`,
      );
  }
  return new Map(entries as [string, string][]);
}

async function readIndex(path: string): Promise<ReadonlyMap<string, string>> {
  const bytes = await readFile(path).catch((error: unknown) => {
    throw fileFailure('read', path, error);
  });
  if (bytes.length > MAX_INDEX_BYTES)
    throw new InputError(`${path}: the index has ${bytes.length} bytes; at most ${MAX_INDEX_BYTES} are read`);
  return parseIndex(bytes.toString('utf8'), path);
}

/** Errors: names that the index and the shards do not agree on. */
function checkNames(path: string, index: ReadonlyMap<string, string>, shards: ReadonlyMap<string, SafetensorsFile>): void {
  const held = new Map([...shards].map(([shard, file]) => [shard, new Set(file.names)]));
  for (const [name, shard] of index) {
    if (!held.get(shard)!.has(name))
      throw new InputError(`${path}: tensor ${brief(name)} is said to be in ${shard}, which does not hold it`);
  }
  for (const [shard, names] of held)
    for (const name of names) {
      const said = index.get(name);
      if (said === shard) continue;
      const elsewhere = said === undefined ? 'the index does not name it' : `the index says that it is in ${said}`;
      throw new InputError(`${path}: ${shard} holds tensor ${brief(name)}, but ${elsewhere}`);
    }
}

/** The metadata of all shards; a key on which they do not agree is dropped. */
function sharedMetadata(files: readonly SafetensorsFile[]): Readonly<Record<string, string>> {
  const [first, ...rest] = files;
  return Object.fromEntries(Object.entries(first!.metadata).filter(([key, text]) => rest.every((file) => file.metadata[key] === text)));
}

/**
 * Opens all shards of an index and reads their headers.
 * @throws InputError naming file and tensor where a shard is missing or malformed, or does not hold what the index says
 */
export async function openShards(path: string): Promise<SafetensorsFile> {
  const index = await readIndex(path);
  const shards = new Map<string, SafetensorsFile>();
  const close = async (): Promise<void> => {
    for (const file of shards.values()) await file.close();
  };
  try {
    for (const shard of [...new Set(index.values())].sort()) shards.set(shard, await openSafetensors(join(dirname(path), shard)));
    checkNames(path, index, shards);
  } catch (error) {
    await close();
    throw error;
  }
  const holder = (name: string): SafetensorsFile => {
    const shard = index.get(name);
    if (shard === undefined) throw new InputError(`${path}: no tensor ${brief(name)} among its ${index.size}`);
    return shards.get(shard)!;
  };
  return {
    names: [...shards.values()].flatMap((file) => file.names),
    metadata: sharedMetadata([...shards.values()]),
    info: (name) => holder(name).info(name),
    read: async (name) => holder(name).read(name),
    close,
  };
}

/** One file or an index (`….index.json`, with a variant `….index.fp16.json`), told by the name. Errors as in `openSafetensors` and `openShards`. */
export const openWeightsFile = (path: string): Promise<SafetensorsFile> =>
  /\.index(\.[^.]+)?\.json$/.test(basename(path)) ? openShards(path) : openSafetensors(path);
