/** @file Captions in a file of their own: one a line, or JSON. */
import { readFile } from 'node:fs/promises';
import { extname } from 'node:path';
import { InputError } from '../../engine/io/errors.ts';
import { fileFailure } from '../../engine/io/failures.ts';

const KEYS = ['caption', 'text', 'prompt'];

/** A text, or an object with one. */
function captionOf(value: unknown, where: string): string {
  const texts = typeof value === 'object' && value !== null ? KEYS.map((key) => (value as Record<string, unknown>)[key]) : [value];
  const text = texts.find((each) => typeof each === 'string');
  if (typeof text !== 'string')
    throw new InputError(`${where}: is ${JSON.stringify(value)?.slice(0, 80)}; a text, or an object with ${KEYS.join(', ')} expected`);
  return text;
}

function parseJson(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new InputError(`${where}: is no JSON (${(error as Error).message.replace(/\s+/g, ' ').slice(0, 200)})`);
  }
}

/** Without the empty end after the last line. */
function linesOf(text: string): readonly string[] {
  const lines = text.split(/\r?\n/);
  if (lines.at(-1) === '') lines.pop();
  return lines;
}

const READERS: Readonly<Record<string, (text: string, path: string) => readonly string[]>> = {
  '.txt': linesOf,
  '.jsonl': (text, path) => linesOf(text).map((line, i) => captionOf(parseJson(line, `${path}:${i + 1}`), `${path}:${i + 1}`)),
  '.json': (text, path) => {
    const list = parseJson(text, path);
    if (!Array.isArray(list)) throw new InputError(`${path}: is no list; a list of captions expected`);
    return list.map((value, i) => captionOf(value, `${path}[${i}]`));
  },
};

/**
 * Reads captions: `.txt` with one a line, `.json` with a list, `.jsonl` with one value a line; a value is a text or an object with `caption`, `text` or `prompt`.
 * @param count how many there must be; default: any number from 1
 * @throws InputError for other endings, malformed files, an empty caption and another count
 */
export async function readCaptions(path: string, count: number | null = null): Promise<readonly string[]> {
  const read = READERS[extname(path).toLowerCase()];
  if (!read) throw new InputError(`captions: ${path} is no ${Object.keys(READERS).join(', ')} file`);
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    throw fileFailure('read', path, error);
  });
  const captions = read(text.replace(/^\ufeff/, ''), path);
  if (captions.length !== (count ?? captions.length) || captions.length === 0)
    throw new InputError(`captions: ${path} has ${captions.length} for ${count ?? 'any number of'} images; one caption an image expected`);
  const empty = captions.findIndex((caption) => caption.trim() === '');
  if (empty >= 0) throw new InputError(`captions: ${path} has an empty one, number ${empty + 1}; one caption an image expected`);
  return captions;
}
