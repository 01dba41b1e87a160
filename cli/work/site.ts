/** @file Writes a student as a static page: no network, no build step; any file server shows it. */
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { classNames } from '../../data/idx.ts';
import { writeAtomic } from '../../engine/io/atomic.ts';
import { InputError } from '../../engine/io/errors.ts';
import { errorCode, fileFailure } from '../../engine/io/failures.ts';
import type { Device, Site } from '../../page/messages.ts';
import type { TrainingManifest } from '../../page/training-manifest.ts';
import { type StudentFacts, studentFacts } from '../../student/facts.ts';
import { checkPicture } from '../../student/student.ts';
import { siteCode } from './site-code.ts';
import { renderSite } from './site-html.ts';
import { webRuntime } from './site-runtime.ts';
import type { TrainingFiles } from './site-training.ts';

export interface SiteRequest {
  /** Name of the student for messages and the title. */
  readonly name: string;
  readonly student: Uint8Array;
  readonly out: string;
  /** Devices whose runtime is copied into the site. */
  readonly devices: readonly Device[];
  /** What the page trains, where it does. */
  readonly training?: TrainingFiles;
  readonly title?: string;
  /** Compiled modules; default: those of the built package. */
  readonly code?: string;
}
export interface SiteWritten {
  readonly out: string;
  readonly files: number;
  readonly bytes: number;
}

const SITE_FILE = 'site.json';
const STUDENT_FILE = 'student.onnx';
const TRAINING = 'training';

/**
 * Writes the site into a folder, which is new, empty or a site already.
 * @throws InputError where the folder holds something else, onnxruntime-web is not installed, or samples are no pictures
 */
export async function writeSite(request: SiteRequest): Promise<SiteWritten> {
  const { name, student, out, devices, training } = request;
  const facts = studentFacts(name, student);
  checkPicture(name, facts.shape);
  const runtime = await webRuntime(devices);
  const code = await siteCode(request.code);
  await claim(out);
  const site: Site = {
    format: 1,
    shape: facts.shape,
    classes: facts.classes,
    noises: facts.noises,
    student: STUDENT_FILE,
    training: training ? `${TRAINING}/${TRAINING}.json` : null,
    devices,
  };
  const files = new Map<string, string | Uint8Array>([[STUDENT_FILE, student]]);
  for (const [path, text] of code) files.set(`code/${path}`, text);
  for (const path of runtime.files) files.set(`ort/${basename(path)}`, await readFile(path));
  for (const [path, bytes] of Object.entries(training?.files ?? {})) files.set(`${TRAINING}/${path}`, bytes);
  if (training) files.set(site.training!, JSON.stringify(training.manifest));
  files.set(SITE_FILE, JSON.stringify(site));
  const page = {
    title: request.title ?? titleOf(facts, name),
    site,
    classNames: classNames(facts.metadata['data'] ?? ''),
    facts: factsOf(facts, runtime.version),
  };
  files.set('index.html', renderSite({ ...page, training: training ? partOf(training.manifest) : null }));
  // The document comes last: where it is, the site is whole.
  for (const [path, content] of files) {
    await mkdir(dirname(join(out, path)), { recursive: true });
    await writeAtomic(join(out, path), content);
  }
  return { out, files: files.size, bytes: [...files.values()].reduce((n, content) => n + Buffer.byteLength(content), 0) };
}

/** Makes the folder. Errors: it holds something that is no site. */
async function claim(out: string): Promise<void> {
  const names = await readdir(out).catch((error: unknown) => {
    if (errorCode(error) === 'ENOENT') return [] as string[];
    throw fileFailure('write', out, error);
  });
  if (names.length > 0 && !names.includes(SITE_FILE))
    throw new InputError(`out: ${out} holds files already, and is no site; choose a new or an empty folder`);
  await mkdir(out, { recursive: true }).catch((error: unknown) => {
    throw fileFailure('write', out, error);
  });
}

const titleOf = ({ metadata: { data }, ...facts }: StudentFacts, name: string): string => {
  const nfe = evaluationsOf(facts);
  return data ? `${nfe === 1 ? 'One' : nfe}-step student of ${data}` : basename(name);
};

/** Network evaluations for a sample. */
const evaluationsOf = ({ noises, levels }: Pick<StudentFacts, 'noises' | 'levels'>): number => Math.max(noises, levels.length);

/** What the file says of itself, for the end of the page. */
function factsOf({ metadata, ...facts }: StudentFacts, runtime: string): Record<string, string> {
  const named = { method: 'method', teacher: 'teacher', licence: 'licence' };
  const said = Object.entries(named).flatMap(([key, word]) => (metadata[key] ? [[word, metadata[key]] as const] : []));
  return { ...Object.fromEntries(said), 'evaluations per image': String(evaluationsOf(facts)), 'ONNX Runtime Web': runtime };
}

const partOf = ({ method, steps, programs }: TrainingManifest) => ({
  method,
  steps: steps.length,
  terms: Object.keys(programs).map((phase) => `${phase}/loss`),
});
