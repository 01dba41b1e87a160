/** @file The weights that are shipped: students draw held-out captions as well as docs/results/avatars says, and all files together are small. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { loadModel } from '../../cli/work/model.ts';
import { packageRoot } from '../../data/artifacts.ts';
import { draw, NAMES } from './drawings.ts';
import { readWithBytes } from './files.ts';
import { openJudge } from './judge.ts';
import { drawCaptions, firstOf, type Measured } from './measure.ts';

const root = packageRoot();
const [folder, results] = [join(root, 'artifacts/avatars'), join(root, 'docs/results/avatars')];
const { columns } = JSON.parse(readFileSync(join(results, 'accuracy.json'), 'utf8')) as {
  readonly columns: Readonly<Record<string, Measured>>;
};
const STUDENT = 'one-step-dmd2';

test('a student of one call has at least 0.9 of its teacher in every attribute', () => {
  for (const name of NAMES) expect(columns[STUDENT]!.accuracy[name], name).toBeGreaterThanOrEqual(0.9 * columns['teacher']!.accuracy[name]);
});

test('the shipped student is as accurate as it is said to be', { timeout: 60_000 }, async () => {
  const { heldOut } = await draw(400);
  const some = firstOf(heldOut, Math.min(32, heldOut.n));
  const { images, calls } = await drawCaptions(await loadModel(join(folder, `${STUDENT}.safetensors`)), some.captions, {
    seed: 1,
    threads: 1,
  });
  expect(calls).toBe(1);
  const judge = await openJudge(await readWithBytes(join(folder, 'judge.safetensors')), 1);
  const accuracy = await judge.accuracy(images, some.values);
  await judge.close();
  const mean = NAMES.reduce((sum, name) => sum + accuracy[name], 0) / NAMES.length;
  // Deviation of a mean of 320 answers of which 0.9 are right, as if they were independent: 0.017.
  expect(Math.abs(mean - columns[STUDENT]!.mean)).toBeLessThan(0.06);
});

const bytesIn = (path: string): number =>
  statSync(path).isDirectory() ? readdirSync(path).reduce((sum, name) => sum + bytesIn(join(path, name)), 0) : statSync(path).size;
test('all weights together take at most 8 MB', () => {
  expect(existsSync(folder)).toBe(true);
  expect(bytesIn(folder) + bytesIn(join(root, 'artifacts/avatar-encoder'))).toBeLessThanOrEqual(8e6);
});
