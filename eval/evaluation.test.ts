/** @file The distance between sets of images grows with every kind of damage, precision and recall fall with theirs; class accuracy on sets whose answers are known. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadDataset } from '../data/registry.ts';
import { type Evaluation, evaluatedAs, evaluateSamples, frechetName, openEvaluation, type Scores } from './evaluation.ts';
import { classifierExtractor } from './features/classifier.ts';
import { classifiedData } from './features/shipped.ts';
import { openSpread } from './manifold/pool.ts';
import { manifoldOf } from './manifold/precision-recall.ts';
import { openPool } from './pool.ts';
import { computedReference, shippedReference } from './reference.ts';
import { blurred, noised } from './testing/damage.ts';
import { dataIfThere } from './testing/data.ts';
import { largestDifference } from './testing/values.ts';
import { throughPool } from './through-pool.ts';

const PIXELS = 784;
/** Images that are damaged. */
const N = 1000;
/** Measured when the weights were made; artifacts/README.md says so. */
const FLOOR = { digits: 0.527, 'fashion-mnist': 0.0862 } as const;
const splits = Object.fromEntries(await Promise.all(classifiedData.map(async (data) => [data, await dataIfThere(data)] as const)));

/** Some of the images, in order. */
const chosen = (images: Uint8Array, wanted: (i: number) => boolean): Uint8Array =>
  images.filter((_, byte) => wanted(Math.floor(byte / PIXELS)));

describe.each(classifiedData.filter((data) => splits[data]))('held-out images of %s', (data) => {
  const { heldOut } = splits[data]!;
  let plain: Evaluation;
  beforeAll(async () => {
    plain = await openEvaluation(data, { neighbours: 0 });
  });
  afterAll(() => plain.close());
  const scoresOf = (images: Uint8Array): Promise<Scores> => plain.evaluate({ images, n: images.length / PIXELS, labels: null });

  const damage: Record<string, { readonly strengths: readonly number[]; apply(images: Uint8Array, strength: number): Uint8Array }> = {
    'blur of σ pixels': { strengths: [0, 0.5, 1, 1.5, 2], apply: (images, sigma) => blurred(images, 28, sigma) },
    'noise of σ grey levels': { strengths: [0, 16, 32, 64, 128], apply: noised },
    'dropped classes': {
      strengths: [0, 2, 4, 6, 8],
      apply: (images, dropped) => chosen(images, (i) => heldOut.labels![i]! < 10 - dropped),
    },
  };
  test.each(Object.keys(damage))('are farther with %s', async (name) => {
    const { strengths, apply } = damage[name]!;
    const found: Scores[] = [];
    for (const strength of strengths) found.push(await scoresOf(apply(heldOut.images.subarray(0, N * PIXELS), strength)));
    const distances = found.map(({ frechet }) => frechet.training);
    for (let i = 1; i < found.length; i++)
      expect(distances[i], `${name} ${strengths[i]}: ${distances.join(', ')}`).toBeGreaterThan(distances[i - 1]!);
    // The strongest damage is not a matter of rounding: tens of times the floor.
    expect(distances.at(-1)!).toBeGreaterThan(20 * distances[0]!);
    const [first, last] = [found[0]!, found.at(-1)!];
    if (name === 'dropped classes') {
      // What is missing is not covered, and what is left is as like real images as before.
      for (let i = 1; i < found.length; i++) expect(found[i]!.recall, `dropped ${strengths[i]}`).toBeLessThan(found[i - 1]!.recall!);
      for (const { precision } of found) expect(Math.abs(precision! - first.precision!)).toBeLessThan(0.05);
    } else {
      // Damaged images lie together, away from most real ones; those that are near a few of them still count as precise.
      expect(last.precision!).toBeLessThan(first.precision!);
      expect(last.recall!).toBeLessThan(0.2 * first.recall!);
    }
  });

  test('undamaged have the floor, in another evaluation and through pools too; to itself a set has no distance', {
    timeout: 300_000,
  }, async () => {
    const { images, labels, size } = heldOut;
    const few = { images: images.subarray(0, N * PIXELS), n: N, labels: labels!.subarray(0, N) };
    const once = await plain.evaluate(few);
    expect(once.metric).toBe(frechetName(data));
    expect(once.floor).toBeCloseTo(FLOOR[data], 3);
    const [pool, spread] = [openPool({ threads: 2 }), openSpread({ threads: 2 })];
    const extract = throughPool(pool, data);
    const all = await plain.frechet((await extract(images, size)).features, size);
    expect(all.training).toBeCloseTo(once.floor, 8);
    expect(Math.abs(all.heldOut)).toBeLessThan(1e-8);
    // Among 60,000 images the search takes a minute.
    const { nearest, ...again } = await evaluateSamples(data, few, { extract, spread, neighbours: data === 'digits' ? 5 : 0 });
    await Promise.all([pool.close(), spread.close()]);
    expect({ ...again, nearest: null }).toEqual(once);
    if (data !== 'digits') return;
    expect(nearest!.index.length).toBe(5);
    // Held-out images are no copies.
    expect(nearest!.heldOut.low).toBeGreaterThan(1);
  });
});

