/** @file Where the weights of a folder stand: one safetensors file or an index of several, whole or in half precision. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { sha256 } from './atomic.ts';
import { factsOf } from './checksums.ts';
import { InputError } from './errors.ts';
import { fileFailure } from './failures.ts';
import { readText } from './json.ts';
import { openSafetensors, type SafetensorsFile } from './safetensors.ts';
import { openShards, parseIndex } from './safetensors-shards.ts';

/** Names that the ecosystems use for NAME, in order of preference. */
const candidates = (name: string): readonly string[] => [
  `${name}.safetensors`,
  `${name}.safetensors.index.json`,
  `${name}.fp16.safetensors`,
  `${name}.safetensors.index.fp16.json`,
  `${name}.bf16.safetensors`,
];

/** The names in a folder. @throws InputError where it cannot be read */
export async function listFolder(folder: string): Promise<readonly string[]> {
  return readdir(folder).catch((error: unknown) => {
    throw fileFailure('read', folder, error);
  });
}

/** The file that holds a folder's weights, or the index of several. @throws InputError where there is none */
async function weightsPath(folder: string, names: readonly string[]): Promise<string> {
  const there = new Set(await listFolder(folder));
  const wanted = names.flatMap(candidates);
  const found = wanted.find((name) => there.has(name));
  if (found) return join(folder, found);
  const pickled = [...there].find((name) => /\.(bin|pt|pth|ckpt|h5|msgpack)$/.test(name));
  const hint = pickled ? `; ${pickled} is of another format: save it as safetensors` : '';
  throw new InputError(`${folder}: no weights in it; ${wanted.slice(0, 2).join(' or ')} expected${hint}`);
}

/**
 * Opens the weights of a folder and reads their headers.
 * @param names how the file may be called, without its ending
 * @throws InputError where there are none, or where they are malformed
 */
export async function openFolderWeights(folder: string, names: readonly string[] = ['model']): Promise<SafetensorsFile> {
  const path = await weightsPath(folder, names);
  return path.endsWith('.json') ? openShards(path) : openSafetensors(path);
}

/** SHA-256 of the weights of a folder; of several files, of their sums in order of their names. Errors as in `openFolderWeights`. */
export async function weightsChecksum(folder: string, names: readonly string[] = ['model']): Promise<string> {
  const path = await weightsPath(folder, names);
  if (!path.endsWith('.json')) return (await factsOf(path)).sha256;
  return joinedChecksum([...new Set(parseIndex(await readText(path), path).values())].map((shard) => join(folder, shard)));
}

/** One sum for several files. @throws InputError where one cannot be read */
export async function joinedChecksum(paths: readonly string[]): Promise<string> {
  const sums: string[] = [];
  for (const path of paths.toSorted()) sums.push((await factsOf(path)).sha256);
  return sums.length === 1 ? sums[0]! : sha256(sums.join('\n'));
}
