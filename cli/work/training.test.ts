/** @file Training runs: what they leave behind, that a configuration repeats them, and that nothing written is lost when something goes wrong. */
import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Split } from '../../data/dataset.ts';
import { loadDataset } from '../../data/registry.ts';
import { acquireLock } from '../../engine/io/lock.ts';
import { latestCheckpoint, listCheckpoints } from '../../engine/train/checkpoint.ts';
import { readLog } from '../../engine/train/logs.ts';
import type { Loss } from '../../engine/train/loss.ts';
import edm from '../../losses/edm.ts';
import { readConfig } from '../config.ts';
import { attempt } from '../testing/command.ts';
import { TINY_NETWORK, TINY_RUN, writePictures, writeTinyRun } from '../testing/tiny.ts';
import { loadModel } from './model.ts';
import { planOf } from './plan.ts';
import { type RunEvent, runTraining } from './training.ts';

let folder = '';
let data = '';
let split: Split;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'training-'));
  data = await writePictures(join(folder, 'pictures'), 12, 8);
  split = await loadDataset(data, { size: 8, channels: 1 });
});
afterAll(() => rm(folder, { recursive: true }));

const SETTINGS = { ...TINY_NETWORK, batch: 4, threads: 1, sampleEvery: 0, logEvery: 1, checkpointEvery: 2, steps: 4 };
const plan = (more: Readonly<Record<string, unknown>> = {}) => planOf(edm as unknown as Loss, 'song-unet', { ...SETTINGS, data, ...more });
/** Trains in `folder/name`. */
async function train(name: string, more: Readonly<Record<string, unknown>> = {}, resume = false) {
  const events: RunEvent[] = [];
  const run = { plan: plan(more), command: 'train', folder: join(folder, name), split, teacher: null, resume } as const;
  const result = await runTraining({ ...run, onEvent: (event) => events.push(event) });
  return { result, notes: events.flatMap((event) => (event.kind === 'note' ? [event.text] : [])) };
}
const refused = (message: string | RegExp) =>
  expect.objectContaining({
    name: 'InputError',
    message: typeof message === 'string' ? expect.stringContaining(message) : expect.stringMatching(message),
  });
const modelOf = (name: string): Promise<Buffer> => readFile(join(folder, name, 'model.safetensors'));
const cli = (...args: readonly string[]) =>
  attempt('train', '--data', data, '--image-size', '8', '--image-channels', '1', ...TINY_RUN, '--steps', '4', '--json', ...args);