/** Fashion-MNIST takes a minute: it is for `npm run proof`. */
const shipped = classifiedData.filter((data) => splits[data] && (data === 'digits' || process.env['ONESTEP_PROOF']));
test.each(shipped)('%s: what is shipped of the real images is what they give', { timeout: 300_000 }, async (data) => {
  const split = splits[data]!;
  const extractor = await classifierExtractor(data);
  const pool = openPool({ threads: 2 });
  const found = (await shippedReference(data, split, extractor.checksum))!;
  const computed = await computedReference(split, throughPool(pool, data), extractor.dimensions);
  await Promise.all([extractor.close(), pool.close()]);
  for (const part of ['training', 'heldOut'] as const) {
    expect(found[part].n).toBe(computed[part].n);
    // Rounding of float32 features of size 1 to 10, averaged over thousands.
    expect(largestDifference(found[part].mean, computed[part].mean)).toBeLessThan(1e-5);
    expect(largestDifference(found[part].covariance, computed[part].covariance)).toBeLessThan(1e-4);
  }
  expect(largestDifference(found.manifold.features, computed.manifold.features)).toBeLessThan(1e-3);
  expect(found.manifold).toEqual(await manifoldOf(found.manifold.features, extractor.dimensions));
  expect(found.yardstick).toEqual(computed.yardstick);
  // Of other weights, and of other images.
  expect(await shippedReference(data, split, 'other')).toBeNull();
  const images = split.train.images.slice();
  images[0]! ^= 1;
  expect(await shippedReference(data, { ...split, train: { ...split.train, images } }, extractor.checksum)).toBeNull();
});

describe('digits', () => {
  let plain: Evaluation;
  beforeAll(async () => {
    plain = await openEvaluation('digits', { neighbours: 0 });
  });
  afterAll(() => plain.close());

  test('class accuracy: the right labels, the wrong ones, and none', async () => {
    const { images, labels } = (await loadDataset('digits')).heldOut;
    const accuracyOf = async (asked: ArrayLike<number> | null) =>
      (await plain.evaluate({ images: images.subarray(0, 500 * PIXELS), n: 500, labels: asked })).classAccuracy;
    const right = Array.from(labels!.subarray(0, 500));
    expect(await accuracyOf(right)).toBeGreaterThan(0.97);
    expect(await accuracyOf(right.map((label) => (label + 1) % 10))).toBeLessThan(0.03);
    expect(await accuracyOf(null)).toBeNull();
  });

  test('three samples have no neighbours enough for precision', async () => {
    expect(await plain.evaluate({ images: new Uint8Array(3 * PIXELS), n: 3, labels: null })).toMatchObject({
      precision: null,
      recall: null,
    });
  });

  test('wrong sizes are named', async () => {
    await expect(plain.evaluate({ images: new Uint8Array(784), n: 1, labels: null })).rejects.toThrow('digits: 784 bytes for 1 samples');
    await expect(plain.evaluate({ images: new Uint8Array(3072), n: 2, labels: null })).rejects.toThrow('28x28x1');
    await expect(plain.evaluate({ images: new Uint8Array(2 * PIXELS), n: 2, labels: [1] })).rejects.toThrow(
      'digits: 1 labels for 2 samples',
    );
  });
});

test('the evaluation is chosen by the data set', async () => {
  expect(['digits', 'fashion-mnist', 'fashion-mnist:folder', 'mnist:folder', 'pictures'].map(evaluatedAs)).toEqual([
    'digits',
    'fashion-mnist',
    'fashion-mnist',
    null,
    null,
  ]);
  await expect(openEvaluation('pictures')).rejects.toThrow(
    'evaluation: there are no features for pictures; for digits, fashion-mnist there are',
  );
});
