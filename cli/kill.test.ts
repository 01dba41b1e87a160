/** @file A run that is killed at any moment and continued gives the same bits as one that never was; a run that is asked to stop saves. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { fillUniform, streamKey } from '../engine/random/philox.ts';
import { latestCheckpoint } from '../engine/train/checkpoint.ts';
import { readLog } from '../engine/train/logs.ts';
import { commandLine, type Started, start } from './testing/command.ts';
import { TINY_RUN, writePictures } from './testing/tiny.ts';

const KILLS = 20;
const STEPS = 40;
let folder = '';
let data = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kill-'));
  data = await writePictures(join(folder, 'pictures'), 12, 8);
});
afterAll(() => rm(folder, { recursive: true }));

const line = commandLine();
const train = (out: string, ...more: readonly string[]): Started =>
  start(
    [
      'train',
      '--data',
      data,
      '--image-size',
      '8',
      '--image-channels',
      '1',
      ...TINY_RUN,
      '--steps',
      String(STEPS),
      '--checkpoint-every',
      '2',
      '--out',
      out,
      ...more,
    ],
    line,
  );

const logBytes = (out: string): number => {
  const path = join(out, 'log.jsonl');
  return existsSync(path) ? statSync(path).size : 0;
};
/** Waits until the run has logged something new, so that a kill falls into steps, logs and checkpoints, not into the start. */
async function underWay(out: string, { child }: Started, before: number): Promise<void> {
  while (child.exitCode === null && child.signalCode === null && logBytes(out) <= before) await sleep(2);
}

/** What must not differ: the model, and the log but for its clocks. */
async function traceOf(out: string) {
  const log = (await readLog(out)).map((entry) => ({ ...entry, seconds: 0, cpuSeconds: 0 }));
  return { model: (await readFile(join(out, 'model.safetensors'))).toString('base64'), log };
}

test(`${KILLS} kills leave no trace`, { timeout: 240_000 }, async () => {
  const straight = join(folder, 'straight');
  expect(await train(straight).ended).toMatchObject({ code: 0, stderr: expect.not.stringContaining('error') });
  const wanted = await traceOf(straight);
  expect(wanted.log.map((entry) => entry.step)).toEqual(Array.from({ length: STEPS }, (_, i) => i + 1));

  const delays = new Float32Array(KILLS);
  fillUniform(delays, streamKey(0, 0, 'kill after'), KILLS);
  const resumedFrom: number[] = [];
  let kills = 0;
  for (let round = 0; kills < KILLS; round++) {
    const out = join(folder, `killed-${round}`);
    for (let done = false; !done; ) {
      const before = logBytes(out);
      const run = train(out, '--resume');
      if (kills < KILLS) {
        await underWay(out, run, before);
        // Up to about five steps with their checkpoints.
        await sleep(100 * delays[kills]!);
        if (run.child.kill('SIGKILL')) kills += 1;
      }
      const { code, signal, stdout, stderr } = await run.ended;
      expect(signal ?? code, stderr).toBe(signal === 'SIGKILL' ? 'SIGKILL' : 0);
      resumedFrom.push(...[...stdout.matchAll(/continuing .* at step (\d+)/g)].map((match) => Number(match[1])));
      done = code === 0;
    }
    expect(await traceOf(out)).toEqual(wanted);
  }
  // The kills did fall into the runs: several continued from checkpoints of different steps.
  expect(new Set(resumedFrom).size).toBeGreaterThan(3);
});

test('SIGINT finishes the step and saves; the run goes on where it was', { timeout: 60_000 }, async () => {
  const out = join(folder, 'stopped');
  const args = ['--steps', '100000', '--checkpoint-every', '100000'];
  const run = train(out, ...args);
  await underWay(out, run, 0);
  run.child.kill('SIGINT');
  const { code, stdout } = await run.ended;
  expect(code).toBe(0);
  expect(stdout).toContain('stopping after this step; the run is saved and can be continued with --resume');
  const stoppedAt = Number(/stopped at step (\d+)/.exec(stdout)![1]);
  const log = await readLog(out);
  expect(log.at(-1)!.step).toBe(stoppedAt);
  expect((await latestCheckpoint(out))!.step).toBe(stoppedAt);
  expect(existsSync(join(out, '.lock'))).toBe(false);
  // Without repeating its settings.
  const { code: resumed, stdout: told } = await start(['train', '--out', out, '--resume', '--steps', String(stoppedAt + 2)], line).ended;
  expect(resumed).toBe(0);
  expect(told).toContain(`continuing ${out} at step ${stoppedAt}`);
  expect((JSON.parse(readFileSync(join(out, 'config.json'), 'utf8')) as { channels: number }).channels).toBe(4);
  expect((await readLog(out)).map((entry) => entry.step)).toEqual(Array.from({ length: stoppedAt + 2 }, (_, i) => i + 1));
});
