/** @file What a run writes down while it trains: log.jsonl, one JSON object a line, and TensorBoard events. */
import { appendFileSync, closeSync, openSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeAtomic } from '../io/atomic.ts';
import { type EventWriter, openEvents } from '../io/events.ts';
import { cutEvents } from '../io/events-cut.ts';
import { errorCode, fileFailure } from '../io/failures.ts';
import type { StepReport } from './trainer.ts';

export const LOG_NAME = 'log.jsonl';

/**
 * A step as it is logged. `seconds`: since training began; of a resumed run, without the time between. `cpuSeconds`: the same in processor time of
 * all threads, which other work on the machine hardly changes.
 */
export interface StepLine extends StepReport {
  readonly seconds: number;
  readonly cpuSeconds: number;
}
/** Evaluations of the weights after a step; null where one was not made. */
export interface ScoresLine {
  readonly step: number;
  readonly scores: Readonly<Record<string, number | null>>;
}
/** What is not finite is null in the file. */
export type LogLine = StepLine | ScoresLine;

export interface Logs {
  /** Logs terms and rates of a step. Both times count from the opening of these logs; what a resumed run logged before is added. */
  step(line: StepLine): void;
  scores(step: number, scores: ScoresLine['scores']): void;
  /** @param png an encoded image, for TensorBoard only */
  image(tag: string, png: Uint8Array, step: number): void;
  close(): Promise<void>;
}

/** The line, or undefined for one that was cut short when a process was killed or a disk was full. */
function parseLine(text: string): LogLine | undefined {
  try {
    const line = JSON.parse(text) as LogLine | null;
    return typeof line?.step === 'number' ? line : undefined;
  } catch {
    return undefined;
  }
}

async function readText(path: string): Promise<string> {
  return readFile(path, 'utf8').catch((error: unknown) => {
    if (errorCode(error) === 'ENOENT') return '';
    throw fileFailure('read', path, error);
  });
}

/** The whole lines of a run's log; none where there is no log. */
export async function readLog(folder: string): Promise<LogLine[]> {
  return (await readText(join(folder, LOG_NAME))).split('\n').flatMap((text) => parseLine(text) ?? []);
}

type Times = Pick<StepLine, 'seconds' | 'cpuSeconds'>;

/** Leaves the whole lines up to a step, byte by byte as they are. @returns the times of the last of them */
async function cutLog(path: string, lastStep: number): Promise<Times> {
  const text = await readText(path);
  let times: Times = { seconds: 0, cpuSeconds: 0 };
  const kept = text.split('\n').filter((part) => {
    const line = parseLine(part);
    if (!line || line.step > lastStep) return false;
    if ('seconds' in line) times = { seconds: line.seconds, cpuSeconds: line.cpuSeconds ?? line.seconds };
    return true;
  });
  const wanted = kept.map((line) => `${line}\n`).join('');
  if (wanted !== text) await writeAtomic(path, wanted);
  return times;
}

/** Width and height from the header chunk of a PNG, and channels by its colour type (palettes are shown as RGB). */
export function pngFacts(png: Uint8Array): { readonly width: number; readonly height: number; readonly channels: number } {
  const view = new DataView(png.buffer, png.byteOffset, png.length);
  const channels = new Map([
    [0, 1],
    [2, 3],
    [3, 3],
    [4, 2],
    [6, 4],
  ]).get(png[25]!);
  if (view.getUint32(0) !== 0x89504e47 || channels === undefined) throw new TypeError('logs: the image is not a PNG');
  return { width: view.getUint32(16), height: view.getUint32(20), channels };
}

function openAppending(path: string): number {
  try {
    return openSync(path, 'a');
  } catch (error) {
    throw fileFailure('write', path, error);
  }
}

/** Every scalar of a step under its own tag. */
function writeScalars(events: EventWriter, { step, nimg, skipped, terms, rates }: StepLine): void {
  for (const [term, value] of Object.entries(terms)) events.scalar(term, value, step);
  for (const [player, rate] of Object.entries(rates)) events.scalar(`rate/${player}`, rate, step);
  events.scalar('progress/nimg', nimg, step);
  events.scalar('progress/skipped', skipped, step);
  events.flush();
}

/**
 * Opens the logs of a run folder for appending.
 * @param fromStep the step at which the run goes on: what a killed run logged after it goes, as does half a line at the end
 * @throws InputError where the system refuses, also later on writing
 */
export async function openLogs(folder: string, { fromStep }: { readonly fromStep: number }): Promise<Logs> {
  const path = join(folder, LOG_NAME);
  const before = await cutLog(path, fromStep);
  await cutEvents(folder, fromStep);
  const file = openAppending(path);
  const events = openEvents(folder);
  let open = true;
  const append = (line: LogLine): void => {
    try {
      appendFileSync(file, JSON.stringify(line) + '\n');
    } catch (error) {
      throw fileFailure('write', path, error);
    }
  };
  return {
    step(line) {
      const { step, nimg, seconds, cpuSeconds, terms, rates, skipped } = line;
      append({ step, nimg, seconds: before.seconds + seconds, cpuSeconds: before.cpuSeconds + cpuSeconds, terms, rates, skipped });
      writeScalars(events, line);
    },
    scores(step, scores) {
      append({ step, scores });
      for (const [name, value] of Object.entries(scores)) if (value !== null) events.scalar(`scores/${name}`, value, step);
      events.flush();
    },
    image(tag, png, step) {
      const { width, height, channels } = pngFacts(png);
      events.image(tag, png, width, height, channels, step);
      events.flush();
    },
    async close() {
      if (!open) return;
      open = false;
      try {
        events.close();
      } finally {
        closeSync(file);
      }
    },
  };
}
