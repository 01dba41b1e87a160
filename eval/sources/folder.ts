/** @file A folder of image files: below it, in sorted order; labels from its sub-folders or from names as 000000-7.png, captions from files beside the images. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename, extname, relative, sep } from 'node:path';
import { classify, listFiles } from '../../data/files.ts';
import { PICTURE_ENDINGS } from '../../data/image.ts';
import { InputError } from '../../engine/io/errors.ts';
import { fileFailure } from '../../engine/io/failures.ts';
import type { Container } from './container.ts';

const CAPTION_ENDING = '.txt';

interface Labels {
  readonly classes: readonly string[] | null;
  of(path: string): number | null;
}

/** NAME-CLASS: a number without leading zeros, which tells a class from a counter. */
const CLASS_IN_NAME = /-(0|[1-9]\d{0,8})$/;
const classInName = (path: string): string | undefined => CLASS_IN_NAME.exec(basename(path, extname(path)))?.[1];

/** Sub-folders are classes where every image lies in one; else the names are, where each says one. */
export function labelsOf(root: string, paths: readonly string[]): Labels {
  const inFolders = paths.every((path) => relative(root, path).includes(sep));
  const labelling = inFolders ? classify(root, paths) : null;
  if (labelling) return { classes: labelling.classes, of: labelling.classOf };
  const named = paths.every((path) => classInName(path) !== undefined);
  return { classes: null, of: (path) => (named ? Number(classInName(path)) : null) };
}

/** @throws InputError where the file cannot be read */
const readImage = (path: string): Promise<Uint8Array> =>
  readFile(path).catch((error: unknown) => {
    throw fileFailure('read', path, error);
  });

/** SHA-256 of a file. @throws InputError where it cannot be read */
async function sumOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  try {
    for await (const chunk of createReadStream(path)) hash.update(chunk as Uint8Array);
  } catch (error) {
    throw fileFailure('read', path, error);
  }
  return hash.digest('hex');
}

const withoutEnding = (path: string): string => path.slice(0, path.length - extname(path).length);

/** Container of these files. @param root folder that names are shown below, and whose sub-folders are classes */
export function filesContainer(root: string, paths: readonly string[], captions: ReadonlySet<string> = new Set()): Container {
  const labels = labelsOf(root, paths);
  const captionOf = async (path: string): Promise<string | null> => {
    const beside = withoutEnding(path) + CAPTION_ENDING;
    return captions.has(beside) ? (await readFile(beside, 'utf8')).trim() : null;
  };
  return {
    count: paths.length,
    classes: labels.classes,
    async *items(from, to) {
      for (const path of paths.slice(from, to)) {
        const caption = await captionOf(path);
        yield { name: path, label: labels.of(path), caption, load: () => readImage(path) };
      }
    },
    async digest(hash) {
      for (const path of [...paths, ...captions].sort()) hash.update(`${relative(root, path).split(sep).join('/')} ${await sumOf(path)}\n`);
    },
    async close() {},
  };
}

/** @throws InputError where the folder has no images */
export async function openFolderImages(folder: string): Promise<Container> {
  const files = await listFiles(folder, [...PICTURE_ENDINGS, CAPTION_ENDING]);
  const isCaption = (path: string): boolean => extname(path).toLowerCase() === CAPTION_ENDING;
  const images = files.filter((path) => !isCaption(path));
  if (images.length === 0)
    throw new InputError(`images: ${folder} has none; files that end in ${PICTURE_ENDINGS.join(', ')}, or folders of them, expected`);
  const wanted = new Set(images.map((path) => withoutEnding(path) + CAPTION_ENDING));
  return filesContainer(folder, images, new Set(files.filter((path) => isCaption(path) && wanted.has(path))));
}
