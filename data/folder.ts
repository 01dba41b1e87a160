/** @file A folder of image files: decoded side by side into square images of one size, with sub-folders as classes. */
import { availableParallelism } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { Piscina } from 'piscina';
import { InputError } from '../engine/io/errors.ts';
import { workerEntry } from '../engine/io/threads.ts';
import { readCaptionsBeside } from './captions.ts';
import { type Dataset, type Split, sharedBytes } from './dataset.ts';
import { chooseHeldOut, classify, type Labelling, listFiles, topFolders } from './files.ts';
import { type DecodeTask, decodeInto } from './folder.worker.ts';
import { IMAGE_ENDINGS } from './image.ts';

export interface FolderOptions {
  /** Side of the square images, in pixels. */
  readonly size: number;
  /** 1 for grey, 3 for red, green, blue. */
  readonly channels: 1 | 3;
  /** Leave unreadable files out, and count them, instead of stopping. */
  readonly skipBad: boolean;
  /** Share of the images that is held out, 0 ≤ heldOut < 1; unused where the folder is split into `train` and `test` already. */
  readonly heldOut: number;
}

/** All files of a folder in order: the images one after another, and the reason for each file that could not be read. */
interface Decoded {
  readonly paths: readonly string[];
  readonly images: Uint8Array;
  readonly bad: ReadonlyMap<number, string>;
}

/** Files of one task of the pool. */
const CHUNK = 64;
/** Folders that make a folder a ready split, beside one named train. */
const HELD_OUT_NAMES: readonly string[] = ['test', 'val', 'valid', 'validation', 'held-out'];

async function decodeAll(paths: readonly string[], { size, channels }: FolderOptions): Promise<Decoded> {
  const images = sharedBytes(paths.length * channels * size * size);
  const tasks = Array.from({ length: Math.ceil(paths.length / CHUNK) }, (_, i): DecodeTask => {
    return { paths: paths.slice(i * CHUNK, (i + 1) * CHUNK), first: i * CHUNK, size, channels, images };
  });
  // One task is done before a thread has started.
  if (tasks.length < 2) return { paths, images, bad: new Map((await Promise.all(tasks.map(decodeInto))).flat()) };
  const { url, execArgv } = workerEntry(import.meta.url, 'folder.worker');
  const maxThreads = Math.min(tasks.length, availableParallelism(), 8);
  const pool = new Piscina({ filename: url.href, name: 'decodeInto', execArgv, minThreads: maxThreads, maxThreads });
  try {
    const lists = await Promise.all(tasks.map((task) => pool.run(task) as ReturnType<typeof decodeInto>));
    return { paths, images, bad: new Map(lists.flat()) };
  } finally {
    await pool.destroy();
  }
}

/** The readable images among the wanted files. */
function collect(
  folder: string,
  decoded: Decoded,
  options: FolderOptions,
  labelling: Labelling | null,
  captions: ReadonlyMap<string, string> | null,
  wanted: (path: string) => boolean,
): Dataset {
  const { paths, images, bad } = decoded;
  const all = paths.map((path, place) => ({ path, place })).filter(({ path }) => wanted(path));
  const good = all.filter(({ place }) => !bad.has(place));
  const bytesEach = options.channels * options.size * options.size;
  const kept = sharedBytes(good.length * bytesEach);
  for (const [to, { place }] of good.entries()) kept.set(images.subarray(place * bytesEach, (place + 1) * bytesEach), to * bytesEach);
  const labels = labelling && good.map(({ path }) => labelling.classOf(path));
  return {
    name: basename(resolve(folder)),
    size: good.length,
    channels: options.channels,
    height: options.size,
    width: options.size,
    images: kept,
    labels: labels && (labelling.classes.length > 256 ? Int32Array : Uint8Array).from(labels),
    classes: labelling?.classes ?? null,
    ...(captions ? { captions: good.map(({ path }) => captions.get(path) ?? null) } : {}),
    mayFlip: true,
    licence: 'see its source',
    skipped: all.length - good.length,
  };
}

function checkOptions({ size, channels, heldOut }: FolderOptions): void {
  if (!Number.isInteger(size) || size < 1) throw new InputError(`folder: size ${size}; a whole number of pixels expected`);
  if (channels !== 1 && channels !== 3) throw new InputError(`folder: ${channels} channels; 1 (grey) or 3 (colour) expected`);
  if (!(heldOut >= 0 && heldOut < 1))
    throw new InputError(`folder: held-out share ${heldOut}; a number from 0 up to, but not including, 1 expected`);
}

function checkReadable(folder: string, { paths, bad }: Decoded, skipBad: boolean): void {
  const none = bad.size === paths.length;
  if (bad.size === 0 || (skipBad && !none)) return;
  const first = Math.min(...bad.keys());
  const advice = none ? 'readable images expected' : 'repair or remove them, or leave them out with --skip-bad';
  throw new InputError(
    `folder: ${bad.size} of ${paths.length} images in ${folder} cannot be read, the first is ${paths[first]} (${bad.get(first)}); ${advice}`,
  );
}

async function loadReady(folder: string, heldOutName: string, options: FolderOptions): Promise<Split> {
  const [train, heldOut] = await Promise.all(
    ['train', heldOutName].map(async (name) => (await loadFolder(join(folder, name), { ...options, heldOut: 0 })).train),
  );
  const [here, there] = [train, heldOut].map((part) => part!.classes?.join(', ') ?? 'none');
  if (here !== there)
    throw new InputError(`folder: ${folder}: classes of train are ${here}, but of ${heldOutName} ${there}; the same expected`);
  return { train: train!, heldOut: heldOut! };
}

/**
 * Reads png, jpg, jpeg, webp, gif (first frame) and avif files; each is scaled and cut to the middle square (see `decode`). Folders below are classes, except
 * where they are just `train` and `test` (or `val`, `valid`, `validation`, `held-out`): these are the split. A .txt file beside an image, of the same name, is its caption.
 * @throws InputError without images, for images both beside and inside sub-folders, or for unreadable files unless `skipBad`
 */
export async function loadFolder(folder: string, options: FolderOptions): Promise<Split> {
  checkOptions(options);
  const paths = await listFiles(folder, IMAGE_ENDINGS);
  if (paths.length === 0)
    throw new InputError(`folder: ${folder} has no images; ${IMAGE_ENDINGS.join(', ')} files, or folders of them, expected`);
  const labelling = classify(folder, paths);
  const tops = topFolders(folder, paths);
  const ready = tops.find((name) => HELD_OUT_NAMES.includes(name));
  if (tops.length === 2 && tops.includes('train') && ready) return loadReady(folder, ready, options);
  const decoded = await decodeAll(paths, options);
  checkReadable(folder, decoded, options.skipBad);
  const heldOut = chooseHeldOut(folder, paths, options.heldOut);
  const captions = await readCaptionsBeside(folder, paths);
  return {
    train: collect(folder, decoded, options, labelling, captions, (path) => !heldOut.has(path)),
    heldOut: collect(folder, decoded, options, labelling, captions, (path) => heldOut.has(path)),
  };
}
