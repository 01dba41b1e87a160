/** @file The parts of the avatars' example on a few drawings: data, the judge, and the autoencoder learn what they should in a few steps. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { constant } from '../../engine/graph/ops/leaf.ts';
import { evaluate } from '../../engine/graph/reference.ts';
import { AUTOENCODER_TRAINING, divergence, trainAutoencoder } from './autoencoder.ts';
import { draw, floats, NAMES, PIXELS, readDrawings, SIZE, saveDrawings, valuesOf } from './drawings.ts';
import { readWithBytes, writeWithBytes } from './files.ts';
import { JUDGE_TRAINING, openJudge, trainJudge } from './judge.ts';
import { atDusk, atNoon, shareAtDusk } from './style.ts';

const split = await draw(60);

test('drawings are stored and read as they are, and no combination is on both sides', async () => {
  const path = join(mkdtempSync(join(tmpdir(), 'onestep-avatars-')), 'drawings.safetensors');
  await saveDrawings(path, split);
  expect(await readDrawings(path)).toEqual(split);
  expect(split.train.n + split.heldOut.n).toBe(60);
  expect(split.train.captions.filter((caption) => split.heldOut.captions.includes(caption))).toEqual([]);
});

test('the judge starts at chance, learns, and counts as it should', async () => {
  const losses: number[] = [];
  const training = { ...JUDGE_TRAINING, steps: 30, batch: 16, threads: 1, average: null };
  const weights = await trainJudge(split.train, training, (_, loss) => losses.push(loss));
  // Values seen as equally likely cost the mean of their ln n; fresh logits are small beside that.
  const chance = NAMES.reduce((sum, name) => sum + Math.log(valuesOf(name).length), 0) / NAMES.length;
  expect(Math.abs(losses[0]! - chance)).toBeLessThan(0.3);
  expect(losses.at(-1)).toBeLessThan(losses[0]! - 0.5);
  const judge = await openJudge(weights, 1);
  const n = 8;
  const images = floats(
    split.train,
    Array.from({ length: n }, (_, i) => i),
  );
  // Of all values of one attribute exactly one is right for each image.
  const shares = await Promise.all(
    valuesOf('smile').map((_, value) => judge.accuracy(images, new Uint8Array(n * NAMES.length).fill(value))),
  );
  expect(shares.reduce((sum, share) => sum + share.smile, 0)).toBeCloseTo(1, 12);
  await judge.close();
});

test('the divergence is 0 for a unit normal, and ½ (μ² + σ² − 1 − ln σ²) otherwise', () => {
  const at = (...values: readonly number[]) => constant(Float64Array.from(values), [2, 1, 1, 1]);
  const found = evaluate([divergence(at(0, 3), at(0, Math.log(4)))])[0]!.data;
  expect(found[0]).toBe(0);
  expect(found[1]).toBeCloseTo(0.5 * (9 + 4 - 1 - Math.log(4)), 12);
});

test('the autoencoder learns to copy', async () => {
  const losses: number[] = [];
  const training = { ...AUTOENCODER_TRAINING, steps: 12, batch: 4, threads: 1, average: null };
  await trainAutoencoder(split.train, { training, onLoss: (_, loss) => losses.push(loss) });
  expect(losses.at(-1)).toBeLessThan(0.8 * losses[0]!);
  expect(floats(split.train, [0]).length).toBe(PIXELS);
});

test('the style changes the ground alone, and back', () => {
  const images = floats(split.train, [0, 1, 2]);
  const dusk = atDusk(images);
  expect([shareAtDusk(images), shareAtDusk(dusk)]).toEqual([0, 1]);
  expect(atNoon(dusk)).toEqual(images);
  // Skin is not ground: the middle of the face stays.
  const middle = 16 * SIZE + 16;
  expect(dusk[middle]).toBe(images[middle]);
});

test('a matrix in bytes is read back to half a step', async () => {
  const path = join(mkdtempSync(join(tmpdir(), 'onestep-avatars-')), 'weights.safetensors');
  const data = Float32Array.of(1, -0.3, 0.011, 127, -127, 63.4);
  const weights = new Map([
    ['m', { shape: [2, 3], data }],
    ['v', { shape: [2], data: Float32Array.of(0.5, -2) }],
  ]);
  await writeWithBytes(path, weights, 'm');
  const found = await readWithBytes(path);
  expect(Array.from(found.get('v')!.data)).toEqual([0.5, -2]);
  // Steps are 1/127 and 1.
  found.get('m')!.data.forEach((v, i) => {
    expect(Math.abs(v - data[i]!)).toBeLessThanOrEqual((i < 3 ? 0.5 / 127 : 0.5) + 1e-6);
  });
});
