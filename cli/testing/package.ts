/** @file The package as it is published, built afresh in a folder of its own: what `dist/` holds at the moment does not matter. */
import { execFile, execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const root = join(import.meta.dirname, '../..');
const PARTS = [
  'package.json',
  '.npmrc',
  'README.md',
  'LICENSE',
  'artifacts',
  'configs',
  'docs',
  'tsconfig.json',
  'tsconfig.build.json',
  'tsconfig.page.json',
];
const SOURCES = ['index.ts', 'engine', 'samplers', 'losses', 'models', 'data', 'eval', 'student', 'page', 'cli'];
const isProduct = (path: string): boolean => !/[\\/](testing|scripts)$|\.test\.ts$/.test(path);

/**
 * Copies the sources into a temporary folder and builds there, as `npm run build` does. Takes some seconds.
 * @param extra source files that are built too, by path
 */
export function builtPackage(extra: Readonly<Record<string, string>> = {}): string {
  const folder = mkdtempSync(join(tmpdir(), 'onestep-package-'));
  for (const part of [...PARTS, ...SOURCES]) cpSync(join(root, part), join(folder, part), { recursive: true, filter: isProduct });
  for (const [path, code] of Object.entries(extra)) writeFileSync(join(folder, path), code);
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
  try {
    for (const config of ['tsconfig.build.json', 'tsconfig.page.json'])
      execFileSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', config], { cwd: folder, stdio: 'pipe' });
  } catch (error) {
    throw new Error(`tsc: ${String((error as { stdout?: Buffer }).stdout)}`, { cause: error });
  }
  return folder;
}

export interface Finished {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}
/** Runs a program to its end, whatever its exit code. */
export function finished(file: string, args: readonly string[], cwd: string, env: NodeJS.ProcessEnv = {}): Promise<Finished> {
  // What a surrounding npm or vitest says about itself would change how npm behaves.
  const outer = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(npm_|VITEST|NODE_OPTIONS)/i.test(name)));
  return new Promise((resolve) => {
    execFile(file, args, { cwd, env: { ...outer, ...env }, maxBuffer: 1 << 26 }, (error, stdout, stderr) => {
      const code = error ? (typeof error.code === 'number' ? error.code : 1) : 0;
      resolve({ code, stdout, stderr });
    });
  });
}
