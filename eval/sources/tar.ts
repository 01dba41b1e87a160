/** @file Images in tar archives, as WebDataset lays them out: files of one name up to its first dot are one sample. */
import { createReadStream } from 'node:fs';
import { createGunzip } from 'node:zlib';
import { PICTURE_ENDINGS } from '../../data/image.ts';
import { InputError } from '../../engine/io/errors.ts';
import { type Forward, forwardFile, forwardStream } from '../../engine/io/forward.ts';
import { openRanges, type RangeFile } from '../../engine/io/range-file.ts';
import { type TarEntry, tarEntries } from '../../engine/io/tar.ts';
import { type Container, type Item, labelOf } from './container.ts';

/** An image or what is said of it is not larger. */
const MAX_FILE_BYTES = 2 ** 29;
/** Endings of what is said of an image. */
const SIDE_ENDINGS = ['cls', 'txt', 'caption', 'json'] as const;
type Side = (typeof SIDE_ENDINGS)[number];

/** One sample: its image, and what is said of it. `Part` is a place in the archive, or the bytes themselves. */
interface Sample<Part> {
  readonly key: string;
  image: { readonly name: string; readonly part: Part } | null;
  readonly sides: Partial<Record<Side, Part>>;
}

/** The name up to the first dot after the last slash, and what follows the dot. */
function split(name: string): { readonly key: string; readonly ending: string } {
  const slash = name.lastIndexOf('/') + 1;
  const dot = name.indexOf('.', slash);
  return dot < 0 ? { key: name, ending: '' } : { key: name.slice(0, dot), ending: name.slice(dot + 1).toLowerCase() };
}

const isSide = (ending: string): ending is Side => (SIDE_ENDINGS as readonly string[]).includes(ending);
const isImage = (ending: string): boolean => PICTURE_ENDINGS.includes(`.${ending.split('.').at(-1)}`);
/** What packing tools leave behind. */
const isHidden = (key: string): boolean => key.slice(key.lastIndexOf('/') + 1) === '' || key.includes('__MACOSX/');

/** Groups neighbours with the same key; samples without an image are left out. */
async function* samples<Part>(
  archive: Forward,
  where: string,
  partOf: (entry: TarEntry) => Promise<Part>,
): AsyncGenerator<Sample<Part>, void> {
  let sample: Sample<Part> | null = null;
  for await (const entry of tarEntries(archive, where)) {
    const { key, ending } = split(entry.name);
    if (isHidden(key)) continue;
    if (sample && sample.key !== key) {
      if (sample.image) yield sample;
      sample = null;
    }
    sample ??= { key, image: null, sides: {} };
    if (isSide(ending)) sample.sides[ending] = await partOf(entry);
    else if (isImage(ending) && !sample.image) sample.image = { name: entry.name, part: await partOf(entry) };
  }
  if (sample?.image) yield sample;
}

const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes).trim();

function parseJson(bytes: Uint8Array, where: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(textOf(bytes));
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch (error) {
    throw new InputError(`${where}: is no JSON (${(error as Error).message.replace(/\s+/g, ' ')})`);
  }
}

const firstText = (values: readonly unknown[]): string | null =>
  (values.find((value) => typeof value === 'string') as string | undefined) ?? null;

/** Label and caption: a file of its own counts before the JSON file. */
async function saidOf<Part>(
  { key, sides }: Sample<Part>,
  bytesOf: (part: Part) => Promise<Uint8Array>,
  where: string,
): Promise<Pick<Item, 'label' | 'caption'>> {
  const read = async (ending: Side): Promise<string | null> =>
    sides[ending] === undefined ? null : textOf(await bytesOf(sides[ending] as Part));
  const json = sides.json === undefined ? {} : parseJson(await bytesOf(sides.json as Part), `${where}: ${key}.json`);
  const cls = await read('cls');
  if (cls !== null && labelOf(cls) === null)
    throw new InputError(`${where}: ${key}.cls holds ${JSON.stringify(cls.slice(0, 40))}; a whole number expected`);
  return {
    label: cls === null ? labelOf(json['label'] ?? json['cls'] ?? json['class']) : labelOf(cls),
    caption: (await read('txt')) ?? (await read('caption')) ?? firstText([json['caption'], json['text'], json['prompt']]),
  };
}

async function itemOf<Part>(sample: Sample<Part>, bytesOf: (part: Part) => Promise<Uint8Array>, where: string): Promise<Item> {
  const { name, part } = sample.image!;
  return { name: `${where}: ${name}`, ...(await saidOf(sample, bytesOf, where)), load: () => bytesOf(part) };
}

const noImages = (path: string): InputError =>
  new InputError(`images: ${path} has none; files that end in ${PICTURE_ENDINGS.join(', ')} expected in the archive`);

async function digestFile(file: RangeFile, update: (chunk: Uint8Array) => void): Promise<void> {
  for await (const chunk of file.stream(0, file.size)) update(chunk);
}

/** A plain archive: its headers are read once, then any image is. */
export async function openTarImages(path: string): Promise<Container> {
  const file = await openRanges(path);
  const bytesOf = ({ begin, size }: { begin: number; size: number }): Promise<Uint8Array> => file.read(begin, size);
  const place = async ({ name, begin, size }: TarEntry): Promise<{ begin: number; size: number }> => {
    if (size > MAX_FILE_BYTES) throw new InputError(`${path}: ${name} has ${size} bytes; at most ${MAX_FILE_BYTES} are read`);
    return { begin, size };
  };
  try {
    const index: Sample<{ begin: number; size: number }>[] = [];
    for await (const sample of samples(forwardFile(file), path, place)) index.push(sample);
    if (index.length === 0) throw noImages(path);
    return {
      count: index.length,
      classes: null,
      async *items(from, to) {
        for (const sample of index.slice(from, to)) yield await itemOf(sample, bytesOf, path);
      },
      digest: (hash) => digestFile(file, (chunk) => hash.update(chunk)),
      close: () => file.close(),
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** A compressed archive from its beginning. */
async function* unpacked(path: string): AsyncGenerator<Uint8Array, void> {
  const file = createReadStream(path);
  const gunzip = createGunzip();
  file.on('error', (error) => gunzip.destroy(error)).pipe(gunzip);
  try {
    for await (const chunk of gunzip) yield chunk as Uint8Array;
  } catch (error) {
    throw new InputError(`${path}: cannot be unpacked (${(error as Error).message}); a complete gzip file expected`, { cause: error });
  } finally {
    gunzip.destroy();
    file.destroy();
  }
}

/** A compressed archive, which has no places: every range is read from the beginning, and how many images there are is not known. */
export async function openTarGzImages(path: string): Promise<Container> {
  const file = await openRanges(path);
  const bytesOf = async (bytes: Uint8Array): Promise<Uint8Array> => bytes;
  return {
    count: null,
    classes: null,
    async *items(from, to) {
      let i = 0;
      for await (const sample of samples(forwardStream(unpacked(path)), path, (entry) => entry.read(MAX_FILE_BYTES))) {
        if (i >= to) return;
        if (i++ >= from) yield await itemOf(sample, bytesOf, path);
      }
      if (i === 0) throw noImages(path);
    },
    digest: (hash) => digestFile(file, (chunk) => hash.update(chunk)),
    close: () => file.close(),
  };
}
