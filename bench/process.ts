/** @file Processes that are kept alive and run one round of a benchmark at a time: our side and its peers, asked in turns. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** One round, in milliseconds and MB. */
export interface Round {
  readonly wall: number;
  readonly cpu: number;
  /** What both sides must agree on. */
  readonly values: readonly number[];
  /** Largest resident size so far. */
  readonly peak: number;
}
export interface Side {
  readonly name: string;
  readonly facts: Readonly<Record<string, unknown>>;
  round(): Promise<Round>;
  close(): Promise<void>;
}

const path = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

/** Starts a process and waits until it has prepared everything. Errors: it ends before it answers, with the last of what it wrote. */
export async function startSide(name: string, command: string, args: readonly string[]): Promise<Side> {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  const next = answersOf(name, child);
  const { facts } = (await next()) as { readonly facts: Side['facts'] };
  return {
    name,
    facts,
    round() {
      child.stdin!.write('round\n');
      return next() as Promise<Round>;
    },
    async close() {
      const ended = new Promise((done) => child.once('close', done));
      child.stdin!.end('quit\n');
      await ended;
    },
  };
}

/** The next line of JSON that a process writes. */
function answersOf(name: string, child: ChildProcess): () => Promise<unknown> {
  let complaints = '';
  child.stderr!.on('data', (chunk: Buffer) => {
    complaints = (complaints + chunk.toString()).slice(-2000);
  });
  const failed = new Promise<never>((_, reject) => {
    child.once('error', reject);
    child.once('close', (code) => reject(new Error(`${name}: ended with code ${code}: ${complaints.trim()}`)));
  });
  failed.catch(() => {}); // it also ends after its last answer, when nobody waits
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  return async () => {
    const line = await Promise.race([lines.next(), failed]);
    return line.done ? failed : JSON.parse(line.value);
  };
}

/** Our side of a benchmark; `folder` is where the peer finds its tensors. */
export const ours = (work: string, threads: number, folder: string | null): Promise<Side> =>
  startSide('onestep', process.execPath, [...process.execArgv, path('serve.ts'), work, String(threads), folder ?? '-']);

/** The interpreter for peers; ONESTEP_PYTHON or python3. */
export const python = (): string => process.env['ONESTEP_PYTHON'] ?? 'python3';
export const peer = (name: string, script: string, args: readonly string[]): Promise<Side> =>
  startSide(name, python(), [path(`peers/${script}`), ...args]);

/** The version of PyTorch that the interpreter has, or null. */
export const torchVersion = (): Promise<string | null> => printed('import torch; print(torch.__version__)');

/** Whether the interpreter has a module. */
export const pythonHas = async (module: string): Promise<boolean> => (await printed(`import ${module}`)) !== null;

/** What a line of Python prints, or null where it fails. */
function printed(line: string): Promise<string | null> {
  return new Promise((resolve) => {
    const child = spawn(python(), ['-c', line], { stdio: ['ignore', 'pipe', 'ignore'] });
    let out = '';
    child.stdout.on('data', (chunk: Buffer) => {
      out += chunk.toString();
    });
    child.once('error', () => resolve(null));
    child.once('close', (code) => resolve(code === 0 ? out.trim() : null));
  });
}
