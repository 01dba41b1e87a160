/** @file `onestep evaluate`: known numbers for real digits, samples of a model, stored features; honest words. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { loadDigits } from '../../data/digits.ts';
import { encodePng } from '../../data/image.ts';
import { writeAtomic } from '../../engine/io/atomic.ts';
import { readSafetensors, toFloat32 } from '../../engine/io/safetensors.ts';
import { openEvaluation } from '../../eval/evaluation.ts';
import { attempt } from '../testing/command.ts';
import { writePictures, writeTinyRun } from '../testing/tiny.ts';

let folder = '';
let real = '';
const N = 300;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'evaluate-'));
  real = await writePictures(join(folder, 'real'), 0);
  const { heldOut } = await loadDigits();
  for (let i = 0; i < N; i++) {
    const picture = await encodePng(heldOut.images.subarray(784 * i, 784 * (i + 1)), 28, 28, 1);
    await writeAtomic(join(real, `${String(i).padStart(6, '0')}-${heldOut.labels![i]}.png`), picture);
  }
});
afterAll(() => rm(folder, { recursive: true }));

test('a folder of held-out digits: the numbers of the evaluation itself, though a pool computes the features', {
  timeout: 180_000,
}, async () => {
  const { heldOut } = await loadDigits();
  const direct = await openEvaluation('digits', { neighbours: 0 });
  const wanted = await direct.evaluate({ images: heldOut.images.slice(0, 784 * N), n: N, labels: heldOut.labels!.subarray(0, N) });
  await direct.close();
  // Digits are easy: held-out ones are recognised.
  expect(wanted.classAccuracy).toBeGreaterThan(0.97);
  const { code, stdout, stderr } = await attempt('evaluate', real, '--threads', '2', '--neighbours', '0', '--json');
  expect([code, stderr]).toEqual([0, '']);
  expect(JSON.parse(stdout)).toEqual({
    kind: 'evaluation',
    samples: real,
    n: N,
    reference: 'digits',
    metric: 'Fréchet distance (digit classifier)',
    frechetHeldOut: wanted.frechet.heldOut,
    frechetTraining: wanted.frechet.training,
    floor: wanted.floor,
    precision: wanted.precision,
    recall: wanted.recall,
    classAccuracy: wanted.classAccuracy,
    extractor: 'digit classifier',
    extractorSha256: wanted.checksum,
    nearest: null,
  });
});

test('a model: its settings beside the numbers, in words that promise no FID; features are stored', { timeout: 180_000 }, async () => {
  const run = await writeTinyRun(join(folder, 'student'), { levels: [80] });
  const save = join(folder, 'features.safetensors');
  const { code, stdout } = await attempt(
    'evaluate',
    run,
    '--n',
    '40',
    '--seed',
    '3',
    '--threads',
    '1',
    '--neighbours',
    '2',
    '--save',
    save,
  );
  expect(code).toBe(0);
  expect(stdout).toMatch(/^40 samples of .*student: seed 3, sampler student, guidance 1, NFE 1, [\d.e+]+ images\/s\n/);
  expect(stdout).toMatch(
    /Fréchet distance \(digit classifier\): [\d.e+]+ to held-out, [\d.e+]+ to training images; floor 0\.52\d* \(held-out to training\); it is no FID and compares only at equal n\n/,
  );
  expect(stdout).toMatch(
    /\nprecision [\d.]+, recall [\d.]+: 3 neighbours in the features of at most 5,000 training images\nclass accuracy: [\d.]+\nnearest training images of 2 samples: /,
  );
  expect(stdout).toMatch(/\nextractor: digit classifier, SHA-256 [0-9a-f]{64}\n$/);
  const { tensors, metadata } = await readSafetensors(save);
  expect([...tensors].map(([name, { shape }]) => [name, shape])).toEqual(
    expect.arrayContaining([
      ['features', [40, 64]],
      ['logits', [40, 10]],
      ['labels', [40]],
    ]),
  );
  expect(metadata).toMatchObject({
    model: run,
    n: '40',
    seed: '3',
    sampler: 'student',
    nfe: '1',
    reference: 'digits',
    classAccuracy: expect.any(String),
  });
  // They give the same distance again.
  const evaluation = await openEvaluation('digits', { neighbours: 0 });
  const again = await evaluation.frechet(toFloat32(tensors.get('features')!), 40);
  await evaluation.close();
  expect(String(again.heldOut)).toBe(metadata['frechetHeldOut']);
});

test('what is no digit, or not enough of it, is refused', async () => {
  const refused = async (args: readonly string[], message: string | RegExp): Promise<void> => {
    expect(await attempt('evaluate', ...args, '--threads', '1')).toMatchObject({ code: 2, stderr: expect.stringMatching(message) });
  };
  await refused([real, '--n', '301'], /holds 300 \.png files, not 301; give a folder with enough of them, or a smaller --n\n$/);
  await refused([await writePictures(join(folder, 'small'), 3, 14)], /is 14x14; pictures of 28x28 are compared, and none is resized\n$/);
  const colour = await writeTinyRun(join(folder, 'colour'), { sample: { shape: [3, 32, 32], classes: 10 } });
  await refused([colour], /evaluate: .*colour makes \[3,32,32\], digits are \[1,28,28\]; give a model of digits\n$/);
  await refused(
    [await writePictures(join(folder, 'eleven'), 2, 28, (i) => `${i}-${10 + i}.png`)],
    /evaluate: a sample is labelled 10; digits are 0 to 9\n$/,
  );
  await refused([real, '--reference', 'cats'], /evaluate\.reference: "cats" is not one of auto, digits, fashion-mnist\n$/);
});
