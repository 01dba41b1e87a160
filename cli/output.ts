/** @file What a person sees: a progress line that rewrites itself, plain lines elsewhere, and errors as one line. */
import { CommanderError } from 'commander';

/** Exit code of a user's mistake. */
export const EXIT_INPUT = 2;
/** Exit code of a mistake of ours. */
const EXIT_BUG = 1;

/** Stopped by a signal: what is done is kept. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
  readonly code: number;
  constructor(code: number) {
    super('stopped; features that are computed are kept in the cache, and the same command goes on with the rest');
    this.code = code;
  }
}

/** What the process ends with: the text for stderr (empty where it was printed already) and the exit code. */
export interface Ending {
  readonly text: string;
  readonly code: number;
}

/** One line for a user's mistake, the stack for our own or where it is asked for. */
export function endingOf(error: unknown, debug: boolean): Ending {
  if (error instanceof CommanderError) return { text: '', code: error.exitCode === 0 ? 0 : EXIT_INPUT }; // commander has said it
  if (error instanceof Interrupted) return { text: error.message, code: error.code };
  const known = error instanceof Error && ['InputError', 'ShapeError'].includes(error.name);
  if (known && !debug) return { text: `error: ${oneLine(error.message)}`, code: EXIT_INPUT };
  return { text: error instanceof Error ? (error.stack ?? error.message) : String(error), code: known ? EXIT_INPUT : EXIT_BUG };
}

/** Lines joined by spaces. */
export const oneLine = (text: string): string => text.trim().replace(/\s*\n\s*/g, ' ');

/** Prints an error and sets the exit code. */
export function fail(error: unknown): void {
  clearProgress();
  const { text, code } = endingOf(error, process.argv.includes('--debug'));
  if (text) process.stderr.write(`${text}\n`);
  process.exitCode = code;
}

let width = 0;
/** Rewrites the last line of a terminal; elsewhere prints a line now and then. */
export function progress(line: string, important = false): void {
  if (process.stderr.isTTY) {
    const cut = line.slice(0, (process.stderr.columns ?? 120) - 1);
    process.stderr.write(`\r${cut.padEnd(width)}`);
    width = cut.length;
  } else if (important) process.stderr.write(`${line}\n`);
}
/** Ends the progress line. */
export function clearProgress(): void {
  if (width > 0) process.stderr.write(`\r${' '.repeat(width)}\r`);
  width = 0;
}
/** A line that stays. */
export function say(line: string): void {
  clearProgress();
  process.stdout.write(`${line}\n`);
}

/** A line beside what was asked for, which may go into a file or another program. */
export function notice(line: string): void {
  clearProgress();
  process.stderr.write(`${line}\n`);
}

/** 75 → 1:15, 3700 → 1:01:40. */
export function clock(seconds: number): string {
  if (!Number.isFinite(seconds)) return '?';
  const s = Math.max(0, Math.round(seconds));
  const two = (v: number): string => String(v).padStart(2, '0');
  return s >= 3600 ? `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}` : `${Math.floor(s / 60)}:${two(s % 60)}`;
}
/** Four significant digits. */
export const short = (v: number): string =>
  Math.abs(v) >= 1e4 || (v !== 0 && Math.abs(v) < 1e-3) ? v.toExponential(2) : String(Number(v.toPrecision(4)));
