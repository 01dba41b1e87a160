/** @file LPIPS diversity: the mean over pairs within conditions of the distance itself, pairs at random, intervals, and what is refused. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { input } from '../../engine/graph/ops/leaf.ts';
import { evaluate } from '../../engine/graph/reference.ts';
import { fromFloat32, writeSafetensors } from '../../engine/io/safetensors.ts';
import { constantScope, recordingScope, type Weights } from '../../engine/train/weights.ts';
import { fromBytes, lpips } from '../../models/foreign/lpips.ts';
import { formulaWeights } from '../../models/foreign/testing/formula-weights.ts';
import { openLpips } from '../features/lpips.ts';
import { featureSet, type FeatureSet } from '../metric.ts';
import { noise } from '../testing/values.ts';
import { lpipsDiversity, meanDistance, pairsOf } from './lpips-diversity.ts';

const SIDE = 35; // the least that AlexNet's trunk takes is 31
const scratch = mkdtempSync(join(tmpdir(), 'lpips-'));
const file = join(scratch, 'lpips.safetensors');
const parts = { trunk: join(scratch, 'trunk.safetensors'), heads: join(scratch, 'heads.safetensors') };
let weights: Weights;
beforeAll(async () => {
  const { scope, declared } = recordingScope('lpips');
  const image = input('image', [1, 3, SIDE, SIDE]);
  lpips(scope, 'alex', image, image);
  // Heads are never negative.
  weights = new Map(
    [...formulaWeights(declared.values())].map(([name, w]) => [name, name.startsWith('lin') ? { ...w, data: w.data.map(Math.abs) } : w]),
  );
  const save = (path: string, keep: (name: string) => boolean) =>
    writeSafetensors(
      path,
      [...weights].filter(([name]) => keep(name)).map(([name, { data, shape }]) => [name, fromFloat32(data, shape)]),
    );
  await save(file, () => true);
  await save(parts.trunk, (name) => name.startsWith('features'));
  await save(parts.heads, (name) => name.startsWith('lin'));
});
afterAll(() => rmSync(scratch, { recursive: true }));

const area = SIDE * SIDE;
const pictures = (n: number, channels = 3): Uint8Array => Uint8Array.from(noise(n * channels * area, 5), (v) => 127.5 * (v + 1));
const set = (pixels: Uint8Array, channels: number, more: Partial<FeatureSet> = {}): FeatureSet => ({
  ...featureSet(new Float32Array(0), 1, {
    name: 'images',
    n: pixels.length / (channels * area),
    images: { pixels, shape: [channels, SIDE, SIDE] },
    ...more,
  }),
  features: null,
});
const settings = { lpipsWeights: [file], lpipsNet: 'alex', lpipsPairs: 0, seed: 0 };
const measured = (of: FeatureSet, more: object = {}) => lpipsDiversity.compute(of, null, { ...settings, ...more } as never);

/** In float64, by the graph's definition. */
function distance(pixels: Uint8Array, i: number, j: number): number {
  const one = (at: number): Float64Array => Float64Array.from(pixels.subarray(at * 3 * area, (at + 1) * 3 * area));
  const [a, b] = [input('a', [1, 3, SIDE, SIDE]), input('b', [1, 3, SIDE, SIDE])];
  const { distance: of } = lpips(constantScope(weights), 'alex', fromBytes(a), fromBytes(b));
  return (evaluate([of], { a: one(i), b: one(j) })[0]!.data as Float64Array)[0]!;
}

test('is the mean over conditions of the mean distance of their pairs; one file of weights or two', { timeout: 60_000 }, async () => {
  const pixels = pictures(5);
  const labels = [3, 1, 3, 1, 3];
  const [d02, d04, d24, d13] = (
    [
      [0, 2],
      [0, 4],
      [2, 4],
      [1, 3],
    ] as const
  ).map(([i, j]) => distance(pixels, i, j)) as [number, number, number, number];
  const wanted = ((d02 + d04 + d24) / 3 + d13) / 2;
  const found = await measured(set(pixels, 3, { labels }));
  expect(found.value / wanted).toBeCloseTo(1, 4); // float32 against float64
  expect(found).toMatchObject({ low: null, warnings: [], details: { conditions: 2, pairs: 4 } }); // two images alone have no spread
  expect(await measured(set(pixels, 3, { labels: null, conditions: labels }), { lpipsWeights: [parts.trunk, parts.heads] })).toEqual(found);
  const alone = await measured(set(pixels, 3, { labels: [3, 1, 3, 2, 3] }));
  expect(alone.value / ((d02 + d04 + d24) / 3)).toBeCloseTo(1, 4);
  expect(alone.low! < alone.value && alone.value < alone.high!).toBe(true);
  expect(alone.warnings).toEqual(['lpips-diversity: 2 conditions with one image are left out']);
});

