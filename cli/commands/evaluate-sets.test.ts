/** @file `onestep evaluate` of any two sets, and `onestep features`: the same figures whatever the images come in, the form of the JSON, and every mistake in a line. */
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadDigits } from '../../data/digits.ts';
import { encodePng } from '../../data/image.ts';
import { toOnnx } from '../../engine/graph/onnx.ts';
import { relu } from '../../engine/graph/ops/elementwise.ts';
import { input } from '../../engine/graph/ops/leaf.ts';
import { reshape } from '../../engine/graph/ops/movement.ts';
import { reduceMean } from '../../engine/graph/ops/reduce.ts';
import { encodeNpy } from '../../engine/io/npy.ts';
import { fromFloat32, readSafetensors, toFloat32, writeSafetensors } from '../../engine/io/safetensors.ts';
import { writeStatistics } from '../../eval/features/statistics.ts';
import { FID_EXTRACTOR } from '../../eval/metric.ts';
import { frechetFromFeatures } from '../../eval/metrics/frechet.ts';
import { moments } from '../../eval/moments.ts';
import { noise } from '../../eval/testing/values.ts';
import { attempt } from '../testing/command.ts';
import { writeTinyRun } from '../testing/tiny.ts';

let folder = '';
let digits = '';
const N = 120;
const path = (name: string): string => join(folder, name);
/** One worker, and a cache of the test's own. */
const MEASURE = (): readonly string[] => ['--workers', '1', '--cache', path('cache')];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'evaluate-sets-'));
  digits = path('digits');
  await mkdir(digits);
  const { heldOut } = await loadDigits();
  for (let i = 0; i < N; i++)
    await writeFile(
      join(digits, `${String(i).padStart(6, '0')}-${heldOut.labels![i]}.png`),
      await encodePng(heldOut.images.subarray(784 * i, 784 * (i + 1)), 28, 28, 1),
    );
});
afterAll(() => rm(folder, { recursive: true }));

