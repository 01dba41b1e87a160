/** @file The reference files of a folder, so that a test can say that none is left out, and the whole of those that the project holds in part. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseSafetensors, toFloat64 } from '../../engine/io/safetensors.ts';
import { goldenPath } from '../../engine/testing/golden.ts';
import { type Golden, readGolden } from '../../engine/testing/golden-tensors.ts';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
/** The copies inside the project, and the full collection beside it. */
const folders = (folder: string): readonly string[] =>
  [join(root, 'engine/testing/golden'), process.env['ONESTEP_GOLDEN'] ?? resolve(root, '../shared/golden')]
    .map((place) => join(place, folder))
    .filter(existsSync);

/** Names without extension of all configurations in a folder such as `samplers`. */
export const goldenStems = (folder: string): readonly string[] => [
  ...new Set(folders(folder).flatMap((place) => readdirSync(place).flatMap((file) => /^(.+)\.json$/.exec(file)?.[1] ?? []))),
];

/** A configuration without its tensors; undefined where it is absent. Errors as in `goldenPath`. */
export function readConfigOf<C>(name: string): C | undefined {
  const path = goldenPath(`${name}.json`);
  return path ? (JSON.parse(readFileSync(path, 'utf8')) as C) : undefined;
}

/** A file of which the project may hold a part only: the whole where the collection is there. Undefined where neither is; errors as in `goldenPath`. */
export function readWhole<C>(name: string): Golden<C> | undefined {
  const path = folders('')
    .map((place) => join(place, name))
    .findLast((stem) => existsSync(`${stem}.json`));
  if (!path) return readGolden<C>(name);
  const { tensors } = parseSafetensors(readFileSync(`${path}.safetensors`), path);
  return {
    config: JSON.parse(readFileSync(`${path}.json`, 'utf8')) as C,
    names: [...tensors.keys()],
    has: (key) => tensors.has(key),
    tensor: (key) => ({ shape: tensors.get(key)!.shape, data: toFloat64(tensors.get(key)!) }),
  };
}
