/** @file Captions of a folder's images: a text file beside an image, of the same name. */
import { readFile } from 'node:fs/promises';
import { extname } from 'node:path';
import { listFiles } from './files.ts';

const besideOf = (path: string): string => `${path.slice(0, path.length - extname(path).length)}.txt`;

/** The captions of images by path; null where no image has one. Errors: a file that cannot be read. */
export async function readCaptionsBeside(folder: string, paths: readonly string[]): Promise<ReadonlyMap<string, string> | null> {
  const there = new Set(await listFiles(folder, ['.txt']));
  const captioned = paths.filter((path) => there.has(besideOf(path)));
  if (captioned.length === 0) return null;
  const texts = await Promise.all(captioned.map(async (path) => [path, (await readFile(besideOf(path), 'utf8')).trim()] as const));
  return new Map(texts);
}