test('copies have none; a grey image is that of three equal channels; without conditions all pairs count, which is said', {
  timeout: 60_000,
}, async () => {
  const one = pictures(1, 1);
  const grey = Uint8Array.from([...one, ...one, ...pictures(2, 1).subarray(area)]);
  const colours = Uint8Array.from(
    [0, 1, 2].flatMap((i) => Array.from({ length: 3 }, () => [...grey.subarray(i * area, (i + 1) * area)]).flat()),
  );
  expect((await measured(set(grey, 1, { labels: [0, 0, 1] }))).value).toBe(0);
  const found = await measured(set(grey, 1));
  expect(found).toEqual(await measured(set(colours, 3)));
  expect(found.value).toBeGreaterThan(0);
  expect(found.warnings).toEqual([
    'lpips-diversity: images has no classes or captions; the distances are of all images, not within conditions',
  ]);
});

test('pairs: all of them, or so many different ones by the seed', () => {
  expect(pairsOf([4, 7, 9], 0, 0, 'x')).toEqual([
    [4, 7],
    [4, 9],
    [7, 9],
  ]);
  expect(pairsOf([4, 7, 9], 3, 0, 'x')).toHaveLength(3);
  const members = Array.from({ length: 40 }, (_, i) => 2 * i);
  const some = pairsOf(members, 700, 1, 'x');
  expect(new Set(some.map(String)).size).toBe(700);
  expect(some.every(([i, j]) => i < j && i % 2 === 0 && j <= 78)).toBe(true);
  expect(pairsOf(members, 700, 1, 'x')).toEqual(some);
  expect(pairsOf(members, 700, 2, 'x')).not.toEqual(some);
});

test('the error of a mean over pairs is that of leaving images out', () => {
  // Without image 0: 3; without 1: 2; without 2: 1. Jackknife of 3, 2, 1: √(2/3 · 2).
  const { value, error } = meanDistance(
    [
      [0, 1],
      [0, 2],
      [1, 2],
    ],
    [1, 2, 3],
  );
  expect([value, error]).toEqual([2, expect.closeTo(Math.sqrt(4 / 3), 12)]);
});

test('what is missing or does not fit', async () => {
  const pixels = pictures(2);
  await expect(measured(set(pixels, 3), { lpipsWeights: [] })).rejects.toThrow(
    "lpips: 0 files of weights; give the trunk's (torchvision's alex) and the heads' with --lpips-weights trunk.pth,heads.pth, or one file with both",
  );
  await expect(measured(set(pixels, 3), { lpipsWeights: [parts.heads] })).rejects.toThrow(
    /heads\.safetensors: no weights of a trunk of LPIPS/,
  );
  await expect(measured(set(pixels, 3), { lpipsNet: 'vgg' })).rejects.toThrow(
    /lpips\.safetensors: the weights do not fit the network: .*features/,
  );
  await expect(measured(set(pixels, 3, { labels: [0, 1] }))).rejects.toThrow('lpips-diversity: images has no two images of one condition');
  await expect(measured(featureSet(noise(6, 1), 3, { name: 'f' }))).rejects.toThrow('lpips-diversity: f has no images');
  await expect(openLpips({ weights: [file], net: 'alex', shape: [3, 8, 8] })).rejects.toThrow(
    /^lpips: images of 8x8 are too small for alex/,
  );
  await expect(openLpips({ weights: [file], net: 'alex', shape: [4, SIDE, SIDE] })).rejects.toThrow('lpips: images of 4 channels; 3 or 1');
});
