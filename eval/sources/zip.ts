/** @file Images in zip archives, in the order of their names: labels from a `dataset.json` as NVIDIA's tools write it, else from folders or names; captions from .txt files beside the images. */
import { PICTURE_ENDINGS } from '../../data/image.ts';
import { InputError } from '../../engine/io/errors.ts';
import { openRanges } from '../../engine/io/range-file.ts';
import { openZip, type ZipFile } from '../../engine/io/zip.ts';
import { type Container, labelOf } from './container.ts';
import { labelsOf } from './folder.ts';

/** An image or what is said of it is not larger. */
const MAX_FILE_BYTES = 2 ** 29;
/** Where EDM's and StyleGAN's data set tools keep labels: {"labels": [["00000/img00000000.png", 6], …]}. */
const LABELS = 'dataset.json';
/** Names in an archive begin nowhere; paths are compared below this. */
const ROOT = '/archive';

const endingOf = (name: string): string => /\.[^./]+$/.exec(name)?.[0].toLowerCase() ?? '';
const isImage = (name: string): boolean => PICTURE_ENDINGS.includes(endingOf(name));
/** What packing tools leave behind. */
const isHidden = (name: string): boolean => name.split('/').some((part) => part.startsWith('.') || part === '__MACOSX');
const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes).trim();

/** Labels by the name of the image; null where there is no list of them. @throws InputError for a file of another form */
async function listedLabels(zip: ZipFile, path: string): Promise<ReadonlyMap<string, number> | null> {
  if (!zip.entries.has(LABELS)) return null;
  const where = `${path}: ${LABELS}`;
  let value: unknown;
  try {
    value = JSON.parse(textOf(await zip.read(LABELS, MAX_FILE_BYTES)));
  } catch (error) {
    if (error instanceof InputError) throw error;
    throw new InputError(`${where}: is no JSON (${(error as Error).message.replace(/\s+/g, ' ').slice(0, 200)})`);
  }
  const labels: unknown = (value as { readonly labels?: unknown } | null)?.labels ?? null;
  if (labels === null) return null;
  if (!Array.isArray(labels)) throw new InputError(`${where}: labels are no list; [["name", class], …] expected`);
  return new Map(
    labels.map((entry: unknown, i) => {
      const [name, label] = Array.isArray(entry) ? (entry as readonly unknown[]) : [];
      if (typeof name !== 'string' || labelOf(label) === null)
        throw new InputError(`${where}: label ${i} is ${JSON.stringify(entry)?.slice(0, 80)}; ["name", class] expected`);
      return [name, labelOf(label)!] as const;
    }),
  );
}

/** The class of each image, by its name. */
async function classesOf(zip: ZipFile, path: string, names: readonly string[]) {
  const listed = await listedLabels(zip, path);
  if (listed) return { classes: null, of: (name: string) => listed.get(name) ?? null };
  const labels = labelsOf(
    ROOT,
    names.map((name) => `${ROOT}/${name}`),
  );
  return { classes: labels.classes, of: (name: string) => labels.of(`${ROOT}/${name}`) };
}

/** @throws InputError where it is no zip archive or has no images */
export async function openZipImages(path: string): Promise<Container> {
  const zip = await openZip(path);
  try {
    const names = [...zip.entries.keys()].filter((name) => isImage(name) && !isHidden(name)).sort();
    if (names.length === 0)
      throw new InputError(`images: ${path} has none; files that end in ${PICTURE_ENDINGS.join(', ')} expected in the archive`);
    const labels = await classesOf(zip, path, names);
    const captionOf = async (name: string): Promise<string | null> => {
      const beside = `${name.slice(0, name.length - endingOf(name).length)}.txt`;
      return zip.entries.has(beside) ? textOf(await zip.read(beside, MAX_FILE_BYTES)) : null;
    };
    return {
      count: names.length,
      classes: labels.classes,
      async *items(from, to) {
        for (const name of names.slice(from, to)) {
          const caption = await captionOf(name);
          yield { name: `${path}: ${name}`, label: labels.of(name), caption, load: () => zip.read(name, MAX_FILE_BYTES) };
        }
      },
      async digest(hash) {
        const file = await openRanges(path);
        try {
          for await (const chunk of file.stream(0, file.size)) hash.update(chunk);
        } finally {
          await file.close();
        }
      },
      close: () => zip.close(),
    };
  } catch (error) {
    await zip.close();
    throw error;
  }
}
