/** @file The forms in which a model leaves: an ONNX file, a folder with a manifest, a pipeline of diffusers, or weights under their own names; each compared with the engine on the spot. */
import { mkdir, readdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { writeAtomic } from '../../engine/io/atomic.ts';
import { InputError } from '../../engine/io/errors.ts';
import { errorCode, fileFailure } from '../../engine/io/failures.ts';
import { studentFacts } from '../../student/facts.ts';
import { FOLDER_FILE, noiseNames, type StudentFolder } from '../../student/folder.ts';
import { LORA_FORMATS, type LoraFormat, writeLora } from './adapters.ts';
import { checkPipeline, comparePipeline, isApproximate, PIPELINE_FILE, pipelineProgram, writePipeline } from './export-pipeline.ts';
import {
  type Comparison,
  compareExport,
  compareModels,
  compareWith,
  requireStudent,
  type Storage,
  saveStudent,
  type WrittenFiles,
} from './exporting.ts';
import { loadModel, type Model, saveModel } from './model.ts';
import { checkWritable } from './sample-files.ts';
import { snippetsOf } from './snippets.ts';
import { hasParts, openStudentParts, openWithFeatures, writeParts } from './student-folder.ts';

export const EXPORT_FORMATS = ['onnx', 'folder', 'safetensors', 'diffusers', ...LORA_FORMATS] as const;
export type ExportFormat = (typeof EXPORT_FORMATS)[number];
/** Where a form goes unless it is said. */
export const DEFAULT_OUT: Readonly<Record<ExportFormat, string>> = {
  onnx: 'student.onnx',
  folder: 'student',
  safetensors: 'student.safetensors',
  diffusers: 'pipeline',
  peft: 'adapters.safetensors',
  kohya: 'adapters.safetensors',
};

export interface ExportRequest {
  readonly model: Model;
  readonly out: string;
  readonly storage: Storage;
  /** Whether samples are compared with the engine's. */
  readonly check: boolean;
  /** Whether programs that use the student are written beside it. */
  readonly snippets: boolean;
}
export interface Exported {
  /** What was written, the thing itself first. */
  readonly files: readonly string[];
  readonly comparison: Comparison | null;
  /** Whether what was written is near the student only, for a reason that is no rounding of numbers. */
  readonly approximate?: boolean;
}

type Exporter = (request: ExportRequest) => Promise<Exported>;

/** Errors: those of `studentOnnx`, names with the wrong ending, folders that hold something else, and whatever cannot be written. */
export const EXPORTERS: Readonly<Record<ExportFormat, Exporter>> = {
  peft: (request) => adapters('peft')(request),
  kohya: (request) => adapters('kohya')(request),
  async onnx({ model, out, storage, check, snippets }) {
    ending(out, '.onnx');
    requireStudent(model);
    await checkWritable(out);
    const saved = await saveStudent(model, out, { storage });
    const programs = snippets ? await writeSnippets(out, saved.model) : [];
    return { files: [...written(out, saved.files), ...programs], comparison: check ? await compareFile(model, out) : null };
  },
  async folder({ model, out, storage, check, snippets }) {
    if (hasParts(model)) return inParts(model, out, storage, check);
    requireStudent(model);
    await claim(out);
    const student = join(out, STUDENT);
    const { model: bytes, files } = await saveStudent(model, student, { storage });
    const programs = snippets ? await writeSnippets(student, bytes) : [];
    const comparison = check ? await compareExport(model, student) : null;
    const manifest = join(out, FOLDER_FILE);
    await writeAtomic(manifest, `${JSON.stringify(manifestOf(bytes, files, comparison), null, 2)}\n`);
    return { files: [out, ...written(student, files), manifest, ...programs], comparison };
  },
  async safetensors({ model, out, storage, check, snippets }) {
    ending(out, '.safetensors');
    if (snippets)
      throw new InputError(
        'snippets: there are none for weights, which need their network; leave it out, or choose the format onnx or folder',
      );
    await checkWritable(out);
    await saveModel(out, model.card, model.weights, storage === 'float16' ? 'F16' : 'F32');
    return { files: [out], comparison: check ? await compareModels(model, await loadModel(out)) : null };
  },
  async diffusers({ model, out, storage, check, snippets }) {
    checkPipeline(model, storage);
    await claim(out, PIPELINE_FILE);
    const names = await writePipeline(model, out, storage);
    const program = join(out, 'sample.py');
    if (snippets) await writeAtomic(program, pipelineProgram(model));
    const files = [out, ...names.map((name) => join(out, name)), ...(snippets ? [program] : [])];
    return { files, comparison: check ? await comparePipeline(model, out) : null, approximate: isApproximate(model) };
  },
};

const STUDENT = 'student.onnx';
/** Paths of files that were written beside each other. */
const written = (path: string, files: WrittenFiles): readonly string[] => Object.keys(files).map((name) => join(dirname(path), name));

/** Adapters by themselves. */
const adapters =
  (format: LoraFormat): Exporter =>
  async ({ model, out }) => {
    ending(out, '.safetensors');
    await checkWritable(out);
    await writeLora(out, model, format);
    return { files: [out], comparison: null };
  };

/** Of a student of texts both are given the null condition. */
const compareFile = async (model: Model, path: string): Promise<Comparison> =>
  model.card.text ? compareWith(model, await openWithFeatures(path)) : compareExport(model, path);

/** A folder of text encoder, student and decoder. */
async function inParts(model: Model, out: string, storage: Storage, check: boolean): Promise<Exported> {
  await claim(out);
  requireStudent(model);
  const { said, student } = await writeParts(model, out, storage);
  const manifest = join(out, FOLDER_FILE);
  const write = (comparison: Comparison | null): Promise<void> =>
    writeAtomic(manifest, `${JSON.stringify({ ...manifestOf(student, said.files, comparison), ...said }, null, 2)}\n`);
  await write(null);
  const comparison = check ? await compareWith(model, (await openStudentParts(out))!.generator) : null;
  if (comparison) await write(comparison);
  return { files: [out, ...Object.keys(said.files).map((name) => join(out, name)), manifest], comparison };
}

function ending(out: string, wanted: string): void {
  if (!out.endsWith(wanted)) throw new InputError(`out: ${out} does not end in ${wanted}; give a name that does`);
}

/** Makes the folder. Errors: it holds something that is no exported student, which the file `mark` tells. */
async function claim(out: string, mark = FOLDER_FILE): Promise<void> {
  const names = await readdir(out).catch((error: unknown) => {
    if (errorCode(error) === 'ENOENT') return [] as string[];
    throw fileFailure('write', out, error);
  });
  if (names.length > 0 && !names.includes(mark))
    throw new InputError(`out: ${out} holds files already, and is no exported student; choose a new or an empty folder`);
  await mkdir(out, { recursive: true }).catch((error: unknown) => {
    throw fileFailure('write', out, error);
  });
}

/** Programs named like the student. @returns their paths */
async function writeSnippets(student: string, bytes: Uint8Array): Promise<readonly string[]> {
  const file = basename(student);
  const written = Object.entries(snippetsOf(file, studentFacts(file, bytes)));
  const paths = written.map(([kind]) => join(dirname(student), file.replace(/\.onnx$/, `.${kind}`)));
  for (const [i, [, text]] of written.entries()) await writeAtomic(paths[i]!, text);
  return paths;
}

function manifestOf(bytes: Uint8Array, files: WrittenFiles, check: Comparison | null): StudentFolder {
  const facts = studentFacts(STUDENT, bytes);
  const { shape, classes, levels, metadata } = facts;
  return {
    format: 1,
    kind: 'student',
    parts: { student: STUDENT },
    shape,
    classes,
    noise: noiseNames(facts),
    levels,
    metadata,
    files,
    check,
  };
}
