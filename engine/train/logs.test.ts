/** @file Logs: lines and events, resuming, torn lines, refused writes. */
import { appendFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { InputError } from '../io/errors.ts';
import { type LogLine, openLogs, pngFacts, readLog, type StepLine } from './logs.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'logs-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const line = (step: number, seconds = step / 2): StepLine => ({
  step,
  nimg: step * 8,
  seconds,
  cpuSeconds: 2 * seconds,
  terms: { 'student/loss': 1 / step },
  rates: { student: 0.01 },
  skipped: 0,
});
const text = (): string => readFileSync(join(folder, 'log.jsonl'), 'utf8');
const steps = async (): Promise<number[]> => (await readLog(folder)).map(({ step }) => step);
async function write(fromStep: number, ...lines: readonly StepLine[]): Promise<void> {
  const logs = await openLogs(folder, { fromStep });
  for (const l of lines) logs.step(l);
  await logs.close();
}
/** All event files of the folder as text: tags stand in it as they are. */
const events = (): string =>
  readdirSync(folder)
    .filter((name) => name.includes('tfevents'))
    .map((name) => readFileSync(join(folder, name), 'latin1'))
    .join('');
const occurrences = (tag: string): number => events().split(tag).length - 1;

test('a step is one line, in this order, and a scalar under each tag', async () => {
  await write(0, line(1), line(2));
  expect(text()).toBe(
    '{"step":1,"nimg":8,"seconds":0.5,"cpuSeconds":1,"terms":{"student/loss":1},"rates":{"student":0.01},"skipped":0}\n' +
      '{"step":2,"nimg":16,"seconds":1,"cpuSeconds":2,"terms":{"student/loss":0.5},"rates":{"student":0.01},"skipped":0}\n',
  );
  for (const tag of ['student/loss', 'rate/student', 'progress/nimg', 'progress/skipped']) expect(occurrences(tag), tag).toBe(2);
});

test('what is not finite is null', async () => {
  await write(0, { ...line(1), terms: { loss: Number.NaN, norm: Number.POSITIVE_INFINITY } });
  expect((await readLog(folder))[0]).toMatchObject({ terms: { loss: null, norm: null } });
});

test('lines are there at once, for whoever watches', async () => {
  const logs = await openLogs(folder, { fromStep: 0 });
  logs.step(line(1));
  expect(await steps()).toEqual([1]);
  expect(occurrences('student/loss')).toBe(1);
  await logs.close();
  await logs.close(); // does nothing
});

test('scores and images', async () => {
  const png = await sharp({ create: { width: 5, height: 3, channels: 3, background: 'red' } })
    .png()
    .toBuffer();
  const logs = await openLogs(folder, { fromStep: 0 });
  logs.scores(4, { frechet: 12.5, accuracy: null });
  logs.image('samples', png, 4);
  await logs.close();
  expect(await readLog(folder)).toEqual<LogLine[]>([{ step: 4, scores: { frechet: 12.5, accuracy: null } }]);
  expect([occurrences('scores/frechet'), occurrences('scores/accuracy'), occurrences('samples')]).toEqual([1, 0, 1]);
  expect(events()).toContain(png.toString('latin1'));
});

test.each([
  [1, 'b-w', 1],
  [3, 'srgb', 3],
  [4, 'srgb', 4],
] as const)('the size of a PNG with %d channels', async (channels, space, expected) => {
  const raw = { width: 7, height: 2, channels };
  const png = await sharp(Buffer.alloc(14 * channels, 9), { raw })
    .toColourspace(space)
    .png()
    .toBuffer();
  expect(pngFacts(png)).toEqual({ width: 7, height: 2, channels: expected });
});

test('another format is our own mistake', async () => {
  const jpeg = await sharp({ create: { width: 5, height: 3, channels: 3, background: 'red' } })
    .jpeg()
    .toBuffer();
  expect(() => pngFacts(jpeg)).toThrow(/^logs: the image is not a PNG$/);
});

describe('a resumed run', () => {
  test('goes on behind its step: what a killed run logged later is cut off, in the log and in the events', async () => {
    await write(0, line(1), line(2), line(3), line(4));
    await write(2, line(3, 0.25), line(4, 0.5));
    expect(await steps()).toEqual([1, 2, 3, 4]);
    expect(occurrences('student/loss')).toBe(4);
  });

  test('goes on with the seconds', async () => {
    await write(0, line(1), line(2), line(3));
    await write(2, line(3, 0.25));
    await write(3, line(4, 0.25));
    expect((await readLog(folder)).map((l) => ('seconds' in l ? l.seconds : null))).toEqual([0.5, 1, 1.25, 1.5]);
    expect((await readLog(folder)).map((l) => ('seconds' in l ? l.cpuSeconds : null))).toEqual([1, 2, 2.5, 3]);
  });

  test('repairs half a line at the end, whole lines stay byte by byte', async () => {
    await write(0, line(1), line(2));
    const whole = text();
    appendFileSync(join(folder, 'log.jsonl'), '{"step":3,"nimg":24,"ter');
    await write(2);
    expect(text()).toBe(whole);
    await write(2, line(3));
    expect(await steps()).toEqual([1, 2, 3]);
  });

  test('a last line without its end of line is kept and ended', async () => {
    await write(0, line(1), line(2));
    const whole = text();
    writeFileSync(join(folder, 'log.jsonl'), whole.slice(0, -1));
    await write(2);
    expect(text()).toBe(whole);
  });

  test('from the start again empties the log', async () => {
    await write(0, line(1), line(2));
    await write(0);
    expect(text()).toBe('');
    expect(occurrences('student/loss')).toBe(0);
  });
});

test('a folder that is missing, or in the place of the log, is one line', async () => {
  await expect(openLogs(join(folder, 'none'), { fromStep: 0 })).rejects.toThrow(
    /log\.jsonl: cannot write: its folder does not exist.*\(ENOENT\)$/,
  );
  mkdirSync(join(folder, 'log.jsonl'));
  await expect(openLogs(folder, { fromStep: 0 })).rejects.toThrow(InputError);
  await expect(readLog(folder)).rejects.toThrow(/log\.jsonl: cannot read: is a folder/);
});

test('without a log there are no lines', async () => {
  expect(await readLog(folder)).toEqual([]);
});
