/** @file Runs the project's own command line in a process of its own, so that a method that breaks down breaks nothing else. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Flat } from '../../cli/config.ts';
import { workerEntry } from '../../engine/io/threads.ts';

const MAIN = workerEntry(import.meta.url, '../../cli/main');

/** A command that ended otherwise than well; the message is the last that it said. */
export class CommandFailed extends Error {}
/** A command that a signal stopped. */
export class Stopped extends Error {}

const stopping = new AbortController();
/** A signal stops the command that runs, which saves its work, and lets no other begin. A terminal sends its own to the command too. */
export function heedSignals(): void {
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, () => stopping.abort(name));
}

/**
 * Runs `onestep WORDS --json`. @returns the last object that it printed
 * @throws CommandFailed with what it said, Stopped where a signal ended it
 */
export async function onestep(words: readonly string[], onLine: (line: Flat) => void = () => {}): Promise<Flat> {
  if (stopping.signal.aborted) throw new Stopped(words.join(' '));
  const child = spawn(process.execPath, [...MAIN.execArgv, fileURLToPath(MAIN.url), ...words, '--json'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const pass = (): void => void (stopping.signal.reason === 'SIGTERM' && child.kill('SIGTERM'));
  stopping.signal.addEventListener('abort', pass);
  let said = '';
  let last: Flat = {};
  child.stderr.on('data', (chunk: Buffer) => {
    said = (said + chunk.toString()).slice(-4000);
  });
  createInterface({ input: child.stdout }).on('line', (line) => {
    if (!line.startsWith('{')) return;
    last = JSON.parse(line) as Flat;
    onLine(last);
  });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      stopping.signal.removeEventListener('abort', pass);
      if (code === 0 && last['finished'] !== false) resolve(last);
      else if (code === 0 || signal === 'SIGINT' || signal === 'SIGTERM' || code === 130) reject(new Stopped(words.join(' ')));
      else reject(new CommandFailed(lastWords(said) || `ended by ${signal ?? `code ${code}`}`));
    });
  });
}

/** The line that tells of an error, without the progress before and the stack after it. */
function lastWords(said: string): string {
  const lines = said.split(/[\r\n]+/).filter((line) => line.trim() !== '');
  const told = lines.find((line) => /^error: |^\w*Error( \[\w+\])?: /.test(line)) ?? lines.at(-1) ?? '';
  return told.replace(/^error: /, '').trim();
}