interface Report {
  readonly metrics: Readonly<
    Record<string, { readonly value: number; readonly low: number | null; readonly high: number | null; readonly label: string }>
  >;
  readonly floor: { readonly metrics: Report['metrics']; readonly n: readonly [number, number] } | null;
  readonly n: readonly [number, number | null];
  readonly extractor: { readonly name: string; readonly sha256: string; readonly resize: string; readonly dimensions: number };
  readonly settings: Readonly<Record<string, unknown>>;
  readonly warnings: readonly string[];
  readonly [name: string]: unknown;
}
async function measured(...args: readonly string[]): Promise<Report> {
  const { code, stdout, stderr } = await attempt('evaluate', ...args, '--json');
  expect([code, stderr]).toEqual([0, '']);
  return JSON.parse(stdout) as Report;
}
/** Exactly one line of error. */
async function refused(args: readonly string[], message: string | RegExp): Promise<void> {
  const { code, stderr } = await attempt(...args);
  expect(stderr).toMatch(/^error: [^\n]+\n$/);
  expect(stderr).toMatch(typeof message === 'string' ? new RegExp(message.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')) : message);
  expect(code).toBe(2);
}
/** [n, d] of normal-like values, moved by `shift`. */
const matrix = (n: number, d: number, seed: number, shift = 0): Float32Array => Float32Array.from(noise(n * d, seed), (v) => v + shift);

test('a folder, an archive, an array and a data set of the same images give the same figures; the second time out of the cache', {
  timeout: 180_000,
}, async () => {
  const of = (spec: string) =>
    measured(
      spec,
      '--reference',
      'digits#test',
      '--n',
      String(N),
      '--metrics',
      'frechet,precision,class-accuracy',
      '--floor',
      'false',
      ...MEASURE(),
    );
  const whole = await of('digits#test');
  const asFolder = await of(digits);
  const { heldOut } = await loadDigits();
  await writeFile(path('digits.npy'), encodeNpy({ shape: [N, 28, 28], data: heldOut.images.slice(0, N * 784) }));
  expect(asFolder.metrics).toEqual(whole.metrics);
  expect(
    (
      await measured(
        path('digits.npy'),
        '--reference',
        'digits#test',
        '--extractor',
        'digits',
        '--metrics',
        'frechet',
        '--floor',
        'false',
        ...MEASURE(),
      )
    ).metrics['frechet'],
  ).toEqual(whole.metrics['frechet']);
  expect(whole.metrics['class-accuracy']!.value).toBeGreaterThan(0.95);
  // A share of samples like those that they are a part of.
  expect(whole.metrics['precision']!.value).toBe(1);
  expect(whole).toMatchObject({
    kind: 'evaluation',
    reference: 'digits#test',
    n: [N, 2000],
    extractor: { name: 'digit classifier', sha256: expect.stringMatching(/^[0-9a-f]{64}$/), dimensions: 64, resize: 'none' },
    settings: { samples: 'digits#test', reference: 'digits#test', seed: 0, k: 3 },
    floor: null,
  });
  expect(whole.metrics['frechet']!.label).toBe('FD (digit classifier)');
  expect((await readdir(path('cache'))).length).toBe(1);
  const perClass = whole['perClass'] as readonly { readonly class: string; readonly n: number; readonly accuracy: number }[];
  expect(perClass.map((one) => one.class)).toEqual(['0', '1', '2', '3', '4', '5', '6', '7', '8', '9']);
  const hits = perClass.reduce((sum, { n, accuracy }) => sum + n * accuracy, 0);
  expect(hits / N).toBeCloseTo(whole.metrics['class-accuracy']!.value, 12);
});

test('stored features of others: figures, intervals, floor, and their agreement with the metric itself', async () => {
  const [a, b] = [matrix(80, 4, 1), matrix(90, 4, 2, 0.5)];
  await writeSafetensors(path('sets.safetensors'), { 'one.fake': fromFloat32(a, [80, 4]), 'one.real': fromFloat32(b, [90, 4]) });
  const report = await measured(
    `${path('sets.safetensors')}#one.fake`,
    '--reference',
    `${path('sets.safetensors')}#one.real`,
    '--metrics',
    'frechet,kid,prdc',
  );
  expect(Object.keys(report.metrics)).toEqual(['frechet', 'kid', 'precision', 'recall', 'density', 'coverage']);
  expect(report.metrics['frechet']!.value).toBeCloseTo(frechetFromFeatures(a, b, { d: 4 }), 10);
  for (const { value, low, high } of Object.values(report.metrics)) {
    expect(low!).toBeLessThanOrEqual(value);
    expect(high!).toBeGreaterThanOrEqual(value);
  }
  expect(report.metrics['frechet']!.label).toBe('FD (given features)');
  expect([report.n, report.floor!.n, Object.keys(report.floor!.metrics)]).toEqual([[80, 90], [45, 45], Object.keys(report.metrics)]);
  // Halves of one set are nearer to each other than two sets are.
  expect(report.floor!.metrics['frechet']!.value).toBeLessThan(report.metrics['frechet']!.value);
  // Too few samples are told, with what it does.
  expect(report.warnings.join('\n')).toMatch(/kid: 80 samples; .* below 100 mostly noise/);
  const few = await measured(
    `${path('sets.safetensors')}#one.fake`,
    '--reference',
    `${path('sets.safetensors')}#one.real`,
    '--n',
    '20',
    '--metrics',
    'frechet',
  );
  expect([few.n[0], few.warnings.join()]).toEqual([20, expect.stringContaining('the distance comes out too large')]);
});

test('features that were stored give the figures of their images, and belong to their network alone', { timeout: 180_000 }, async () => {
  const out = path('features.safetensors');
  const { code, stdout } = await attempt('features', digits, '--out', out, '--extractor', 'digits', ...MEASURE());
  expect([code, stdout]).toEqual([
    0,
    expect.stringMatching(/^120 images of .*: 64 features each \(digit classifier, SHA-256 [0-9a-f]{64}, resized by none\) in .*\n$/),
  ]);
  const { tensors, metadata } = await readSafetensors(out);
  expect([...tensors].map(([name, { shape }]) => [name, shape]).toSorted()).toEqual([
    ['features', [N, 64]],
    ['labels', [N]],
    ['logits', [N, 10]],
  ]);
  expect(metadata).toMatchObject({ extractor: 'digit classifier', images: digits, resize: 'none' });
  expect(toFloat32(tensors.get('features')!).every(Number.isFinite)).toBe(true);
  const metrics = ['--reference', 'digits#test', '--metrics', 'frechet,inception-score,class-accuracy', '--floor', 'false', ...MEASURE()];
  const [direct, stored] = [await measured(digits, ...metrics), await measured(out, ...metrics)];
  expect([stored.metrics, stored.extractor]).toEqual([direct.metrics, direct.extractor]);
  await attempt('features', digits, '--out', path('random.safetensors'), '--extractor', 'random', ...MEASURE());
  await refused(
    ['evaluate', out, '--reference', path('random.safetensors')],
    /has features of random features, SHA-256 [0-9a-f]{12}…, .* of digit classifier, .*; a distance between different features means nothing/,
  );
  await refused(
    ['evaluate', digits, '--reference', path('random.safetensors'), '--extractor', 'digits', ...MEASURE()],
    'a distance between different features means nothing',
  );
  // Of a file that says no network it is not known; whoever knows may say so.
  await writeSafetensors(path('silent.safetensors'), { features: tensors.get('features')! });
  const silent = ['evaluate', out, '--reference', path('silent.safetensors'), '--metrics', 'frechet'];
  await refused(silent, 'does not say which network gave its features');
  const accepted = await measured(...silent.slice(1), '--accept-weights');
  expect(Math.abs(accepted.metrics['frechet']!.value)).toBeLessThan(1e-6);
  expect(accepted.warnings.join()).toContain('does not say which network gave its features');
});

test('a model is sampled on the fly; a run folder keeps its evaluation', { timeout: 180_000 }, async () => {
  const run = await writeTinyRun(path('run'), { levels: [80] });
  const report = await measured(run, '--reference', 'digits#test', '--n', '40', '--threads', '1', '--metrics', 'frechet', ...MEASURE());
  expect(report).toMatchObject({ model: run, sampler: 'student', nfe: 1, n: [40, 2000], reference: 'digits#test', floor: { n: [40, 40] } });
  const stored = await readdir(join(run, 'evaluations'));
  expect(stored.length).toBe(1);
  const { default: kept } = (await import(join(run, 'evaluations', stored[0]!), { with: { type: 'json' } })) as {
    default: { command: string; metrics: unknown };
  };
  expect(kept.metrics).toEqual(report.metrics);
  expect(kept.command).toMatch(/^onestep evaluate .*run --reference 'digits#test' --n 40 /);
  // In today's form too.
  await attempt('evaluate', run, '--n', '20', '--threads', '1', '--neighbours', '0');
  expect((await readdir(join(run, 'evaluations'))).length).toBe(2);
});

describe('an ONNX file gives the features', () => {
  test('with its tap and its scale in the report', { timeout: 60_000 }, async () => {
    const images = input('images', ['N', 1, 28, 28]);
    await writeFile(path('net.onnx'), toOnnx({ features: reshape(reduceMean(relu(images), [2]), ['N', 28]) }, { target: 'cpu' }));
    const args = [
      digits,
      '--reference',
      'digits#test',
      '--features',
      path('net.onnx'),
      '--scale',
      '0..1',
      '--metrics',
      'kid',
      '--floor',
      'false',
      ...MEASURE(),
    ];
    const report = await measured(...args);
    expect(report.extractor).toMatchObject({ name: 'net.onnx, features', dimensions: 28, resize: 'none, 0..1' });
    const lines = await attempt('evaluate', ...args);
    expect(lines.stdout).toMatch(
      /^120 samples of .*digits against 2000 samples of digits#test\nmetric +value +95 % interval\nKID +[-\d.e]+ +[-\d.e]+ to [-\d.e]+ +lower is better\nfeatures: net\.onnx, features, SHA-256 [0-9a-f]{64}, resized by none, 0\.\.1\n$/,
    );
  });
});

test('statistics have a Fréchet distance alone; pytorch-fid writes them without the name of the network', async () => {
  const features = matrix(90, 4, 2, 0.5);
  await writeSafetensors(
    path('some.safetensors'),
    { features: fromFloat32(matrix(80, 4, 1), [80, 4]) },
    { extractor: FID_EXTRACTOR, extractorSha256: 'ab' },
  );
  await writeStatistics(path('stats.npz'), moments(features, 90, 4), null);
  const report = await measured(path('some.safetensors'), '--reference', path('stats.npz'));
  expect(report.metrics['frechet']!.value).toBeCloseTo(frechetFromFeatures(matrix(80, 4, 1), features, { d: 4 }), 9);
  expect([Object.keys(report.metrics), report.metrics['frechet']!.label, report.floor]).toEqual([['frechet'], 'FID', null]);
  expect(report.warnings.join()).toContain(
    "stats.npz: does not say which network gave its features; the other side's are of FID Inception, for which it is taken",
  );
  const fid = await measured(path('some.safetensors'), '--reference', path('stats.npz'), '--metrics', 'fid');
  expect(fid.metrics['fid']!.value).toBe(report.metrics['frechet']!.value);
  await refused(
    ['evaluate', path('some.safetensors'), '--reference', path('stats.npz'), '--metrics', 'kid'],
    'has no features but statistics alone',
  );
  await refused(
    ['evaluate', digits, '--reference', path('stats.npz'), '--extractor', 'digits', '--metrics', 'frechet', ...MEASURE()],
    /stats\.npz: has 4 features a sample, .*digits has 64; a distance between different features means nothing/,
  );
});

describe('mistakes', () => {
  const against = ['--reference', 'digits#test', '--metrics', 'frechet'];
  test('metrics', async () => {
    await refused(['evaluate', digits, '--reference', 'digits#test', '--metrics', 'frechet,kdi'], "no metric 'kdi' (did you mean kid?)");
    await refused(
      ['evaluate', digits, '--metrics', 'frechet', ...MEASURE()],
      'frechet: compares with a reference; give one with --reference',
    );
    await refused(
      ['evaluate', digits, '--extractor', 'random', '--metrics', 'inception-score', ...MEASURE()],
      /inception-score: .*digits has no logits; logits of single samples are needed/,
    );
    await refused(
      ['evaluate', digits, '--extractor', 'random', '--reference', 'digits', '--metrics', 'fid', ...MEASURE()],
      'fid takes features of the FID Inception, not of random features; ask for frechet',
    );
    await refused(
      ['evaluate', `${path('sets.safetensors')}#one.fake`, '--reference', `${path('sets.safetensors')}#one.real`, '--metrics', 'fid'],
      'fid takes features of the FID Inception, not of an unknown network',
    );
  });
  test('sides', async () => {
    await mkdir(path('empty'), { recursive: true });
    await refused(['evaluate', path('empty'), ...against, ...MEASURE()], /images: .*empty has none; files that end in .* expected/);
    await refused(
      ['evaluate', digits, '--reference', 'digtis', '--metrics', 'frechet', ...MEASURE()],
      /images: digtis is neither a file nor a folder nor a data set/,
    );
    await refused(
      ['evaluate', digits, '--n', '121', ...against, ...MEASURE()],
      'holds 120 images, not 121; give a set with enough of them, or a smaller --n',
    );
    await refused(['evaluate', `${path('sets.safetensors')}#two`, ...against], "no array 'two'; it holds one.fake, one.real");
  });
  test('images that cannot be read, or are of several sizes', async () => {
    const bad = path('bad');
    await mkdir(bad);
    for (let i = 0; i < 4; i++) await writeFile(join(bad, `${i}.png`), await encodePng(new Uint8Array(784).fill(50 * i), 28, 28, 1));
    await writeFile(join(bad, '2.png'), 'no picture');
    await refused(['evaluate', bad, ...against, '--extractor', 'digits', ...MEASURE()], /image: .*2\.png cannot be read as an image/);
    const skipped = await measured(bad, ...against, '--extractor', 'digits', '--unreadable', 'skip', '--floor', 'false', ...MEASURE());
    expect([skipped.n[0], skipped.warnings.join('\n')]).toEqual([
      3,
      expect.stringMatching(/1 images could not be read and are left out: .*2\.png/),
    ]);
    await writeFile(join(bad, '2.png'), await encodePng(new Uint8Array(30 * 31), 30, 31, 1));
    await refused(
      ['evaluate', bad, ...against, '--extractor', 'digits', ...MEASURE()],
      /2\.png: is 31x30, and the network takes 28x28; give a rule with --resize/,
    );
    expect(
      (await measured(bad, ...against, '--extractor', 'digits', '--resize', 'pil_uint8_lanczos', '--floor', 'false', ...MEASURE()))
        .extractor.resize,
    ).toBe('pil_uint8_lanczos');
  });
  test('extractors', async () => {
    await refused(['evaluate', digits, ...against, '--extractor', 'inceptoin', ...MEASURE()], /extractor: there is no 'inceptoin'/);
    await refused(['evaluate', digits, ...against, '--tap', 'x', ...MEASURE()], 'tap: ');
    await refused(['evaluate', digits, ...against, '--features', 'net.bin', ...MEASURE()], 'features: net.bin is no .onnx file');
    await refused(
      ['evaluate', digits, ...against, '--cache', path('cache'), '--workers', '-1'],
      'features.workers: -1 is not a whole number in [0, 1024]',
    );
    await refused(['features', digits, '--out', path('a.txt')], 'out: ');
  });
  test('a cache that cannot be written costs a line, and the figures are there', async () => {
    await writeFile(path('no-folder'), '');
    const report = await measured(
      digits,
      ...against,
      '--floor',
      'false',
      '--extractor',
      'digits',
      '--workers',
      '1',
      '--cache',
      path('no-folder'),
    );
    expect(report.warnings.join('\n')).toMatch(
      /cache: .*: cannot write: a part of the path is a file, not a folder \(ENOTDIR\); the evaluation goes on without it/,
    );
    expect(report.metrics['frechet']!.value).toBeGreaterThan(0);
  });
});
