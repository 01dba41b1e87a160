/** @file A finished student as the folder of a pipeline: text encoder, student and decoder, each a file of its own, and a manifest that says how they go together. */
import { cp, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import { toOnnx } from '../../engine/graph/onnx.ts';
import { clamp } from '../../engine/graph/ops/elementwise.ts';
import { input } from '../../engine/graph/ops/leaf.ts';
import { simplify } from '../../engine/graph/simplify.ts';
import type { Tensor } from '../../engine/graph/tensor.ts';
import { sha256, writeAtomic } from '../../engine/io/atomic.ts';
import { InputError } from '../../engine/io/errors.ts';
import { fileFailure } from '../../engine/io/failures.ts';
import { readJson } from '../../engine/io/json.ts';
import { type Compute, loadFor } from '../../engine/run/devices.ts';
import { type Executable, float32 } from '../../engine/run/runtime.ts';
import { openTokenizer } from '../../models/foreign/tokenizer.ts';
import { type StudentFacts, studentFacts } from '../../student/facts.ts';
import { studentFeeds } from '../../student/feeds.ts';
import { FOLDER_FILE, isStudentFolder } from '../../student/folder.ts';
import { textSchema } from './card.ts';
import { type Storage, saveStudent, type WrittenFile, type WrittenFiles } from './exporting.ts';
import { conditionFeeds } from './feeds.ts';
import type { Generator, GeneratorOptions, SampleRequest } from './generator.ts';
import { autoencoderOf, decoderOf, imageShape } from './latents.ts';
import type { Model } from './model.ts';
import { tableOf } from './prompts.ts';
import type { Source } from './source.ts';
import type { StudentFile } from './student-file.ts';
import { encodeAll, limitOf, textGraph, towerSuffixes } from './texts.ts';

const FILES = { student: 'student.onnx', decoder: 'vae_decoder.onnx', textEncoder: 'text_encoder.onnx' } as const;

const sizes = z.array(z.int().min(1));
const file = z.string().regex(/^[^/\\]+$/);
/** What a folder of several parts says beside what every student's folder says. */
const manifestSchema = z.looseObject({
  parts: z.looseObject({
    student: file,
    /** Takes `latent`, gives `image` in −1…1. */
    decoder: file.optional(),
    /** Takes int64 tokens `ids0` [N, length], `mask0`, …; gives the student's inputs. */
    textEncoder: file.optional(),
  }),
  /** Shape of the images. */
  shape: sizes,
  text: textSchema.optional(),
  /** Folders of tokenizers, one for each of the text encoder's. */
  tokenizers: z.array(file).optional(),
  /** The student's inputs that come from a text, and their shapes for one sample. */
  conditions: z.record(z.string(), sizes).optional(),
});
type Manifest = z.output<typeof manifestSchema>;

/** Whether a student is of several parts: text encoder, student, decoder. */
export const hasParts = ({ card }: Model): boolean => card.image !== undefined || card.text !== undefined;

/** Writes the parts into a folder that is there. Errors as in `saveStudent`. @returns what the manifest says of them, and the student's model */
export async function writeParts(
  model: Model,
  folder: string,
  storage: Storage,
): Promise<{ readonly said: Readonly<Record<string, unknown>> & { readonly files: WrittenFiles }; readonly student: Uint8Array }> {
  const { card } = model;
  const saved = await saveStudent(model, join(folder, FILES.student), { storage, decoded: false });
  const files: Record<string, WrittenFile> = { ...saved.files };
  const write = async (name: string, bytes: Uint8Array): Promise<void> => {
    await writeAtomic(join(folder, name), bytes);
    files[name] = { bytes: bytes.length, sha256: sha256(bytes) };
  };
  if (card.image) {
    const decode = decoderOf(await autoencoderOf(model));
    await write(FILES.decoder, asOnnx({ image: clamp(decode(input('latent', ['N', ...card.sample.shape])), -1, 1) }, storage));
  }
  const tokenizers = card.text ? towerSuffixes(card.text).map((suffix) => `tokenizer${suffix}`) : [];
  if (card.text) {
    await write(FILES.textEncoder, asOnnx((await textGraph(model.folder!, card.text)).outputs, storage));
    for (const name of tokenizers) await cp(join(model.folder!, name), join(folder, name), { recursive: true, dereference: true });
  }
  const said = {
    parts: {
      student: FILES.student,
      ...(card.image ? { decoder: FILES.decoder } : {}),
      ...(card.text ? { textEncoder: FILES.textEncoder } : {}),
    },
    shape: imageShape(card),
    files,
    ...(card.text ? { text: card.text, tokenizers } : {}),
    ...(card.sample.conditions ? { conditions: card.sample.conditions } : {}),
  };
  return { said, student: saved.model };
}

function asOnnx(outputs: Readonly<Record<string, Tensor>>, storage: Storage): Uint8Array {
  const names = Object.keys(outputs);
  return toOnnx(Object.fromEntries(simplify(Object.values(outputs)).map((t, i) => [names[i]!, t])), { target: 'any', storage });
}

async function readManifest(folder: string): Promise<Manifest> {
  const path = join(folder, FOLDER_FILE);
  const result = manifestSchema.safeParse(await readJson(path));
  if (result.success) return result.data;
  const { path: at, message } = result.error.issues[0]!;
  throw new InputError(`${path}: ${at.join('.') || 'its content'} is wrong (${message}); export the student again`);
}

type Parts = StudentFile & { readonly texts: Source['texts'] };
/** Opens a folder of several parts; null for other students. Errors: InputError for files that are missing or no parts of a student. */
export async function openStudentParts(
  folder: string,
  options: Pick<GeneratorOptions, 'batch' | 'threads' | 'device'> = {},
): Promise<Parts | null> {
  if (!(await isStudentFolder(folder))) return null;
  const manifest = await readManifest(folder);
  const { student, decoder: decoderName, textEncoder } = manifest.parts;
  if (!decoderName && !textEncoder) return null;
  const path = join(folder, student);
  const facts = studentFacts(path, await readBytes(path));
  const open = (name: string): Promise<Executable> => openFile(join(folder, name), options);
  const executable = await open(student);
  const decoder = decoderName ? await open(decoderName) : null;
  const { batch = 100 } = options;
  return {
    sample: { shape: manifest.shape, classes: facts.classes, conditions: facts.conditions },
    metadata: facts.metadata,
    generator: {
      nfe: Math.max(facts.noises, facts.levels.length),
      sampler: 'student',
      async generate(request) {
        const told = Object.keys(facts.conditions);
        if (told.length > 0 && !request.conditions)
          throw new InputError(`prompt: ${folder} draws what a text says; give --prompt, or --prompts and a file`);
        const drawn = await drawnBy(executable, facts, batch, request);
        return decoder
          ? decoded(decoder, drawn, { latent: facts.shape, image: manifest.shape, n: request.n, batch: Math.min(batch, 8) })
          : drawn;
      },
      async close() {
        await executable.close();
        await decoder?.close();
      },
    },
    texts: textEncoder && manifest.text ? (texts, onNote) => encoded({ folder, manifest, compute: options }, texts, onNote) : null,
  };
}

const readBytes = (path: string): Promise<Uint8Array> =>
  readFile(path).catch((error: unknown) => {
    throw fileFailure('read', path, error);
  });

/** A student's file that takes features of texts, by itself. */
export async function openWithFeatures(path: string): Promise<Generator> {
  const facts = studentFacts(path, await readBytes(path));
  const executable = await openFile(path);
  return {
    nfe: Math.max(facts.noises, facts.levels.length),
    sampler: 'student',
    generate: (request) => drawnBy(executable, facts, request.n, request),
    close: () => executable.close(),
  };
}

/** What the student itself gives: images or latents, [n, …]. */
async function drawnBy(
  executable: Executable,
  facts: StudentFacts,
  batch: number,
  { n, seed, labels, conditions, onProgress }: SampleRequest,
): Promise<Float32Array> {
  const size = facts.shape.reduce((a, b) => a * b, 1);
  const sample = { shape: facts.shape, classes: facts.classes, conditions: facts.conditions };
  const out = new Float32Array(n * size);
  for (let first = 0; first < n; first += batch) {
    const count = Math.min(batch, n - first);
    const given = labels ? Int32Array.from({ length: count }, (_, i) => labels[first + i]!) : null;
    const feeds = studentFeeds(facts, { seed, first, count, labels: given });
    const told = conditions ? conditionFeeds(sample, conditions, first, count) : {};
    out.set((await executable.run({ ...feeds, ...told }))[facts.gives]!.data as Float32Array, first * size);
    onProgress?.(first + count);
    await new Promise((resolve) => setImmediate(resolve)); // a run blocks the event loop: let signals through
  }
  return out;
}

async function openFile(path: string, compute: Compute = {}): Promise<Executable> {
  return loadFor(await readBytes(path), compute).catch((error: unknown) => {
    if (error instanceof InputError) throw error; // of the device, not of the file
    throw new InputError(`${path}: ONNX Runtime cannot load it (${(error as Error).message.split('\n')[0]}); export the student again`, {
      cause: error,
    });
  });
}

interface Opened {
  readonly folder: string;
  readonly manifest: Manifest;
  readonly compute: Compute;
}
async function encoded({ folder, manifest, compute }: Opened, texts: readonly string[], onNote: (text: string) => void) {
  const recipe = manifest.text!;
  const towers = [];
  for (const name of manifest.tokenizers ?? []) towers.push({ tokenizer: await openTokenizer(join(folder, name)) });
  const program = await openFile(join(folder, manifest.parts.textEncoder!), compute);
  try {
    const features = await encodeAll(program, { towers, recipe, shapes: manifest.conditions ?? {} }, texts);
    return tableOf(texts, [features], { limit: limitOf(recipe), perPart: texts.length, onNote });
  } finally {
    await program.close();
  }
}

interface Sizes {
  readonly latent: readonly number[];
  readonly image: readonly number[];
  readonly n: number;
  readonly batch: number;
}
async function decoded(decoder: Executable, latents: Float32Array, { latent, image, n, batch }: Sizes): Promise<Float32Array> {
  const [inside, outside] = [latents.length / n, image.reduce((a, b) => a * b, 1)];
  const out = new Float32Array(n * outside);
  for (let first = 0; first < n; first += batch) {
    const count = Math.min(batch, n - first);
    const x = float32(latents.subarray(first * inside, (first + count) * inside), [count, ...latent]);
    out.set((await decoder.run({ latent: x }))['image']!.data as Float32Array, first * outside);
  }
  return out;
}
