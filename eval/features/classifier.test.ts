/** @file The shipped classifiers on images that their training never saw, and what the extractor refuses. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { InputError } from '../../engine/io/errors.ts';
import { accuracy } from '../metrics/class-accuracy.ts';
import { dataIfThere } from '../testing/data.ts';
import { classifierExtractor, classifierWeights } from './classifier.ts';
import type { Extractor } from './extractor.ts';
import { classifiedData, shippedClassifiers } from './shipped.ts';

/** Share of the held-out images that it should know at least. */
const KNOWN = { digits: 0.985, 'fashion-mnist': 0.91 } as const;
const splits = Object.fromEntries(await Promise.all(classifiedData.map(async (data) => [data, await dataIfThere(data)] as const)));

describe.each(classifiedData.filter((data) => splits[data]))('the classifier of %s', (data) => {
  const { heldOut } = splits[data]!;
  let extractor: Extractor;
  beforeAll(async () => {
    extractor = await classifierExtractor(data);
  });
  afterAll(() => extractor.close());

  test('knows most held-out images, as its metadata say', async () => {
    const { images, labels, size } = heldOut;
    const { features, logits } = await extractor.features(images, size);
    const right = accuracy(logits!, labels!, 10);
    expect(right).toBeGreaterThanOrEqual(KNOWN[data]);
    // Another processor may round a borderline image the other way: one in a thousand.
    expect(Math.abs(right - Number((await classifierWeights(data)).metadata['accuracy']))).toBeLessThanOrEqual(0.001);
    expect(features.length).toBe(size * extractor.dimensions);
  });

  test('an image has the same features in any company', async () => {
    const { images } = heldOut;
    const together = await extractor.features(images.subarray(0, 300 * 784), 300);
    const alone = await extractor.features(images.subarray(299 * 784, 300 * 784), 1);
    const difference = alone.features.map((value, i) => Math.abs(value - together.features[299 * 64 + i]!));
    // Rounding of float32 at features of size 1 to 10.
    expect(Math.max(...difference)).toBeLessThan(1e-4);
    expect(Math.max(...alone.features)).toBeGreaterThan(0.1);
  });

  test('names its weights by a checksum and gives nothing for nothing', async () => {
    expect(extractor.checksum).toMatch(/^[0-9a-f]{64}$/);
    expect(await extractor.features(new Uint8Array(0), 0)).toEqual({ features: new Float32Array(0), logits: new Float32Array(0) });
  });

  test('images of another size are refused', async () => {
    const wrong = extractor.features(new Uint8Array(2 * 32 * 32 * 3), 2);
    await expect(wrong).rejects.toThrow(InputError);
    await expect(wrong).rejects.toThrow(
      `${shippedClassifiers[data].name}: 6144 bytes for 2 images; it takes images of 28x28x1, 1568 bytes`,
    );
  });
});
