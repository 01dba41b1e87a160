/** @file Following a log: only what is new is read, half lines wait, and a log that was cut is read again. */
import { appendFile, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { followLog } from './watch-log.ts';
import { statusOf } from './watch-page.ts';

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'watch-log-'));
});
afterAll(() => rm(folder, { recursive: true }));

test('lines come as they are whole, whatever pieces they are written in; what is none is left out', async () => {
  const follower = followLog(folder);
  const path = join(folder, 'log.jsonl');
  const steps = async (): Promise<number[]> => (await follower.lines()).map(({ step }) => step);
  expect(await steps()).toEqual([]); // there is no log yet
  await writeFile(path, '{"step":1}\n{"step"');
  expect(await steps()).toEqual([1]);
  await appendFile(path, ':2,"word":"ü"}\nnoise\nnull\n{"step":"x"}\n');
  expect(await steps()).toEqual([1, 2]);
  const long = `{"step":3,"more":"${'ü'.repeat(700_000)}"}\n`; // longer than what is read at once
  await appendFile(path, long + '{"step":4}');
  expect(await steps()).toEqual([1, 2, 3]);
  await appendFile(path, '\n');
  expect(await steps()).toEqual([1, 2, 3, 4]);
  // A resumed run cuts its log: a new file takes the place of the old one.
  await writeFile(join(folder, 'new'), '{"step":1}\n{"step":9}\n');
  await rename(join(folder, 'new'), path);
  expect(await steps()).toEqual([1, 9]);
  await writeFile(path, '{"step":5}\n'); // shorter, in place
  expect(await steps()).toEqual([5]);
});

test('the status says where the run is and how long it will take at the pace of its last lines', () => {
  const line = (step: number, seconds: number) => ({
    step,
    nimg: 64 * step,
    seconds,
    cpuSeconds: seconds,
    terms: {},
    rates: {},
    skipped: 0,
  });
  // 10 steps took 20 s at last: the other 70 take 140 s.
  expect(statusOf([line(20, 100), line(30, 120)], 100)).toBe('step 30 of 100 · 1,920 images · 2:00 of training · 2:20 left');
  expect(statusOf([line(100, 120)], 100)).toContain('· finished');
  expect(statusOf([{ ...line(1, 1), skipped: 2 }], undefined)).toBe('step 1 · 64 images · 0:01 of training · 2 steps skipped');
  expect(statusOf([], 100)).toBe('No step is logged yet.');
});
