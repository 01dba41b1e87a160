/** @file Files that another file names: they must lie in its folder or below, whatever links lead where. */
import { realpath } from 'node:fs/promises';
import { dirname, isAbsolute, join, relative, sep } from 'node:path';
import { InputError } from './errors.ts';
import { fileFailure } from './failures.ts';
import { openRanges, type RangeFile } from './range-file.ts';

const shown = (location: string): string => JSON.stringify(location.length > 100 ? `${location.slice(0, 100)}…` : location);

/** Whether a path stays below the folder that it starts from, by its words alone. */
const staysBelow = (location: string): boolean =>
  location !== '' && !isAbsolute(location) && !/[\\\0:]/.test(location) && location.split('/').every((part) => part !== '..');

/**
 * Opens a file that `owner` names by a path relative to its own folder.
 * @throws InputError for a path that leads out of the folder, by itself or by a link, and where there is no such file
 */
export async function openBeside(owner: string, location: string): Promise<RangeFile> {
  const outside = (): never => {
    throw new InputError(`${owner}: names the file ${shown(location)}; only files of its own folder are read`);
  };
  if (!staysBelow(location)) return outside();
  const path = join(dirname(owner), location);
  const [folder, real] = await Promise.all([realpath(dirname(owner)), realpath(path)]).catch((error: unknown) => {
    throw fileFailure('read', path, error);
  });
  const way = relative(folder, real);
  if (isAbsolute(way) || way.split(sep)[0] === '..') return outside();
  return openRanges(path);
}
