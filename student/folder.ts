/** @file A student's folder: its parts and a manifest that says what they are, how they are fed and how they were checked. */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { InputError } from '../engine/io/errors.ts';
import { errorCode, fileFailure } from '../engine/io/failures.ts';
import type { StudentFacts } from './facts.ts';
import { noiseName } from './feeds.ts';

/** The manifest of a folder. */
export const FOLDER_FILE = 'onestep.json';

/** What the manifest says. */
export interface StudentFolder {
  readonly format: 1;
  readonly kind: 'student';
  /** Files by what they do: `student` makes an image of noise. */
  readonly parts: { readonly student: string } & Readonly<Record<string, string>>;
  /** Of a sample, without the batch axis. */
  readonly shape: readonly number[];
  readonly classes: number;
  /** Inputs of unit normal noise, each [N, …shape]. */
  readonly noise: readonly string[];
  readonly levels: readonly number[];
  /** What the exporter knows: method, teacher, data, licence and more. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Size in bytes and SHA-256 of every part, by file. */
  readonly files: Readonly<Record<string, { readonly bytes: number; readonly sha256: string }>>;
  /** Samples compared with the engine's for the same noise, and their largest difference; null where that was left out. */
  readonly check: { readonly samples: number; readonly maxDifference: number } | null;
}

export const noiseNames = ({ noises }: Pick<StudentFacts, 'noises'>): readonly string[] =>
  Array.from({ length: noises }, (_, k) => noiseName(k));

/** Whether a path is such a folder. */
export const isStudentFolder = (path: string): Promise<boolean> =>
  stat(join(path, FOLDER_FILE)).then(
    (facts) => facts.isFile(),
    () => false,
  );

/**
 * The student's file: the path itself, or what the manifest of a folder names.
 * @throws InputError for a folder without a manifest, or with one that names no student
 */
export async function studentPath(path: string): Promise<string> {
  const isFolder = await stat(path).then(
    (facts) => facts.isDirectory(),
    () => false,
  );
  if (!isFolder) return path;
  const file = join(path, FOLDER_FILE);
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    if (errorCode(error) === 'ENOENT')
      throw new InputError(`${path}: holds no ${FOLDER_FILE}; give a student's file or a folder that onestep export wrote`);
    throw fileFailure('read', file, error);
  });
  const name = nameIn(text);
  if (name === null) throw new InputError(`${file}: names no student among its parts; export the student again`);
  return join(path, name);
}

/** The part called `student`: a file of the folder itself. */
function nameIn(text: string): string | null {
  try {
    const name = (JSON.parse(text) as { readonly parts?: { readonly student?: unknown } } | null)?.parts?.student;
    return typeof name === 'string' && /^[^/\\]+$/.test(name) && name !== '..' ? name : null;
  } catch {
    return null;
  }
}
