/** @file Finds TensorFlow.js among what is installed: with the native library on a GPU or on the CPU, else in WebAssembly, else in JavaScript alone. */
import { InputError } from '../io/errors.ts';

export type Tf = typeof import('@tensorflow/tfjs-core');
/** A tensor of TensorFlow.js. */
export type Value = import('@tensorflow/tfjs-core').Tensor;

/** TensorFlow.js as it was found here. */
export interface Library {
  readonly tf: Tf;
  /** Version and backend, and what was installed but did not load, for people. */
  readonly words: string;
}

/** With kernels of their own; the first that loads is taken. */
const NATIVE = ['@tensorflow/tfjs-node-gpu', '@tensorflow/tfjs-node'] as const;
/** Backends of tfjs-core: WebAssembly has every kernel that programs use and is ten to sixty times as fast as JavaScript. */
const PLAIN = ['wasm', 'cpu'] as const;
export type PlainBackend = (typeof PLAIN)[number];
const CORE = '@tensorflow/tfjs-core';

/** What a package exports; null where it is not installed, an error where it is and does not load. */
export type Load = (name: string) => Promise<unknown>;
const installed: Load = async (name) => {
  try {
    const found = (await import(/* @vite-ignore */ name)) as { readonly default?: unknown };
    return found.default ?? found;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ERR_MODULE_NOT_FOUND' && message.includes(`'${name}'`)) return null;
    throw error;
  }
};

/**
 * TensorFlow.js with the best backend that is installed.
 * @throws InputError where none is, in one line that says what to install
 */
export async function findLibrary(load: Load = installed): Promise<Library> {
  const broken: string[] = [];
  for (const name of NATIVE) {
    try {
      const tf = (await load(name)) as (Tf & { readonly version: Readonly<Record<string, string>> }) | null;
      if (tf) return made(tf, name, tf.version['tfjs-node'] ?? tf.version_core, broken);
    } catch (error) {
      broken.push(`${name} does not load: ${(error as Error).message.split('\n')[0]}`);
    }
  }
  for (const backend of PLAIN) {
    const library = await plainLibrary(backend, load, broken);
    if (library) return library;
  }
  throw new InputError(['tfjs: TensorFlow.js is not installed', ...broken].join('; '));
}

/** tfjs-core on one of its backends; null where either is not installed. */
export async function plainLibrary(backend: PlainBackend, load: Load = installed, broken: readonly string[] = []): Promise<Library | null> {
  const tf = (await load(CORE)) as Tf | null;
  if (!tf || !(await load(`@tensorflow/tfjs-backend-${backend}`))) return null;
  tf.enableProdMode(); // its greeting asks for another package on every start
  return (await tf.setBackend(backend)) ? made(tf, CORE, tf.version_core, broken) : null;
}

const made = (tf: Tf, name: string, version: string, broken: readonly string[]): Library => ({
  tf,
  words: [`${name} ${version}, backend ${tf.getBackend()}`, ...broken].join('; '),
});
