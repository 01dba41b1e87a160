/** @file The pool gives what the extractor itself gives, whatever the number of threads. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Dataset } from '../data/dataset.ts';
import { loadDigits } from '../data/digits.ts';
import { InputError } from '../engine/io/errors.ts';
import { classifierExtractor } from './features/classifier.ts';
import type { Extraction } from './features/extractor.ts';
import { CHUNK, openPool } from './pool.ts';

const N = 2 * CHUNK + 37; // three chunks, the last one short
let digits: Dataset;
let direct: Extraction;
let images: Uint8Array;
beforeAll(async () => {
  digits = (await loadDigits()).heldOut;
  images = digits.images.subarray(0, N * 784);
  const extractor = await classifierExtractor('digits');
  direct = await extractor.features(images, N);
  await extractor.close();
});

describe.each([1, 2])('openPool with %i threads', (threads) => {
  const pool = openPool({ threads });
  afterAll(() => pool.close());

  test('bits and order are those of the extractor itself, from shared and from own memory', async () => {
    expect(images.buffer).toBeInstanceOf(SharedArrayBuffer);
    expect(await pool.features(images, N, 'digit classifier')).toEqual(direct);
    expect(await pool.features(Uint8Array.from(images), N, 'digit classifier')).toEqual(direct);
  });

  test('a mistake in a thread is still a mistake of the user', async () => {
    const wrong = pool.features(new Uint8Array(12), 1, 'digit classifier');
    await expect(wrong).rejects.toThrow(InputError);
    await expect(wrong).rejects.toThrow('it takes images of 28x28x1');
    // and the thread goes on
    expect((await pool.features(images.subarray(0, 784), 1, 'digit classifier')).features.length).toBe(64);
  });
});

test('wrong numbers are refused before a thread starts', async () => {
  expect(() => openPool({ threads: 0 })).toThrow('pool: 0 threads; a whole number of at least 1 expected');
  const pool = openPool({ threads: 1 });
  await expect(pool.features(new Uint8Array(784), 3, 'digit classifier')).rejects.toThrow('pool: 784 bytes for 3 images');
  await expect(pool.features(new Uint8Array(784), 1, 'inception' as never)).rejects.toThrow('there are digit classifier');
  await pool.close();
});
