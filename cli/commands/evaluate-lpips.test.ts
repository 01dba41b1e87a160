/** @file `onestep evaluate` with LPIPS diversity: conditions by classes and by captions, what it was computed with, and what is missing. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { encodePng } from '../../data/image.ts';
import { input } from '../../engine/graph/ops/leaf.ts';
import { sha256 } from '../../engine/io/atomic.ts';
import { encodeSafetensors, fromFloat32 } from '../../engine/io/safetensors.ts';
import { recordingScope } from '../../engine/train/weights.ts';
import { noise } from '../../eval/testing/values.ts';
import { lpips } from '../../models/foreign/lpips.ts';
import { formulaWeights } from '../../models/foreign/testing/formula-weights.ts';
import { attempt } from '../testing/command.ts';

const SIDE = 40;
let folder = '';
let weights = '';
const images = (name: string): string => join(folder, name);
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'evaluate-lpips-'));
  weights = join(folder, 'squeeze.safetensors');
  const { scope, declared } = recordingScope('lpips');
  const image = input('image', [1, 3, SIDE, SIDE]);
  lpips(scope, 'squeeze', image, image);
  const named = [...formulaWeights(declared.values())].map(([name, { shape, data }]) => [name, fromFloat32(data, shape)] as const);
  await writeFile(weights, encodeSafetensors(named));
  for (const kind of ['classes', 'captions']) await mkdir(images(kind));
  for (let i = 0; i < 5; i++) {
    const png = await encodePng(
      Uint8Array.from(noise(3 * SIDE * SIDE, i), (v) => 127.5 * (v + 1)),
      SIDE,
      SIDE,
      3,
    );
    await writeFile(join(images('classes'), `${i}-${i % 2}.png`), png);
    await writeFile(join(images('captions'), `${i}.png`), png);
    await writeFile(join(images('captions'), `${i}.txt`), i % 2 === 0 ? 'an even one' : 'an odd one');
  }
});
afterAll(() => rm(folder, { recursive: true }));
const measure = (...args: readonly string[]) => attempt('evaluate', ...args, '--metrics', 'lpips-diversity', '--lpips-net', 'squeeze');

test('classes and captions are conditions; no other network looks at the images', async () => {
  const { code, stdout, stderr } = await measure(images('classes'), '--lpips-weights', weights, '--json');
  expect([code, stderr]).toEqual([0, '']);
  const report = JSON.parse(stdout) as { metrics: object };
  expect(report).toMatchObject({
    n: [5, null],
    metrics: { 'lpips-diversity': { label: 'LPIPS diversity', better: 'higher', details: { conditions: 2, pairs: 4 } } },
    extractor: null,
    lpips: { name: 'LPIPS 0.1 (squeeze: squeeze.safetensors)', sha256: sha256(await readFile(weights)) },
    settings: { lpipsNet: 'squeeze', lpipsPairs: 100 },
    warnings: [],
  });
  const captions = await measure(images('captions'), '--lpips-weights', weights, '--json');
  expect(JSON.parse(captions.stdout).metrics).toEqual(report.metrics);
  const table = await measure(images('classes'), '--lpips-weights', weights);
  expect(table.stdout).toMatch(
    /\nLPIPS diversity +[\d.e-]+ .*higher is better\nfeatures: LPIPS 0\.1 \(squeeze: squeeze\.safetensors\), SHA-256 /,
  );
});

test('beside a metric that takes features', { timeout: 60_000 }, async () => {
  const own = ['--lpips-net', 'squeeze', '--lpips-weights', weights, '--json'];
  const beside = ['--metrics', 'lpips-diversity,vendi', '--extractor', 'random', '--cache', 'none', '--workers', '1'];
  const { code, stdout, stderr } = await attempt('evaluate', images('classes'), ...beside, ...own);
  expect([code, stderr]).toEqual([0, '']);
  const report = JSON.parse(stdout) as { metrics: Record<string, object> };
  expect(report).toMatchObject({ extractor: { name: 'random features' }, lpips: { resize: 'none' } });
  const alone = await measure(images('classes'), '--lpips-weights', weights, '--json');
  expect(report.metrics['lpips-diversity']).toEqual(JSON.parse(alone.stdout).metrics['lpips-diversity']);
});

test.each<[string, readonly string[], RegExp]>([
  [
    'no weights',
    [],
    /^error: lpips-diversity: needs the weights of LPIPS; give the trunk's \(torchvision's squeeze\) and the heads' with --lpips-weights/,
  ],
  ['a file that is not there', ['--lpips-weights', 'nowhere.pth'], /^error: nowhere\.pth: cannot read: no such file \(ENOENT\)\n$/],
])('%s', async (_, args, message) => {
  const { code, stderr } = await measure(images('classes'), ...args);
  expect([code, stderr]).toEqual([2, expect.stringMatching(message)]);
});

test('features in place of images', async () => {
  const features = join(folder, 'features.safetensors');
  await writeFile(features, encodeSafetensors([['features', fromFloat32(new Float32Array(8), [4, 2])]]));
  const { code, stderr } = await measure(`${features}#features`, '--lpips-weights', weights);
  expect([code, stderr]).toEqual([
    2,
    expect.stringMatching(/^error: lpips-diversity: needs the images themselves, and .*holds features; give images\n$/),
  ]);
});
