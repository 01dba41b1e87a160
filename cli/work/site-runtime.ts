/** @file The files of ONNX Runtime for browsers, from the npm package that the user has beside this one. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { InputError } from '../../engine/io/errors.ts';
import type { Device } from '../../page/messages.ts';

const PACKAGE = 'onnxruntime-web';
/** The version whose files are known to be those below. */
const SINCE = '1.30';
const FILES: Readonly<Record<Device, readonly string[]>> = {
  wasm: ['ort.wasm.min.mjs', 'ort-wasm-simd-threaded.mjs', 'ort-wasm-simd-threaded.wasm'],
  webgpu: ['ort.webgpu.min.mjs', 'ort-wasm-simd-threaded.asyncify.mjs', 'ort-wasm-simd-threaded.asyncify.wasm'],
};

export interface WebRuntime {
  readonly version: string;
  /** Paths of the files to copy. */
  readonly files: readonly string[];
}

/** Where the package is looked for: from where the command is run, and from this package. */
const places = (): readonly string[] => [join(process.cwd(), 'package.json'), fileURLToPath(import.meta.url)];

/** Finds the files of some devices. @throws InputError where the package is not installed or lacks one */
export async function webRuntime(devices: readonly Device[], from: readonly string[] = places()): Promise<WebRuntime> {
  const folder = locate(from);
  const { version } = JSON.parse(await readFile(join(folder, '../package.json'), 'utf8')) as { version: string };
  const files = devices.flatMap((device) => FILES[device]);
  const missing = files.find((name) => !existsSync(join(folder, name)));
  if (missing)
    throw new InputError(
      `page: ${PACKAGE} ${version} has no ${missing}; install version ${SINCE} or a newer one (npm install ${PACKAGE}@^${SINCE}.0)`,
    );
  return { version, files: files.map((name) => join(folder, name)) };
}

function locate(from: readonly string[]): string {
  for (const start of from) {
    try {
      return dirname(createRequire(start).resolve(`${PACKAGE}/${FILES.wasm[2]}`));
    } catch {
      // told below
    }
  }
  throw new InputError(
    `page: the package ${PACKAGE} is not installed, whose files the page needs; install it first (npm install ${PACKAGE})`,
  );
}
