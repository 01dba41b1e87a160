/** @file `onestep evaluate`: known numbers for real digits, samples of a model, stored features; honest words. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { loadDigits } from '../../data/digits.ts';
import { encodePng } from '../../data/image.ts';
import { writeAtomic } from '../../engine/io/atomic.ts';
import { fromFloat32, readSafetensors, toFloat32, writeSafetensors } from '../../engine/io/safetensors.ts';
import { openEvaluation } from '../../eval/evaluation.ts';
import { measure } from '../../eval/measure.ts';
import { featureSet } from '../../eval/metric.ts';
import { metricsNamed } from '../../eval/metrics/index.ts';
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
  const { metrics, ...report } = JSON.parse(stdout) as { metrics: Record<string, { value: number; low: number; high: number }> };
  expect(Object.entries(metrics).map(([name, { value }]) => [name, value])).toEqual([
    ['frechetHeldOut', wanted.frechet.heldOut],
    ['frechetTraining', wanted.frechet.training],
    ...(['precision', 'recall', 'classAccuracy'] as const).map((name) => [name, wanted[name]]),
  ]);
  // Wilson's interval of the share, by its equation.
  const [share, z] = [wanted.classAccuracy!, 1.959963984540054];
  const reach = (z / (1 + z ** 2 / N)) * Math.sqrt((share * (1 - share)) / N + z ** 2 / (4 * N * N));
  expect(metrics['classAccuracy']!.low).toBeCloseTo((share + z ** 2 / (2 * N)) / (1 + z ** 2 / N) - reach, 12);
  for (const [name, { value, low, high }] of Object.entries(metrics))
    expect([low < value, value < high || value === 1], name).toEqual([true, true]);
  // Of a share of 5,000 training images.
  expect(metrics['recall']!.high - metrics['recall']!.low).toBeLessThan(2 * z * Math.sqrt(0.25 / 4900));
  expect(report).toEqual({
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
  await refused([real, '--reference', 'cats'], /images: cats is neither a file nor a folder nor a data set/);
});

test('stored features: the form of --json, the same numbers as the library, a table, and one line for what does not fit', async () => {
  const d = 6;
  const values = (seed: number, n: number, scale = 1): Float32Array =>
    Float32Array.from({ length: n * d }, (_, i) => scale * Math.sin(seed + i * i));
  const path = join(folder, 'sets.safetensors');
  await writeSafetensors(path, {
    a: fromFloat32(values(1, 80), [80, d]),
    b: fromFloat32(values(2, 60, 1.5), [60, d]),
    c: fromFloat32(values(2, 60), [90, 4]),
  });
  const [a, b] = [`${path}#a`, `${path}#b`];
  const { code, stdout, stderr } = await attempt(
    'evaluate',
    a,
    '--reference',
    b,
    '--metrics',
    'frechet,kid,prdc',
    '--json',
    '--k',
    '2',
    '--seed',
    '5',
  );
  const report = JSON.parse(stdout);
  expect([code, stderr]).toEqual([0, '']);
  expect(Object.keys(report.metrics)).toEqual(['frechet', 'kid', 'precision', 'recall', 'density', 'coverage']);
  expect(report).toMatchObject({
    extractor: { name: 'given features', sha256: null, dimensions: d },
    n: [80, 60],
    settings: { k: 2, seed: 5, groups: 10, kidEstimator: 'auto', samples: a, reference: b },
  });
  const wanted = await measure(
    metricsNamed(['frechet', 'kid', 'prdc'], null),
    featureSet(values(1, 80), d),
    featureSet(values(2, 60, 1.5), d),
    { k: 2, seed: 5 },
  );
  for (const [id, { value, low, high }] of Object.entries(wanted.metrics))
    expect(report.metrics[id], id).toMatchObject({ value, low, high });
  expect(report.warnings).toContain(
    'precision: 60 samples; balls to the k-th neighbour are wide where samples are few, compare at equal n',
  );

  const table = await attempt('evaluate', a, '--reference', b);
  expect(table.stdout).toMatch(
    /^80 samples of .*#a against 60 samples of .*#b\nmetric +value +95 % interval +floor\nFD \(given features\) +[\d.]+ +[-\d.]+ to [\d.]+ +[\d.]+ +lower is better\n/,
  );
  expect(table.stdout).toMatch(/\nfeatures: given features, of an unknown network\n$/);
  expect(table.stderr).toContain('note: precision: 60 samples; ');

  const refused = async (message: RegExp, ...args: readonly string[]): Promise<void> => {
    expect(await attempt('evaluate', ...args)).toMatchObject({ code: 2, stderr: expect.stringMatching(message) });
  };
  await refused(
    /#c: has 4 features a sample, .*#a has 6; a distance between different features means nothing\n$/,
    a,
    '--reference',
    `${path}#c`,
  );
  await refused(/no metric 'frechett' \(did you mean frechet\?\)/, a, '--reference', b, '--metrics', 'frechett');
  await refused(/fid takes features of the FID Inception, not of an unknown network/, a, '--reference', b, '--metrics', 'fid');
  await refused(/^error: kid: compares with a reference; give one with --reference\n$/, a, '--metrics', 'kid');
  await refused(/kid\.kidSubsetSize: 1 is not a whole number in \[2, 100000\]/, a, '--reference', b, '--kid-subset-size', '1');
  await refused(/those of any images are written by onestep features/, a, '--reference', b, '--save', join(folder, 'again.safetensors'));
  await refused(/kid: compares with a reference; give one with --reference/, real, '--metrics', 'kid');
});
