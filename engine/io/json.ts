/** @file JSON files of others: read whole, with one line for whatever is wrong. */
import { readFile, stat } from 'node:fs/promises';
import { InputError } from './errors.ts';
import { errorCode, fileFailure } from './failures.ts';

/** Far above any vocabulary; what is larger is something else. */
const MAX_BYTES = 200_000_000;

/** The text of a file. @throws InputError where it cannot be read or is larger than 200 MB */
export async function readText(path: string): Promise<string> {
  try {
    const { size } = await stat(path);
    if (size > MAX_BYTES) throw new InputError(`${path}: has ${size} bytes; at most ${MAX_BYTES} are read`);
    return await readFile(path, 'utf8');
  } catch (error) {
    throw fileFailure('read', path, error);
  }
}

/** @throws InputError where the text is not JSON */
export function parseJson(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new InputError(`${where}: not JSON: ${(error as Error).message.replace(/\s+/g, ' ').slice(0, 200)}`);
  }
}

/** The value in a JSON file. Errors as in `readText` and `parseJson`. */
export const readJson = async (path: string): Promise<unknown> => parseJson(await readText(path), path);

/** What `read` gives, or undefined where there is no such file. */
export async function ifThere<T>(read: (path: string) => Promise<T>, path: string): Promise<T | undefined> {
  const missing = await stat(path).then(
    () => false,
    (error: unknown) => errorCode(error) === 'ENOENT' || errorCode(error) === 'ENOTDIR',
  );
  return missing ? undefined : read(path);
}