describe('a finished run', () => {
  test('can be loaded from its folder and from its checkpoint: the same weights', async () => {
    const { result } = await train('plain');
    expect(result).toMatchObject({ step: 4, finished: true });
    const [run, checkpoint] = [
      await loadModel(join(folder, 'plain')),
      await loadModel((await latestCheckpoint(join(folder, 'plain')))!.path),
    ];
    expect(checkpoint.card).toEqual(run.card);
    expect(run.card).toMatchObject({
      method: 'edm',
      step: 4,
      nimg: 16,
      average: 'constant:0.999',
      sample: { shape: [1, 8, 8], classes: 0 },
    });
    expect([...checkpoint.weights].sort()).toEqual([...run.weights].sort());
  });
  test('is repeated by its configuration, which holds every value', async () => {
    const first = await cli('--out', join(folder, 'first'), '--seed', '3', '--lr', '0.01', '--averages', 'constant:0.5,power:0.1');
    expect(first.code, first.stderr).toBe(0);
    const config = await readConfig(join(folder, 'first'));
    expect(config).toMatchObject({
      command: 'train',
      method: 'edm',
      network: 'song-unet',
      seed: 3,
      lr: 0.01,
      averages: ['constant:0.5', 'power:0.1'],
      steps: 4,
      data,
      skipBad: false,
      sigmaData: 0.5,
      beta1: 0.9,
      rho: 7,
    });
    const again = await attempt('train', '--config', join(folder, 'first', 'config.json'), '--out', join(folder, 'again'));
    expect(again.code, again.stderr).toBe(0);
    expect(await modelOf('again')).toEqual(await modelOf('first'));
    // Flags override the file.
    await attempt('train', '--config', join(folder, 'first'), '--seed', '4', '--out', join(folder, 'other'));
    expect(await modelOf('other')).not.toEqual(await modelOf('first'));
  });
  test('a distillation too is repeated by its configuration, teacher included', async () => {
    const teacher = await writeTinyRun(join(folder, 'dmd-teacher'));
    const settings = ['--steps', '2', '--batch', '4', '--threads', '1', '--sample-every', '0', '--ratio', '1', '--json'];
    const first = await attempt('distill', 'dmd2', '--teacher', teacher, ...settings, '--out', join(folder, 'dmd'));
    expect(first.code, first.stderr).toBe(0);
    expect(await readConfig(join(folder, 'dmd'))).toMatchObject({ command: 'distill', method: 'dmd2', teacher, ratio: 1, data: 'digits' });
    const again = await attempt('distill', 'dmd2', '--config', join(folder, 'dmd'), '--out', join(folder, 'dmd-again'), '--json');
    expect(again.code, again.stderr).toBe(0);
    expect(await modelOf('dmd-again')).toEqual(await modelOf('dmd'));
    expect((await loadModel(join(folder, 'dmd'))).card).toMatchObject({ method: 'dmd2', teacher, levels: [80], sample: { classes: 10 } });
  });
  test('a smaller student starts from a model of its own: network and weights are that one’s, the teacher’s stay', async () => {
    const teacher = await writeTinyRun(join(folder, 'big-teacher'));
    const networkOptions = { ...TINY_NETWORK, channels: 8 };
    const start = await writeTinyRun(join(folder, 'small-start'), { networkOptions });
    const settings = ['--steps', '1', '--batch', '4', '--threads', '1', '--lr', '0', '--weight-decay', '0', '--json'];
    const out = join(folder, 'small-student');
    const { code, stderr } = await attempt('distill', 'dmd2', '--teacher', teacher, '--start', start, ...settings, '--out', out);
    expect(code, stderr).toBe(0);
    const student = await loadModel(out);
    expect(student.card).toMatchObject({ networkOptions, teacher, levels: [80] });
    expect([...student.weights]).toEqual([...(await loadModel(start)).weights]);
    expect(await readConfig(out)).toMatchObject({ teacher, start });
    const other = await writeTinyRun(join(folder, 'other-classes'), { sample: { shape: [1, 28, 28], classes: 3 } });
    const refusal = await attempt('distill', 'dmd2', '--teacher', teacher, '--start', other, '--out', `${out}-2`);
    expect(refusal.stderr).toMatch(
      /start: .*other-classes makes \[1,28,28\] with 3 classes, the teacher \[1,28,28\] with 10; give a model/,
    );
  });
  test('a student of several experts is one model, in its folder, in its checkpoint and after a resumed run', async () => {
    const teacher = await writeTinyRun(join(folder, 'phased-teacher'));
    const phased = (out: string, steps: number, ...more: readonly string[]) =>
      attempt(
        ...[
          'distill',
          'phased-dmd',
          '--teacher',
          teacher,
          '--batch',
          '4',
          '--threads',
          '1',
          '--sample-every',
          '2',
          '--ratio',
          '1',
          '--json',
        ],
        ...['--checkpoint-every', '1', '--steps', String(steps), '--out', join(folder, out), ...more],
      );
    const { code, stderr } = await phased('phased', 4);
    expect(code, stderr).toBe(0);
    const [run, checkpoint] = [
      await loadModel(join(folder, 'phased')),
      await loadModel((await latestCheckpoint(join(folder, 'phased')))!.path),
    ];
    expect(run.card).toMatchObject({ levels: [80, 2], noise: 'implied', experts: [{ above: 2 }, { above: 0 }] });
    expect([...checkpoint.weights].sort()).toEqual([...run.weights].sort());
    expect(new Set([...run.weights.keys()].map((name) => name.split('.')[0]))).toEqual(new Set(['expert1', 'expert2']));
    const places = await listCheckpoints(join(folder, 'phased'));
    await rm(places.at(-1)!.path, { recursive: true });
    expect((await phased('phased', 4, '--resume')).code).toBe(0);
    expect([...(await loadModel(join(folder, 'phased'))).weights]).toEqual([...run.weights]);
    const few = await attempt('distill', 'msd', '--teacher', teacher, '--students', '11', '--out', join(folder, 'msd'));
    expect(few.stderr).toBe('error: msd.students: 11 students need at least as many classes, the teacher has 10; give fewer students\n');
  });
  test('goes on to the bits of a run that was longer from the start, unless it is of another kind', async () => {
    await train('long', { steps: 6 });
    await train('short', { steps: 4 });
    await expect(train('short', { steps: 6 })).rejects.toThrow(
      refused(/^out: .*short already holds a run; continue it with --resume or choose another folder$/),
    );
    const { notes } = await train('short', { steps: 6 }, true);
    expect(notes).toEqual([`continuing ${join(folder, 'short')} at step 4`]);
    expect(await modelOf('short')).toEqual(await modelOf('long'));
    const wide = train('short', { steps: 8, channels: 8 }, true);
    await expect(wide).rejects.toThrow(
      refused(/^resume: .*step-0000006: model: the weights do not fit the network: ([^;]*should be[^;]*; ){3}and \d+ more$/),
    );
    const other = await attempt(
      'distill',
      'dmd2',
      '--teacher',
      await writeTinyRun(join(folder, 'teacher')),
      '--out',
      join(folder, 'short'),
      '--resume',
    );
    expect(other).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('is of the method edm, not of distill dmd2; use it with onestep train'),
    });
    expect(await modelOf('short')).toEqual(await modelOf('long'));
  });
});

