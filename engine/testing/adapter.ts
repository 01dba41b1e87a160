/** @file A graphics adapter for tests without a GPU: the software driver inside Debian's package `chromium`, in processes of their own. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const FOLDER = '/usr/lib/chromium';
const DRIVER = `${FOLDER}/vk_swiftshader_icd.json`;

/** The loader of Vulkan is looked for when a process starts, the driver when a device is asked for. */
const environment = (): NodeJS.ProcessEnv => ({
  ...process.env,
  LD_LIBRARY_PATH: [FOLDER, process.env['LD_LIBRARY_PATH']].filter(Boolean).join(':'),
  VK_ICD_FILENAMES: DRIVER,
  XDG_RUNTIME_DIR: process.env['XDG_RUNTIME_DIR'] ?? tmpdir(),
});

const hasAdapter = existsSync(DRIVER);

/** What a process wrote and how it ended. */
export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a TypeScript file in a process that has the software adapter. */
export function onAdapter(script: URL, args: readonly string[] = [], timeout = 290_000): Promise<Ended> {
  const loader = new URL('../io/source-loader.mjs', import.meta.url).href;
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      ['--expose-gc', '--import', loader, fileURLToPath(script), ...args],
      { env: environment(), timeout, maxBuffer: 2 ** 30 },
      (error, stdout, stderr) => resolve({ code: error ? Number(error.code ?? 1) : 0, stdout, stderr }),
    );
  });
}

/** The JSON that a script printed as its last line. Errors: it failed; the end of what it said is shown. */
export async function answerOf<T>(script: URL, args: readonly string[] = [], timeout?: number): Promise<T> {
  const { code, stdout, stderr } = await onAdapter(script, args, timeout);
  if (code !== 0) throw new Error(`${script.pathname} ended with ${code}: ${stderr.slice(-2000)}`);
  return JSON.parse(stdout.trimEnd().split('\n').at(-1)!) as T;
}

/** A test that needs the adapter. Without one it says what to install; where the project is checked it must not be missing. */
export function adapterTest(name: string, body: () => Promise<void>, timeout = 300_000): void {
  if (hasAdapter || process.env['CI']) {
    test(
      name,
      async () => {
        expect(hasAdapter, `there is no ${DRIVER}; install the package chromium`).toBe(true);
        await body();
      },
      timeout,
    );
  } else test.skip(`${name} (no software adapter: install Debian's package chromium)`, () => undefined);
}
