/** @file Stored features and statistics: files of other tools, what is written is read again, and what does not fit is refused. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { InputError } from '../../engine/io/errors.ts';
import { encodeNpy, writeNpy } from '../../engine/io/npy.ts';
import { fromFloat32, fromFloat64, readSafetensors, toFloat32, toFloat64, writeSafetensors } from '../../engine/io/safetensors.ts';
import { writeZip } from '../../engine/io/zip-write.ts';
import { goldenPath } from '../../engine/testing/golden.ts';
import { assertComparable, measure } from '../measure.ts';
import { featureSet } from '../metric.ts';
import { metricsNamed } from '../metrics/index.ts';
import { moments } from '../moments.ts';
import { goldenJson } from '../testing/golden.ts';
import { largestDifference, noise } from '../testing/values.ts';
import { readFeatures, writeFeatures } from './stored.ts';
import { writeStatistics } from './statistics.ts';

const folder = mkdtempSync(join(tmpdir(), 'stored-'));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (name: string): string => join(folder, name);
const extractor = { name: 'fashion classifier', checksum: 'a'.repeat(64) };

describe('what is written is read again', () => {
  test('statistics, as .npz and .safetensors, with samples and extractor', async () => {
    const stored = moments(noise(60, 1), 20, 3);
    for (const path of [at('s.npz'), at('s.safetensors')]) {
      await writeStatistics(path, stored, extractor);
      const set = (await readFeatures(path))!;
      expect(set).toMatchObject({ name: path, n: 20, dimensions: 3, features: null, extractor });
      expect(set.moments).toEqual(stored);
      await writeStatistics(path, { ...stored, n: Infinity }, null);
      expect(await readFeatures(path)).toMatchObject({ n: null, extractor: null });
    }
    await expect(writeStatistics(at('s.txt'), stored, null)).rejects.toThrow('statistics are written as .npz or .safetensors');
  });

  test('features with logits and labels', async () => {
    const set = featureSet(Float32Array.from(noise(12, 2)), 3, {
      extractor,
      logits: { values: noise(8, 3), classes: 2 },
      labels: [0, 1, 1, 0],
    });
    await writeFeatures(at('f.safetensors'), set, { note: 'x' });
    const found = (await readFeatures(at('f.safetensors')))!;
    expect(found).toEqual({ ...set, name: at('f.safetensors'), labels: Float32Array.of(0, 1, 1, 0) });
    expect(await readFeatures(`${at('f.safetensors')}#features`)).toMatchObject({ features: set.features, logits: set.logits });
    expect(await readFeatures(`${at('f.safetensors')}#logits`)).toMatchObject({ dimensions: 2, logits: { classes: 2 }, labels: null });
  });

  test('.npy and .npz of features, by name too; files of images are none', async () => {
    const data = Float32Array.from(noise(12, 4));
    await writeNpy(at('f.npy'), { shape: [4, 3], data });
    expect(await readFeatures(at('f.npy'))).toMatchObject({ n: 4, dimensions: 3, features: data, extractor: null });
    await writeZip(at('f.npz'), { 'a.npy': encodeNpy({ shape: [4, 3], data }), 'b.npy': encodeNpy({ shape: [6, 2], data }) });
    expect(await readFeatures(`${at('f.npz')}#b`)).toMatchObject({ n: 6, dimensions: 2 });
    await expect(readFeatures(at('f.npz'))).rejects.toThrow(/f\.npz: holds a, b; say which with .*f\.npz#NAME/);
    await writeNpy(at('images.npy'), { shape: [1, 2, 2, 3], data: new Uint8Array(12) });
    await writeSafetensors(at('images.safetensors'), { images: fromFloat32(data, [1, 3, 2, 2]) });
    await writeZip(at('images.npz'), { 'arr_0.npy': encodeNpy({ shape: [1, 2, 2, 3], data: new Uint8Array(12) }) });
    for (const path of ['images.npy', 'images.safetensors', 'images.npz', 'pictures', 'a.png'])
      expect(await readFeatures(at(path)).catch(String)).toBe(null);
  });
});

test.each([
  ['f.safetensors#featurs', /f\.safetensors: no array 'featurs' \(did you mean features\?\); it holds features, labels, logits/],
  ['f.npy#x', /f\.npy holds one array; leave '#x' out/],
  ['none.npy', /none\.npy: cannot read: no such file/],
  ['none.safetensors#a', /none\.safetensors: cannot read/],
])('%s is refused', async (spec, says) => {
  await expect(readFeatures(at(spec))).rejects.toThrow(says);
});

test('shapes that do not fit are refused', async () => {
  const write = (name: string, tensors: Parameters<typeof writeSafetensors>[1]) => writeSafetensors(at(name), tensors);
  await write('odd.safetensors', { mu: fromFloat64(noise(3, 1), [3]), sigma: fromFloat64(noise(4, 1), [2, 2]) });
  await expect(readFeatures(at('odd.safetensors'))).rejects.toThrow('a mean of [3] and a covariance of [2, 2]; [d] and [d, d] expected');
  await write('flat.safetensors', {
    x: fromFloat64(noise(4, 1), [4]),
    features: fromFloat64(noise(4, 1), [2, 2]),
    logits: fromFloat64(noise(3, 1), [3, 1]),
  });
  await expect(readFeatures(`${at('flat.safetensors')}#x`)).rejects.toThrow('has shape [4]; features [samples, dimensions] expected');
  await expect(readFeatures(at('flat.safetensors'))).rejects.toThrow("'logits' has shape [3, 1]; [2, classes] expected");
});

test('other dimensions, other networks and a covariance that is none are refused in one line', async () => {
  const of = (name: string, more: object) => ({ ...featureSet(noise(12, 1), 3), name, ...more });
  expect(() => assertComparable(of('a', {}), of('b', { dimensions: 4 }))).toThrow('evaluate: a has 3 dimensions, b 4');
  expect(() => assertComparable(of('a', { extractor }), of('b', { extractor: { name: 'CLIP', checksum: null } }))).toThrow(
    'evaluate: a has features of the fashion classifier, b of the CLIP; a distance between features of different networks means nothing',
  );
  expect(() => assertComparable(of('a', { extractor }), of('b', { extractor: { ...extractor, checksum: 'b'.repeat(64) } }))).toThrow(
    '(SHA-256 bbbbbbbbbbbb…)',
  );
  assertComparable(of('a', { extractor }), of('b', { extractor: null }));
  await writeStatistics(at('bad.npz'), { mean: new Float64Array(2), covariance: Float64Array.of(1, 2, 2, 1), n: 9 }, null);
  const two = featureSet(noise(12, 1), 2);
  await expect(measure(metricsNamed(['frechet'], null), two, (await readFeatures(at('bad.npz')))!)).rejects.toThrow(
    /bad\.npz: pivotedCholesky: .*positive semidefinite/,
  );
  await expect(measure(metricsNamed(['kid'], null), two, (await readFeatures(at('bad.npz')))!)).rejects.toThrow(
    /kid: .*bad\.npz has no features but statistics alone/,
  );
});

test('damaged files are refused in one line or read, never a failure of ours', async () => {
  await writeStatistics(at('whole.npz'), moments(noise(60, 1), 20, 3), extractor);
  await writeNpy(at('whole.npy'), { shape: [4, 3], data: noise(12, 1) });
  await writeFeatures(at('whole.safetensors'), featureSet(noise(12, 2), 3, { labels: [0, 1, 2, 0] }));
  for (const ending of ['npz', 'npy', 'safetensors']) {
    const whole = readFileSync(at(`whole.${ending}`));
    const dice = noise(4 * 120, ending.length).map((value) => (value + 1) / 2);
    for (let i = 0; i < 120; i++) {
      const bytes = new Uint8Array(whole);
      const [where, what, second, cut] = dice.subarray(4 * i, 4 * i + 4) as unknown as [number, number, number, number];
      bytes[Math.floor(where * bytes.length)] = Math.floor(what * 256);
      bytes[Math.floor(second * Math.min(200, bytes.length))] = 255 - Math.floor(what * 256);
      writeFileSync(at(`damaged.${ending}`), cut < 0.2 ? bytes.subarray(0, Math.floor(where * bytes.length)) : bytes);
      await readFeatures(at(`damaged.${ending}`)).catch((error: unknown) => expect(error).toBeInstanceOf(InputError));
    }
  }
});

const facts = goldenJson('fid/stats.json');
describe.skipIf(!facts)('files of other tools', () => {
  const fid = facts ? dirname(goldenPath('fid/stats.json')!) : '';
  const normal = { ...featureSet(new Float64Array(0), 16, { name: 'normal', n: null }), features: null };
  const identity = {
    mean: new Float64Array(16),
    covariance: Float64Array.from({ length: 256 }, (_, i) => Number(i % 17 === 0)),
    n: Infinity,
  };

  test.each(Object.keys(facts?.files ?? {}).filter((name) => name.endsWith('.npz')))('%s', async (name) => {
    const { tensors } = await readSafetensors(join(fid, 'stats.safetensors'));
    const set = (await readFeatures(join(fid, name)))!;
    const sigma = toFloat64(tensors.get(name.includes('fortran') ? 'sigma_fortran_case' : 'sigma')!);
    const [mean, covariance] = [toFloat64(tensors.get('mu')!), sigma];
    const close = name.includes('float32') ? (values: Float64Array) => values.map(Math.fround) : (values: Float64Array) => values;
    expect(largestDifference(set.moments!.mean, close(mean))).toBeLessThanOrEqual(facts.tolerance.absolute);
    expect(largestDifference(set.moments!.covariance, close(covariance))).toBeLessThanOrEqual(facts.tolerance.absolute);
    const distance = measure(metricsNamed(['frechet'], null), set, { ...normal, moments: identity });
    if (name.includes('fortran'))
      await expect(distance).rejects.toThrow(/stats-fortran\.npz: covariance: entry \[\d+,\d+\] is .* a covariance is symmetric/);
    else
      expect(Math.abs((await distance).metrics['frechet']!.value - facts.frechet_distance_to_standard_normal)).toBeLessThan(
        name.includes('float32') ? 1e-6 : 1e-12,
      );
  });

  test('features in halves and in version 2 of the format', async () => {
    const { tensors } = await readSafetensors(join(fid, 'stats.safetensors'));
    expect((await readFeatures(join(fid, 'features-float16.npy')))!.features).toEqual(toFloat32(tensors.get('features_float16')!));
    expect((await readFeatures(join(fid, 'features-v2.npy')))!.features).toEqual(toFloat32(tensors.get('features')!));
    expect(await readFeatures(`${join(fid, 'stats.safetensors')}#features`)).toMatchObject({ n: 40, dimensions: 16 });
  });
});

test('a singular covariance that was stored in float32 is taken', async () => {
  const d = 40;
  const stored = moments(noise(12 * d, 9), 12, d);
  const rounded = {
    ...featureSet(new Float64Array(0), d),
    features: null,
    moments: { ...stored, covariance: stored.covariance.map(Math.fround) },
  };
  const exact = { ...rounded, moments: stored };
  const { metrics } = await measure(metricsNamed(['frechet'], null), { ...rounded, n: 12 }, { ...exact, n: 12 });
  expect(Math.abs(metrics['frechet']!.value)).toBeLessThan(1e-2); // roots of eigenvalues that are 1e-7
});
