/** @file `onestep evaluate --metrics fid` on formula weights: images, statistics and stored features of either side; what may be called FID and what may not. */
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { encodePng } from '../../data/image.ts';
import { input } from '../../engine/graph/ops/leaf.ts';
import { fromFloat32, writeSafetensors } from '../../engine/io/safetensors.ts';
import { recordingScope } from '../../engine/train/weights.ts';
import { inceptionExtractor } from '../../eval/features/inception.ts';
import { frechetFromFeatures } from '../../eval/metrics/frechet.ts';
import { noise } from '../../eval/testing/values.ts';
import { inception } from '../../models/foreign/inception.ts';
import { formulaWeights } from '../../models/foreign/testing/formula-weights.ts';
import { attempt } from '../testing/command.ts';

const folder = mkdtempSync(join(tmpdir(), 'evaluate-fid-'));
afterAll(() => rmSync(folder, { recursive: true }));
const path = (name: string): string => join(folder, name);
const weights = path('weights.safetensors');
const [N, SIDE] = [5, 40];
/** [n, 3, 40, 40] */
const images = (seed: number): Uint8Array =>
  Uint8Array.from(noise(N * 3 * SIDE * SIDE, seed), (v, i) => Math.floor((v + 1) * (64 + (i % 64))));
const MEASURE = ['--workers', '1', '--cache', path('cache')];

beforeAll(async () => {
  const { scope, declared } = recordingScope('net');
  inception(scope, input('x', [1, 3, 299, 299])).logits();
  const made = formulaWeights(declared.values());
  await writeSafetensors(
    weights,
    [...made].map(([name, { data, shape }]) => [name, fromFloat32(data, shape)] as const),
  );
  for (const [name, seed] of [
    ['generated', 1],
    ['real', 2],
  ] as const) {
    mkdirSync(path(name));
    for (let i = 0; i < N; i++)
      writeFileSync(join(path(name), `${i}.png`), await encodePng(images(seed).subarray(i * 4800, (i + 1) * 4800), SIDE, SIDE, 3));
  }
}, 60_000);

async function measured(...args: readonly string[]) {
  const { code, stdout, stderr } = await attempt('evaluate', ...args, ...MEASURE, '--json');
  expect([code, stderr]).toEqual([0, '']);
  return JSON.parse(stdout);
}
async function refused(args: readonly string[], message: RegExp): Promise<void> {
  const { code, stderr } = await attempt(...args, ...MEASURE);
  expect(stderr).toMatch(/^error: [^\n]+\n$/);
  expect(stderr).toMatch(message);
  expect(code).toBe(2);
}
const features = async (seed: number): Promise<Float32Array> => {
  const extractor = await inceptionExtractor({ weights, sample: [3, SIDE, SIDE] });
  return (await extractor.features(images(seed), N).finally(() => extractor.close())).features;
};

test('the distance of two folders, of stored features and of statistics is one', { timeout: 180_000 }, async () => {
  const [a, b] = [await features(1), await features(2)];
  const wanted = frechetFromFeatures(a, b, { d: 2048 });
  const own = ['--weights', weights, '--accept-weights'];
  const report = await measured(
    path('generated'),
    '--reference',
    path('real'),
    '--metrics',
    'fid,frechet,inception-score',
    '--is-splits',
    '1',
    ...own,
  );
  expect(report.metrics.fid.value).toBeCloseTo(wanted, 3); // of about 1,000
  expect(report).toMatchObject({
    n: [N, N],
    metrics: { fid: { label: 'FID' }, frechet: { label: 'FID', value: report.metrics.fid.value } },
    extractor: {
      name: 'FID Inception',
      dimensions: 2048,
      resize: 'torch_bilinear, pytorch-fid range',
      sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
    },
  });
  expect(report.warnings.join('\n')).toMatch(/weights\.safetensors is not the published file/);
  expect(report.warnings.join('\n')).toMatch(/frechet: .*5 samples of 2048 dimensions/);
  for (const out of ['real.npz', 'real.safetensors'])
    expect((await attempt('features', path('real'), '--extractor', 'inception', ...own, '--out', path(out), ...MEASURE)).code).toBe(0);
  for (const reference of ['real.npz', 'real.safetensors']) {
    const again = await measured(path('generated'), '--reference', path(reference), '--metrics', 'fid', ...own);
    expect(again.metrics.fid.value).toBeCloseTo(wanted, 3);
  }
});

test('weights that nobody vouches for give no FID', { timeout: 120_000 }, async () => {
  const sides = [path('generated'), '--reference', path('real')];
  await refused(
    ['evaluate', ...sides, '--metrics', 'fid', '--weights', weights],
    /^error: fid: the weights are not the published ones \(SHA-256 [0-9a-f]{8}…\), .* --accept-weights\n$/,
  );
  const report = await measured(...sides, '--metrics', 'frechet', '--weights', weights, '--floor', 'false');
  expect(report.metrics.frechet.label).toMatch(/^FD \(FID Inception \(weights [0-9a-f]{8}\)\)$/);
  const claimed = path('pt_inception-2015-12-05-6726825d.safetensors');
  copyFileSync(weights, claimed);
  await refused(
    ['evaluate', ...sides, '--metrics', 'frechet', '--weights', claimed],
    /its SHA-256 begins with [0-9a-f]{8}, that of the published file with 6726825d; .* --accept-weights\n$/,
  );
  await refused(['evaluate', ...sides, '--metrics', 'fid', '--weights', path('gone.pth')], /gone\.pth: cannot read: no such file/);
});

test('taps and conventions are part of the features', { timeout: 120_000 }, async () => {
  const of = (out: string, ...args: readonly string[]) =>
    attempt('features', path('real'), '--extractor', 'inception', '--weights', weights, ...args, '--out', path(out), '--json', ...MEASURE);
  const facts = async (...args: readonly string[]) => JSON.parse((await of('taps.safetensors', ...args)).stdout);
  expect(await facts('--tap', '64')).toMatchObject({
    n: N,
    cached: 0,
    extractor: { name: expect.stringMatching(/^FID Inception \(weights [0-9a-f]{8}\), tap 64$/), dimensions: 64 },
  });
  expect(await facts('--tap', '192', '--resize', 'tf1')).toMatchObject({
    cached: 0,
    extractor: { dimensions: 192, resize: 'tf1_bilinear, torch-fidelity range' },
  });
  expect(await facts('--tap', '192', '--resize', 'clean')).toMatchObject({
    cached: 0,
    extractor: { resize: 'pil_float_bicubic, clean-fid range' },
  });
  expect(await facts('--tap', '192', '--resize', 'tf1')).toMatchObject({ cached: N });
  await refused(
    ['features', path('real'), '--extractor', 'inception', '--weights', weights, '--tap', '100', '--out', path('x.safetensors')],
    /tap: 100 is none of the Inception's/,
  );
  await refused(
    ['features', path('real'), '--extractor', 'inception', '--weights', weights, '--resize', 'keras', '--out', path('x.safetensors')],
    /resize: the Inception has no rule 'keras'; pytorch, tf1, clean /,
  );
});
