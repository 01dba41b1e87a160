/** @file Runs the command line: inside the test's own process, or as a process of its own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../data/artifacts.ts';
import { endingOf } from '../output.ts';
import { program } from '../program.ts';

export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

/** Runs a command in this process; what it prints is caught. */
export async function attempt(...args: readonly string[]): Promise<Outcome> {
  const caught = { stdout: '', stderr: '' };
  const listeners = SIGNALS.map((name) => process.listeners(name));
  const originals = { stdout: process.stdout.write, stderr: process.stderr.write };
  for (const name of ['stdout', 'stderr'] as const) {
    process[name].write = ((text: string | Uint8Array) => {
      caught[name] += text.toString();
      return true;
    }) as typeof process.stdout.write;
  }
  try {
    await (await program()).parseAsync([...args], { from: 'user' });
    return { code: 0, ...caught };
  } catch (error) {
    const { text, code } = endingOf(error, args.includes('--debug'));
    return { code, stdout: caught.stdout, stderr: caught.stderr + (text && `${text}\n`) };
  } finally {
    process.stdout.write = originals.stdout;
    process.stderr.write = originals.stderr;
    // A command listens for the rest of its process.
    SIGNALS.forEach((name, i) => {
      for (const listener of process.listeners(name)) if (!listeners[i]!.includes(listener)) process.off(name, listener);
    });
  }
}

const root = packageRoot();
const SOURCES = ['cli', 'data', 'engine', 'eval', 'losses', 'models', 'page', 'samplers', 'student'];

function newest(folder: string): number {
  const times = readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter(
      (entry) => entry.isFile() && entry.name.endsWith('.ts') && !entry.name.endsWith('.test.ts') && !entry.parentPath.includes('testing'),
    )
    .map((entry) => statSync(join(entry.parentPath, entry.name)).mtimeMs);
  return Math.max(0, ...times);
}

/** What starts the command line: the built package where it is newer than every source, else the sources, which take a second longer. */
export function commandLine(): readonly string[] {
  const built = join(root, 'dist/cli/main.js');
  const fresh = existsSync(built) && statSync(built).mtimeMs > Math.max(...SOURCES.map((folder) => newest(join(root, folder))));
  return fresh ? [built] : ['--import', 'tsx', join(root, 'cli/main.ts')];
}

export interface Started {
  readonly child: ChildProcess;
  readonly ended: Promise<Outcome & { readonly signal: string | null }>;
}

/** Starts a command as a process, with the package as its working folder. */
export function start(args: readonly string[], line: readonly string[] = commandLine()): Started {
  const child = spawn(process.execPath, [...line, ...args], { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
  const caught = { stdout: '', stderr: '' };
  child.stdout.on('data', (part: Buffer) => {
    caught.stdout += part.toString();
  });
  child.stderr.on('data', (part: Buffer) => {
    caught.stderr += part.toString();
  });
  const ended = new Promise<Outcome & { signal: string | null }>((resolve) => {
    child.on('close', (code, signal) => resolve({ code, signal, ...caught }));
  });
  return { child, ended };
}
