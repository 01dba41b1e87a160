/** @file A network trained by itself: interrupted, it goes on as if it had not been; it may start from given weights. */
import '../graph/fluent.ts';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { constant } from '../graph/ops/leaf.ts';
import { matmul } from '../graph/ops/linalg.ts';
import { listCheckpoints } from './checkpoint.ts';
import { type SingleTask, type SingleTraining, trainSingle } from './single.ts';

/** Learns x ↦ x W for a fixed W. */
const task: SingleTask = {
  ...{ name: 'line', title: 'squared error', reference: '1512.00567', shape: [2], beside: 2 },
  build:
    (scope) =>
    ({ x }) =>
      matmul(x!, scope('w', [2, 2], { kind: 'normal', std: 1 })),
  terms: ({ head, data, condition }) => ({ loss: head({ x: data }, constant(0)).sub(condition['label']!).square().mean() }),
};
const training: SingleTraining = {
  ...{ steps: 8, batch: 2, seed: 0, rate: 1e-2, warmup: 0 },
  ...{ average: 'constant:0.9', weightDecay: 0, threads: 1 },
};
const batchOf = (step: number) => ({
  images: Float32Array.of(1, 0, 0, 1).map((v) => v + step / 10),
  labels: Float32Array.of(1, 2, 3, 4),
});
const valuesOf = (weights: ReadonlyMap<string, { readonly data: Float32Array }>) => Array.from(weights.get('w')!.data);

test('an interrupted training ends with the same bits', async () => {
  const whole = await trainSingle(task, training, batchOf);
  const folder = mkdtempSync(join(tmpdir(), 'onestep-single-'));
  const checkpoints = { folder, every: 3 };
  const interrupted = (step: number) => {
    if (step === 5) throw new Error('interrupted');
    return batchOf(step);
  };
  await expect(trainSingle(task, training, interrupted, undefined, { checkpoints })).rejects.toThrow('interrupted');
  const seen: number[] = [];
  const resumed = await trainSingle(task, training, batchOf, ({ step }) => seen.push(step), { checkpoints });
  expect(seen).toEqual([4, 5, 6, 7, 8]);
  expect(valuesOf(resumed)).toEqual(valuesOf(whole));
  expect((await listCheckpoints(folder)).map(({ step }) => step)).toEqual([8]);
  // What is finished is not trained again.
  expect(valuesOf(await trainSingle(task, training, interrupted, undefined, { checkpoints }))).toEqual(valuesOf(whole));
});

test('weights that are given are what it starts from', async () => {
  const start = new Map([['w', { shape: [2, 2], data: Float32Array.of(5, 6, 7, 8) }]]);
  const still = await trainSingle(task, { ...training, steps: 1, rate: 0, average: null }, batchOf, undefined, { start });
  expect(valuesOf(still)).toEqual([5, 6, 7, 8]);
});
