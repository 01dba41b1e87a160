/** @file Opens images by what they are called: a folder, an archive, an array, a table, a data set. */
import { existsSync, statSync } from 'node:fs';
import { dirname, extname } from 'node:path';
import { listFiles } from '../../data/files.ts';
import { PICTURE_ENDINGS } from '../../data/image.ts';
import { DATASET_SPECS } from '../../data/registry.ts';
import { InputError } from '../../engine/io/errors.ts';
import { didYouMean } from '../../engine/io/nearest.ts';
import { openNpyImages, openNpzImages } from './arrays.ts';
import { type Container, concatenated } from './container.ts';
import { isDataset, openDatasetImages } from './dataset.ts';
import { filesContainer, openFolderImages } from './folder.ts';
import { type Columns, openParquetImages } from './parquet.ts';
import { type DecodeOptions, type ImageSource, sourceOf } from './source.ts';
import { openTarGzImages, openTarImages } from './tar.ts';
import { openTensorImages } from './tensors.ts';
import { openZipImages } from './zip.ts';

export { readCaptions } from './captions.ts';
export { interleave, planar } from './container.ts';
export type { Columns } from './parquet.ts';
export { type ImageSource, ofOneSize, type SourceImage } from './source.ts';

export interface SourceOptions extends DecodeOptions {
  /** Names of the columns of a parquet file; those left out are looked for. */
  readonly columns?: Columns;
}

type Opener = (path: string, options: SourceOptions) => Promise<Container>;
const FORMATS: Readonly<Record<string, Opener>> = {
  '.npz': openNpzImages,
  '.npy': openNpyImages,
  '.zip': openZipImages,
  '.tar': openTarImages,
  '.tar.gz': openTarGzImages,
  '.tgz': openTarGzImages,
  '.parquet': (path, { columns }) => openParquetImages(path, columns),
  '.safetensors': openTensorImages,
};
/** Files that a folder may hold in place of images: the parts of one set. */
const SHARDS = ['.parquet', '.tar'] as const;

/** What images may be called, for help texts. */
export const IMAGE_SPECS: readonly string[] = [
  '<folder>',
  ...Object.keys(FORMATS).map((ending) => `<file>${ending}`),
  ...DATASET_SPECS.filter((spec) => spec !== '<folder>').map((spec) => `${spec}#train|test`),
];

const endingOf = (path: string): string =>
  Object.keys(FORMATS).find((ending) => path.toLowerCase().endsWith(ending)) ?? extname(path).toLowerCase();

async function allOf(openings: readonly Promise<Container>[]): Promise<Container> {
  const settled = await Promise.allSettled(openings);
  const failed = settled.find((each) => each.status === 'rejected');
  const opened = settled.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
  if (!failed) return concatenated(opened);
  await Promise.all(opened.map((container) => container.close()));
  throw failed.reason;
}

/** A folder of images, or of the parts of a set. */
async function openFolder(folder: string, options: SourceOptions): Promise<Container> {
  const shards = await listFiles(folder, SHARDS);
  if (shards.length === 0) return openFolderImages(folder);
  const endings = [...new Set(shards.map(endingOf))];
  const images = await listFiles(folder, PICTURE_ENDINGS);
  if (endings.length > 1 || images.length > 0) {
    const found = [...endings, ...(images.length > 0 ? ['images'] : [])].join(' and ');
    throw new InputError(`images: ${folder} holds ${found}; a folder of one kind expected, or name the one file`);
  }
  return allOf(shards.map((path) => FORMATS[endings[0]!]!(path, options)));
}

function unknown(spec: string, base: string): InputError {
  const what = existsSync(spec) ? `ends in '${extname(spec)}'` : 'is neither a file nor a folder nor a data set';
  const names = DATASET_SPECS.filter((each) => !each.includes('<'));
  return new InputError(`images: ${spec} ${what}${didYouMean(base, names)}; one of ${IMAGE_SPECS.join(', ')} expected`);
}

async function openContainer(spec: string, options: SourceOptions): Promise<Container> {
  const hash = spec.lastIndexOf('#');
  const [base, part] = hash > 0 && !existsSync(spec) ? [spec.slice(0, hash), spec.slice(hash + 1)] : [spec, null];
  if (isDataset(base)) return openDatasetImages(base, part);
  if (part !== null && existsSync(base))
    throw new InputError(`images: ${spec}: ${base} has no parts; leave '#${part}' out (only data sets have parts)`);
  if (!existsSync(spec)) throw unknown(spec, base);
  if (statSync(spec).isDirectory()) return openFolder(spec, options);
  const open = FORMATS[endingOf(spec)];
  if (open) return open(spec, options);
  if (!PICTURE_ENDINGS.includes(endingOf(spec))) throw unknown(spec, base);
  return filesContainer(dirname(spec), [spec]);
}

/**
 * Opens images for evaluation, decoded as `decodePicture` does, in a fixed order, as [height, width, channels]:
 * - a folder, with everything below it, sorted; labels from sub-folders or names as 000000-7.png, captions from .txt files beside the images; or a folder of
 *   .parquet or .tar files, the parts of one set;
 * - `.npz` (`arr_0` [n, height, width, channels] bytes, labels in `arr_1`), `.npy`, `.safetensors` (`images` [n, channels, height, width], `labels`);
 * - `.zip` (labels in `dataset.json` as EDM's tools write it, else as in a folder);
 * - `.tar`, `.tar.gz`, `.tgz` (WebDataset: .cls, .txt, .json beside an image of the same name); `.parquet` (a column of images);
 * - a data set and its part: `fashion-mnist#test`, `digits#train`, `cifar10:<folder>#test`.
 * Close it when done.
 * @throws InputError for an unknown name, a missing or damaged file, and where there is no image
 */
export async function openImages(spec: string, options: SourceOptions = {}): Promise<ImageSource> {
  const { columns: _, ...decoding } = options;
  const container = await openContainer(spec, options);
  if (container.count === 0) {
    await container.close();
    throw new InputError(`images: ${spec} holds none; at least one image expected`);
  }
  return sourceOf(spec, container, decoding);
}
