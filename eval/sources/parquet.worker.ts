/** @file Reads parquet files in a thread of its own: a damaged file can keep the reader busy without end, and then only the thread is lost. */
import { type AsyncBuffer, type FileMetaData, type ParquetRow, parquetMetadataAsync, parquetReadObjects, parquetSchema } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { InputError } from '../../engine/io/errors.ts';
import { openRanges, type RangeFile } from '../../engine/io/range-file.ts';
import { labelOf } from './container.ts';

/** Names of columns; what is left out is looked for. */
export interface Columns {
  readonly image?: string;
  readonly label?: string;
  readonly caption?: string;
}

const IMAGE_NAMES = ['image', 'img', 'images', 'jpg', 'png', 'webp', 'bytes'];
const LABEL_NAMES = ['label', 'labels', 'class', 'cls', 'fine_label'];
const CAPTION_NAMES = ['caption', 'text', 'prompt', 'captions', 'sentences'];

export interface ChosenColumns {
  readonly image: string;
  readonly label: string | null;
  readonly caption: string | null;
}

/** What a file holds, before any row is read. */
export interface Table {
  readonly columns: ChosenColumns;
  readonly classes: readonly string[] | null;
  /** Rows of each group. */
  readonly groups: readonly number[];
}

/** One row; without bytes where the image is not in the file. */
export interface Row {
  readonly bytes: Uint8Array | null;
  readonly label: number | null;
  readonly caption: string | null;
}

/** A message keeps no class of errors, so a mistake of the user goes by its words. */
export type Answer<T> = { readonly value: T } | { readonly mistake: string };

function bufferOf(file: RangeFile): AsyncBuffer {
  return {
    byteLength: file.size,
    slice: async (start, end = file.size) => (await file.read(start, end - start)).buffer as ArrayBuffer,
  };
}

/** Runs with the open file; what the reader says of a damaged one is a mistake of the file. */
async function answer<T>(path: string, read: (file: RangeFile) => Promise<T>): Promise<Answer<T>> {
  try {
    const file = await openRanges(path);
    try {
      return { value: await read(file) };
    } finally {
      await file.close();
    }
  } catch (error) {
    const why = (error as Error).message.split('\n')[0]!;
    return { mistake: error instanceof InputError ? why : `${path}: cannot be read as a parquet file (${why}); a complete file expected` };
  }
}

function chooseColumns(metadata: FileMetaData, wanted: Columns, path: string): ChosenColumns {
  const { children } = parquetSchema(metadata);
  const names = children.map(({ element }) => element.name);
  for (const name of Object.values(wanted) as string[])
    if (!names.includes(name)) throw new InputError(`${path}: has no column ${JSON.stringify(name)}; there are ${names.join(', ')}`);
  const struct = children.find((column) => column.children.some(({ element }) => element.name === 'bytes'));
  const bytes = IMAGE_NAMES.find((name) => children.some(({ element }) => element.name === name && element.type === 'BYTE_ARRAY'));
  const image = wanted.image ?? struct?.element.name ?? bytes;
  if (image === undefined)
    throw new InputError(`${path}: has no column of images, {bytes, path} or bytes; there are ${names.join(', ')}; name the one that is`);
  const first = (candidates: readonly string[]): string | null => candidates.find((name) => names.includes(name)) ?? null;
  return { image, label: wanted.label ?? first(LABEL_NAMES), caption: wanted.caption ?? first(CAPTION_NAMES) };
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> => typeof value === 'object' && value !== null;

/** Class names in the description that the hub's own library writes; null where there is none. */
function classesOf(metadata: FileMetaData, label: string | null): readonly string[] | null {
  const description = metadata.key_value_metadata?.find(({ key }) => key === 'huggingface')?.value;
  if (label === null || !description) return null;
  try {
    const parsed: unknown = JSON.parse(description);
    const features = isRecord(parsed) && isRecord(parsed['info']) ? parsed['info']['features'] : null;
    const feature = isRecord(features) ? features[label] : null;
    const names = isRecord(feature) ? feature['names'] : null;
    return Array.isArray(names) && names.every((name) => typeof name === 'string') ? names : null;
  } catch {
    return null; // not written by that library
  }
}

/** A row takes a byte at least, so that a damaged count does not become memory. */
function groupSizes(metadata: FileMetaData, file: RangeFile): readonly number[] {
  const sizes = metadata.row_groups.map((group) => Number(group.num_rows));
  if (sizes.some((size) => !(size >= 0)) || sizes.reduce((sum, size) => sum + size, 0) > file.size)
    throw new InputError(`${file.path}: groups of ${sizes.slice(0, 8).join(', ')} rows in ${file.size} bytes; the file is damaged`);
  return sizes;
}

export interface DescribeTask {
  readonly path: string;
  readonly wanted: Columns;
}

export function describeTable({ path, wanted }: DescribeTask): Promise<Answer<Table>> {
  return answer(path, async (file) => {
    const metadata = await parquetMetadataAsync(bufferOf(file));
    const columns = chooseColumns(metadata, wanted, path);
    return { columns, classes: classesOf(metadata, columns.label), groups: groupSizes(metadata, file) };
  });
}

/** A text, or the first of a list of texts. */
function captionOf(value: unknown): string | null {
  const text = Array.isArray(value) ? value[0] : value;
  if (text instanceof Uint8Array) return new TextDecoder().decode(text);
  return typeof text === 'string' ? text : null;
}

function rowOf(row: ParquetRow, { image, label, caption }: ChosenColumns): Row {
  const value: unknown = row[image];
  const bytes = isRecord(value) && !(value instanceof Uint8Array) ? value['bytes'] : value;
  return {
    // A message carries the whole memory behind an array.
    bytes: bytes instanceof Uint8Array ? bytes.slice() : null,
    label: label === null ? null : labelOf(row[label]),
    caption: caption === null ? null : captionOf(row[caption]),
  };
}

export interface RowsTask {
  readonly path: string;
  readonly columns: ChosenColumns;
  readonly rowStart: number;
  readonly rowEnd: number;
}

export function readRows({ path, columns: chosen, rowStart, rowEnd }: RowsTask): Promise<Answer<readonly Row[]>> {
  return answer(path, async (file) => {
    const columns = [...new Set([chosen.image, chosen.label, chosen.caption])].filter((name) => name !== null);
    const options = { file: bufferOf(file), columns, rowStart, rowEnd, compressors, utf8: false };
    const rows = await parquetReadObjects(options);
    if (rows.length !== rowEnd - rowStart)
      throw new InputError(`${path}: has ${rows.length} rows from ${rowStart} to ${rowEnd}; the file is damaged`);
    return rows.map((row) => rowOf(row, chosen));
  });
}
