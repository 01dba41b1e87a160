/** @file `onestep features` as a process: stopped in the middle it keeps what it has and goes on from there; statistics are what pytorch-fid reads. */
import { existsSync, readdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readFeatures } from '../../eval/features/stored.ts';
import { moments } from '../../eval/moments.ts';
import { largestDifference } from '../../eval/testing/values.ts';
import { attempt, start } from '../testing/command.ts';

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'features-'));
});
afterAll(() => rm(folder, { recursive: true }));

test('interrupted it says so and keeps its shards; the same command goes on with the rest', { timeout: 120_000 }, async () => {
  const cache = join(folder, 'cache');
  const command = [
    'features',
    'digits#train',
    '--extractor',
    'random',
    '--workers',
    '1',
    '--cache',
    cache,
    '--out',
    join(folder, 'out.safetensors'),
    '--json',
  ];
  const { child, ended } = start(command);
  const shards = (): number => (existsSync(join(cache, 'features')) ? readdirSync(join(cache, 'features')).length : 0);
  while (shards() < 2 && child.exitCode === null) await new Promise((resolve) => setTimeout(resolve, 20));
  child.kill('SIGINT');
  const { code, stdout, stderr } = await ended;
  expect([code, stdout, stderr]).toEqual([
    130,
    '',
    'stopped; features that are computed are kept in the cache, and the same command goes on with the rest\n',
  ]);
  expect(existsSync(join(folder, 'out.safetensors'))).toBe(false);
  const again = await attempt(...command);
  const { n, cached } = JSON.parse(again.stdout) as { n: number; cached: number };
  expect(n).toBe(8000);
  expect(cached).toBeGreaterThanOrEqual(512);
  expect(cached).toBeLessThan(8000);
});

test('statistics: mean and covariance of the same features, with their number and network', async () => {
  const of = (out: string) =>
    attempt(
      'features',
      'digits#test',
      '--n',
      '100',
      '--extractor',
      'digits',
      '--workers',
      '1',
      '--cache',
      'none',
      '--out',
      join(folder, out),
    );
  expect([(await of('a.safetensors')).code, (await of('a.npz')).code]).toEqual([0, 0]);
  const [features, statistics] = [(await readFeatures(join(folder, 'a.safetensors')))!, (await readFeatures(join(folder, 'a.npz')))!];
  const wanted = moments(features.features!, 100, 64);
  expect(statistics).toMatchObject({ n: 100, dimensions: 64, features: null, extractor: features.extractor });
  expect(largestDifference(statistics.moments!.mean, wanted.mean)).toBeLessThan(1e-12);
  expect(largestDifference(statistics.moments!.covariance, wanted.covariance)).toBeLessThan(1e-11);
  expect(await attempt('features', 'digits#test', '--out', join(folder, 'a.txt'))).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/^error: out: .*a\.txt is no \.safetensors or \.npz file; give one\n$/),
  });
});