describe('what goes wrong loses nothing', () => {
  test('a folder in use', async () => {
    await mkdir(join(folder, 'used'));
    const release = await acquireLock(join(folder, 'used'));
    await expect(train('used')).rejects.toThrow(refused(/used: in use by process \d+; wait for it, stop it or choose another folder$/));
    await release();
  });

  test('steps that are not finite are skipped, counted and, after twenty, end the run; the good checkpoint stays', async () => {
    const good = await train('nan', { steps: 4 });
    expect(good.result.finished).toBe(true);
    const before = await modelOf('nan');
    const bad = train('nan', { steps: 100, lr: 1e30, clip: 0 }, true);
    // The first step with this rate spoils the weights; then every loss is NaN or infinite.
    await expect(bad).rejects.toThrow(
      refused(
        /^training: 20 steps in a row were not finite at step 2[4-9] \(.*\); the last checkpoint is kept; lower the learning rate or check the data$/,
      ),
    );
    const log = await readLog(join(folder, 'nan'));
    expect(log.at(-1)).toMatchObject({ skipped: expect.toSatisfy((n: number) => n >= 19) });
    expect((await listCheckpoints(join(folder, 'nan'))).map(({ step }) => step)).toEqual([2, 4]);
    expect(await modelOf('nan')).toEqual(before);
  });

  test('a damaged checkpoint is passed over and named; where all are damaged the run is refused', async () => {
    await train('damaged', { steps: 4 });
    const straight = await modelOf('damaged');
    const places = await listCheckpoints(join(folder, 'damaged'));
    expect(places.map(({ step }) => step)).toEqual([2, 4]);
    await flip(join(places[1]!.path, 'model.safetensors'));
    const { notes } = await train('damaged', { steps: 4 }, true);
    expect(notes[0]).toMatch(
      /^passed over a damaged checkpoint: .*step-0000004\/model\.safetensors: changed: its SHA-256 is [0-9a-f]{64}; the manifest says [0-9a-f]{64}$/,
    );
    expect(notes[1]).toMatch(/ at step 2$/);
    expect(await modelOf('damaged')).toEqual(straight);
    for (const { path } of places) await writeFile(join(path, 'optimizer.safetensors'), 'short');
    await expect(train('damaged', { steps: 8 }, true)).rejects.toThrow(
      refused(
        /all 2 checkpoints are damaged \(.*optimizer\.safetensors: truncated: 5 bytes; the manifest says \d+\); remove the folder to start again$/,
      ),
    );
  });

  test('a full disk', async ({ skip }) => {
    const small = join(folder, 'small');
    await mkdir(small);
    if (!mount(small)) skip('no file system of a megabyte can be made here: only the superuser may');
    try {
      await cli('--out', join(small, 'run'));
      const checkpoint = (await latestCheckpoint(join(small, 'run')))!;
      const model = await readFile(join(small, 'run', 'model.safetensors'));
      // Leaves four kilobytes.
      const { bavail, bsize } = await import('node:fs').then((fs) => fs.statfsSync(small));
      await writeFile(join(small, 'filler'), Buffer.alloc(bavail * bsize - 4096));
      const { code, stderr } = await cli('--out', join(small, 'run'), '--resume', '--steps', '8', '--checkpoint-every', '4');
      expect([code, stderr]).toEqual([
        2,
        expect.stringMatching(/^error: .*no space left on the device; free some or choose another folder \(ENOSPC\)\n$/),
      ]);
      expect((await latestCheckpoint(join(small, 'run')))!.path).toBe(checkpoint.path);
      expect(await readFile(join(small, 'run', 'model.safetensors'))).toEqual(model);
      await rm(join(small, 'filler'));
      const resumed = await cli('--out', join(small, 'run'), '--resume', '--steps', '6');
      expect([resumed.code, resumed.stderr]).toEqual([0, '']);
    } finally {
      execFileSync('umount', [small]);
    }
  });
});

async function flip(path: string): Promise<void> {
  const bytes = await readFile(path);
  bytes[bytes.length - 1]! ^= 1;
  await writeFile(path, bytes);
}

function mount(path: string): boolean {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'none', path], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
