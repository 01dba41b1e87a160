/** @file A folder's manifest: sizes and SHA-256 sums, so that a damaged checkpoint is noticed before it is used. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import { writeAtomic } from './atomic.ts';
import { InputError } from './errors.ts';
import { errorCode, fileFailure } from './failures.ts';

export const MANIFEST_NAME = 'manifest.json';

export interface FileFacts {
  readonly bytes: number;
  /** 64 hexadecimal digits. */
  readonly sha256: string;
}
export interface Manifest {
  readonly files: Readonly<Record<string, FileFacts>>;
}

/** Size and sum of a file, read in pieces. @throws InputError where it cannot be read */
export async function factsOf(path: string): Promise<FileFacts> {
  const hash = createHash('sha256');
  let bytes = 0;
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 }) as AsyncIterable<Buffer>) {
      hash.update(chunk);
      bytes += chunk.length;
    }
  } catch (error) {
    throw fileFailure('read', path, error);
  }
  return { bytes, sha256: hash.digest('hex') };
}

/** Names are relative, with forward slashes, and stay inside the folder: manifests may come from elsewhere. */
const isInside = (name: string): boolean => name !== '' && !isAbsolute(name) && !name.split(/[\\/]/).includes('..');

/**
 * Sums the named files of a folder and writes `manifest.json` beside them, atomically.
 * @param files names relative to the folder
 * @throws InputError for a file that cannot be read or lies outside
 */
export async function writeManifest(folder: string, files: readonly string[]): Promise<Manifest> {
  const facts: Record<string, FileFacts> = {};
  for (const name of files.toSorted()) {
    if (!isInside(name)) throw new InputError(`${folder}: ${JSON.stringify(name)} is no name inside the folder`);
    facts[name] = await factsOf(join(folder, name));
  }
  const manifest = { files: facts };
  await writeAtomic(join(folder, MANIFEST_NAME), JSON.stringify(manifest, null, 2) + '\n');
  return manifest;
}

const isFacts = (value: unknown): value is FileFacts =>
  typeof value === 'object' &&
  value !== null &&
  'bytes' in value &&
  Number.isSafeInteger(value.bytes) &&
  'sha256' in value &&
  typeof value.sha256 === 'string' &&
  /^[0-9a-f]{64}$/.test(value.sha256);

function parseManifest(text: string, path: string): Manifest {
  let files: unknown;
  try {
    files = (JSON.parse(text) as { readonly files?: unknown } | null)?.files;
  } catch {
    throw new InputError(`${path}: not JSON; the manifest is damaged`);
  }
  if (typeof files !== 'object' || files === null || Array.isArray(files))
    throw new InputError(`${path}: no object "files"; the manifest is damaged`);
  for (const [name, facts] of Object.entries(files)) {
    if (!isInside(name) || !isFacts(facts))
      throw new InputError(
        `${path}: entry ${JSON.stringify(name)} is ${JSON.stringify(facts)}; it must give bytes and sha256 of a file inside`,
      );
  }
  return { files: files as Manifest['files'] };
}

async function checkFile(path: string, { bytes, sha256 }: FileFacts): Promise<void> {
  const size = await stat(path).then(
    (found) => found.size,
    (error: unknown) => {
      throw errorCode(error) === 'ENOENT'
        ? new InputError(`${path}: missing; the manifest lists it with ${bytes} bytes`)
        : fileFailure('read', path, error);
    },
  );
  if (size !== bytes)
    throw new InputError(`${path}: ${size < bytes ? 'truncated' : 'too long'}: ${size} bytes; the manifest says ${bytes}`);
  const actual = (await factsOf(path)).sha256;
  if (actual !== sha256) throw new InputError(`${path}: changed: its SHA-256 is ${actual}; the manifest says ${sha256}`);
}

/**
 * Checks a folder against its manifest.
 * @returns the manifest
 * @throws InputError naming the first file (by name) that is missing, truncated, too long or changed, or the manifest itself
 */
export async function verifyManifest(folder: string): Promise<Manifest> {
  const path = join(folder, MANIFEST_NAME);
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    throw fileFailure('read', path, error);
  });
  const manifest = parseManifest(text, path);
  for (const name of Object.keys(manifest.files).sort()) await checkFile(join(folder, name), manifest.files[name]!);
  return manifest;
}
