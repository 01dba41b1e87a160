/** @file The best checkpoint of a run: saved where none was due, kept whatever comes, named at the end, and known again when the run is continued. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { loadDataset } from '../../data/registry.ts';
import { listCheckpoints } from '../../engine/train/checkpoint.ts';
import type { Loss } from '../../engine/train/loss.ts';
import edm from '../../losses/edm.ts';
import { TINY_NETWORK, writePictures } from '../testing/tiny.ts';
import { bestOf } from './best-checkpoint.ts';
import { planOf } from './plan.ts';
import type * as scores from './scores.ts';
import { type RunEvent, runTraining } from './training.ts';

/** What evaluations give, by the step of the model. */
const DISTANCES: Readonly<Record<number, number>> = { 1: 4, 2: 1, 3: 2.5, 4: 9, 5: 0.5, 6: 3 };
vi.mock('./scores.ts', async (original) => ({
  ...(await original<typeof scores>()),
  evaluationOf: async () => ({
    run: async ({ model }: scores.ScoreRequest) => ({
      frechet: { heldOut: 0, training: DISTANCES[model.card.step]! },
      classAccuracy: null,
    }),
    close: async () => {},
  }),
}));

let folder = '';
let data = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'best-'));
  data = await writePictures(join(folder, 'pictures'), 12, 8);
});
afterAll(() => rm(folder, { recursive: true }));

async function train(name: string, steps: number, resume = false, more: Readonly<Record<string, unknown>> = {}) {
  const settings = { ...TINY_NETWORK, batch: 4, threads: 1, sampleEvery: 0, checkpointEvery: 4, keep: 1, evaluateEvery: 1, steps };
  const events: RunEvent[] = [];
  const result = await runTraining({
    plan: planOf(edm as unknown as Loss, 'song-unet', { ...settings, ...more }),
    command: 'train',
    folder: join(folder, name),
    split: await loadDataset(data, { size: 8, channels: 1 }),
    teacher: null,
    start: null,
    resume,
    onEvent: (event) => events.push(event),
  });
  return { result, notes: events.flatMap((event) => (event.kind === 'note' ? [event.text] : [])) };
}
const stepsOf = async (name: string): Promise<number[]> => (await listCheckpoints(join(folder, name))).map(({ step }) => step);

test('stays beside the last ones, is told with its folder, and is known again by a run that goes on', { timeout: 400_000 }, async () => {
  const path = join(folder, 'run', 'checkpoints', 'step-0000002');
  const first = await train('run', 4);
  expect(await stepsOf('run')).toEqual([2, 4]); // 2 was not due
  expect(first.result.best).toEqual({ step: 2, distance: 1, path });
  expect(first.notes).toEqual([
    // 4 is worse than twice the best too: told once.
    expect.stringMatching(
      /^training may be going wrong at step 3: the distance 2\.5 is more than 2 times the best so far, 1; likeliest to help: --lr /,
    ),
    `best: step 2, distance 1.000, ${path}`,
  ]);
  expect(await bestOf(join(folder, 'run'))).toEqual({ step: 2, distance: 1 });
  const second = await train('run', 5, true);
  expect(await stepsOf('run')).toEqual([5]);
  expect(second.result.best).toMatchObject({ step: 5, distance: 0.5 });
  const third = await train('run', 6, true);
  expect(await stepsOf('run')).toEqual([5, 6]);
  expect(third.notes.at(-1)).toMatch(/^best: step 5, distance 0\.5000, .*step-0000005$/);
  // Once its checkpoint is gone, the best of those that are left is named.
  await rm(join(folder, 'run', 'checkpoints', 'step-0000005'), { recursive: true });
  expect(await bestOf(join(folder, 'run'))).toEqual({ step: 6, distance: 3 });
});

test('without evaluations none is named', { timeout: 200_000 }, async () => {
  const { result, notes } = await train('plain', 1, false, { evaluateEvery: 0 });
  expect([result.best, notes]).toEqual([null, []]);
  expect(await stepsOf('plain')).toEqual([1]);
});
