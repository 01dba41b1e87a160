/** @file Finished students in Node: loads an ONNX file that `onestep export` wrote and draws samples, as numbers or as pictures. */
import { readFile } from 'node:fs/promises';
import { toBytes } from '../data/bytes.ts';
import { encodePng } from '../data/image.ts';
import { InputError } from '../engine/io/errors.ts';
import { fileFailure } from '../engine/io/failures.ts';
import { type Compute, loadFor } from '../engine/run/devices.ts';
import type { Executable } from '../engine/run/runtime.ts';
import { type StudentFacts, studentFacts } from './facts.ts';
import { studentFeeds } from './feeds.ts';
import { studentPath } from './folder.ts';
import { labelsInTurn } from './labels.ts';

/** Threads of ONNX Runtime, by default all cores, and the device, by default the CPU. */
export type StudentOptions = Compute;

/** What is asked for. */
export interface StudentRequest {
  /** Samples; default 1. */
  readonly n?: number;
  /** Seed of the noise, an integer; default 0. The same seed gives the samples of `onestep sample`. */
  readonly seed?: number;
  /** Classes, taken in turn; default: every class in turn. */
  readonly labels?: readonly number[];
  /**
   * Samples that are computed at once; default 100. Sample i is the same whatever the batch, up to rounding. A batch occupies the thread until it is
   * done: a server that answers others meanwhile takes a small one, or a worker.
   */
  readonly batch?: number;
  /** Stops between two batches; the promise is then rejected with the signal's reason. */
  readonly signal?: AbortSignal;
  /** Called after each batch with the number of samples done. */
  readonly onProgress?: (done: number, n: number) => void;
}

export interface StudentSamples {
  readonly n: number;
  /** [n, …sample], in [-1, 1]. */
  readonly images: Float32Array;
  /** Class of each sample; null without classes. */
  readonly labels: Int32Array | null;
}

/** An open student. */
export interface Student {
  /** Of one sample, for images [channels, height, width]. */
  readonly shape: readonly number[];
  /** Classes 0 … classes − 1; 0 without classes. */
  readonly classes: number;
  /** Network evaluations for a sample: the steps that the file has inside. */
  readonly nfe: number;
  /** Noise levels at which the network is called, falling. */
  readonly levels: readonly number[];
  /** Names and values that the exporter wrote into the file: method, teacher, data, seed, licence and more. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Draws samples. @throws InputError for a number, seed or class that makes no sense; the signal's reason where it stops */
  sample(request?: StudentRequest): Promise<StudentSamples>;
  /** The same as PNG files, one for each sample. @throws InputError also where samples are no pictures of 1 or 3 channels */
  samplePng(request?: StudentRequest): Promise<readonly Uint8Array[]>;
  /** Frees the session. Nothing can be drawn afterwards. */
  close(): Promise<void>;
}

/**
 * Loads a student. ```const student = await loadStudent('student.onnx'); const { images } = await student.sample({ n: 4, seed: 1 });```
 * @param file path of the file or of an exported folder, or the bytes of the file
 * @throws InputError where it cannot be read, is no ONNX file or no student
 */
export async function loadStudent(file: string | Uint8Array, options: StudentOptions = {}): Promise<Student> {
  const source = typeof file === 'string' ? await studentPath(file) : file;
  const where = typeof source === 'string' ? source : 'student';
  const facts = studentFacts(where, typeof source === 'string' ? await readBytes(source) : source);
  checkAlone(where, facts);
  const executable = await loadFor(source, options).catch((error: unknown) => {
    if (error instanceof InputError) throw error; // of the device, not of the file
    throw new InputError(`${where}: ONNX Runtime cannot load it (${(error as Error).message.split('\n')[0]}); export the student again`, {
      cause: error,
    });
  });
  const { shape, classes, levels, metadata, noises } = facts;
  const sample = (request: StudentRequest = {}): Promise<StudentSamples> => draw(where, executable, facts, request);
  return {
    shape,
    classes,
    nfe: Math.max(noises, levels.length),
    levels,
    metadata,
    sample,
    async samplePng(request) {
      checkPicture(where, shape);
      return pictures(await sample(request), shape);
    },
    close: () => executable.close(),
  };
}

/** Errors: a file that needs others. */
function checkAlone(where: string, { conditions, gives }: StudentFacts): void {
  const told = Object.keys(conditions);
  if (told.length > 0)
    throw new InputError(
      `${where}: takes ${told.join(', ')}, features of a text, which its text encoder makes; draw from the whole folder with onestep sample`,
    );
  if (gives === 'latent')
    throw new InputError(`${where}: gives latents, which a decoder makes images of; draw from the whole folder with onestep sample`);
}

const readBytes = (path: string): Promise<Uint8Array> =>
  readFile(path).catch((error: unknown) => {
    throw fileFailure('read', path, error);
  });

const MOST = 10_000_000;
/** Values of one answer: 8 GB. */
const MOST_VALUES = 2 ** 31;

async function draw(where: string, executable: Executable, facts: StudentFacts, request: StudentRequest): Promise<StudentSamples> {
  const { n = 1, seed = 0, batch = 100, signal, onProgress } = request;
  whole('n', n, 1, MOST);
  whole('seed', seed, -Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);
  whole('batch', batch, 1, MOST);
  const labels = labelsInTurn(where, facts.classes, request.labels ?? [], n);
  const size = facts.shape.reduce((a, b) => a * b, 1);
  if (n * size > MOST_VALUES)
    throw new InputError(`n: ${n} samples of [${facts.shape}] are more than ${MOST_VALUES} values; draw fewer of them at a time`);
  const images = new Float32Array(n * size);
  for (let first = 0; first < n; first += batch) {
    signal?.throwIfAborted();
    const count = Math.min(batch, n - first);
    const given = labels?.subarray(first, first + count) ?? null;
    const { image } = await executable.run(studentFeeds(facts, { seed, first, count, labels: given }));
    if (!(image?.data instanceof Float32Array) || image.data.length !== count * size)
      throw new InputError(
        `${where}: its image is ${image?.dtype}[${image?.shape}], not float32[${[count, ...facts.shape]}]; export the student again`,
      );
    images.set(image.data, first * size);
    onProgress?.(first + count, n);
    await new Promise((resolve) => setImmediate(resolve)); // a run blocks the event loop: let signals through
  }
  return { n, images, labels };
}

function whole(name: string, value: number, min: number, max: number): void {
  if (!Number.isInteger(value) || value < min || value > max)
    throw new InputError(`${name}: ${value} is not a whole number in [${min}, ${max}]`);
}

/** Errors: samples that are no pictures. */
export function checkPicture(where: string, shape: readonly number[]): void {
  if (shape.length !== 3 || (shape[0] !== 1 && shape[0] !== 3))
    throw new InputError(`${where}: samples of [${shape}] are no pictures of 1 or 3 channels; take them as numbers`);
}

function pictures({ images, n }: StudentSamples, shape: readonly number[]): Promise<readonly Uint8Array[]> {
  const [channels, height, width] = shape as readonly [number, number, number];
  const bytes = toBytes(images);
  const size = bytes.length / n;
  return Promise.all(Array.from({ length: n }, (_, i) => encodePng(bytes.subarray(i * size, (i + 1) * size), width, height, channels)));
}
