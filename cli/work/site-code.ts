/** @file The compiled modules of the page and of everything that they import, as files of a site. */
import { readFile } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { packageRoot } from '../../data/artifacts.ts';
import { InputError } from '../../engine/io/errors.ts';

/** Where a page begins: the module of the document and that of its worker. */
const ENTRIES = ['page/main.js', 'page/worker.js'];
const IMPORT = /\b(?:import|export)\b[^'";]*?\bfrom\s*["'](\.[^"']+)["']|\bimport\s*["'](\.[^"']+)["']/g;

/** Where the build puts modules. */
export const compiledFolder = (): string => join(packageRoot(), 'dist');

/**
 * Code by path below `folder`.
 * @throws InputError where the package is not built
 */
export async function siteCode(folder: string = compiledFolder()): Promise<ReadonlyMap<string, string>> {
  const code = new Map<string, string>();
  const waiting = [...ENTRIES];
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    if (code.has(path)) continue;
    const text = await readFile(join(folder, path), 'utf8').catch((error: unknown) => {
      throw new InputError(`page: ${join(folder, path)} is missing; build the package first (npm run build)`, { cause: error });
    });
    code.set(path, text);
    for (const [, from, bare] of text.matchAll(IMPORT)) waiting.push(posix.join(posix.dirname(path), (from ?? bare)!));
  }
  return code;
}
