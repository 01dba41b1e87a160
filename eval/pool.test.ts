/** @file The pool gives what the network itself gives, with any number of threads; it survives threads that end, names what is wrong, stops when told, and remembers. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Dataset } from '../data/dataset.ts';
import { loadDigits } from '../data/digits.ts';
import { encodePng } from '../data/image.ts';
import { InputError } from '../engine/io/errors.ts';
import { openFeatureCache } from './features/cache.ts';
import { classifierExtractor } from './features/classifier.ts';
import type { Extraction, ExtractorSpec } from './features/extractor.ts';
import { type ExtractProgress, type FeaturePool, openPool } from './pool.ts';
import { openImages } from './sources/index.ts';
import { memoryImages } from './sources/memory.ts';
import { classifierSpec, throughPool } from './through-pool.ts';

const N = 1037; // three shards of 500, the last one short
const scratch = mkdtempSync(join(tmpdir(), 'pool-'));
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
afterAll(() => rmSync(scratch, { recursive: true }));

const mean: ExtractorSpec = {
  kind: 'module',
  options: { url: new URL('./testing/ending-extractor.ts', import.meta.url).href, once: join(scratch, 'once') },
};
/** Pictures of 2x2, each of one level. */
const levels = (values: readonly number[]) =>
  memoryImages('levels', { images: Uint8Array.from(values.flatMap((v) => [v, v, v, v])), n: values.length, shape: [1, 2, 2] });
const means = (set: { readonly features: Float32Array }): readonly number[] => Array.from(set.features);

describe.each([1, 2])('openPool with %i threads', (threads) => {
  const pool = openPool({ threads, patience: 200 });
  afterAll(() => pool.close());

  test('bits and order are those of the extractor itself, from memory and from encoded files', async () => {
    const { features, logits } = await throughPool(pool, 'digits')(images, N);
    expect({ features, logits }).toEqual(direct);
    const folder = join(scratch, `digits-${threads}`);
    await mkdir(folder);
    for (let i = 0; i < 40; i++)
      await writeFile(
        join(folder, `${String(i).padStart(4, '0')}-${digits.labels![i]}.png`),
        await encodePng(images.subarray(i * 784, (i + 1) * 784), 28, 28, 1),
      );
    const source = await openImages(folder);
    const set = await pool.extract(source, classifierSpec('digits'));
    expect(set.features).toEqual((await throughPool(pool, 'digits')(images.subarray(0, 40 * 784), 40)).features);
    expect(set.labels).toEqual(Int32Array.from(digits.labels!.subarray(0, 40)));
    expect(set.facts).toEqual({
      name: 'digit classifier',
      checksum: expect.stringMatching(/^[0-9a-f]{64}$/),
      dimensions: 64,
      classes: 10,
      resize: 'none',
    });
    await source.close();
  });

  test('a mistake in a thread is still a mistake of the user, and the thread goes on', async () => {
    const wrong = pool.extract(memoryImages('wrong', { images: new Uint8Array(18), n: 2, shape: [1, 3, 3] }), classifierSpec('digits'));
    await expect(wrong).rejects.toThrow(InputError);
    await expect(wrong).rejects.toThrow(
      'wrong[0]: is 3x3, and the network takes 28x28; give a rule with --resize, such as pil_uint8_lanczos',
    );
    await expect(pool.describe({ kind: 'inception!', options: {} })).rejects.toThrow(
      'extractor: there is no kind "inception!"; there are ',
    );
    expect((await pool.describe(classifierSpec('digits', 'pil_uint8_bicubic'))).resize).toBe('pil_uint8_bicubic');
    await expect(pool.describe(classifierSpec('digits', 'pil_unit8_bicubic'))).rejects.toThrow(
      "there is no rule 'pil_unit8_bicubic' (did you mean pil_uint8_bicubic?); none or one of ",
    );
  });

  test('a thread that ends is replaced, and an image that always ends it is named or left out', { timeout: 60_000 }, async () => {
    rmSync(join(scratch, 'once'), { force: true });
    expect(means(await pool.extract(levels([1, 2, 254, 3, 4, 5]), mean))).toEqual([1, 2, 254, 3, 4, 5]);
    const values = [1, 2, 3, 4, 5, 255, 6];
    await expect(pool.extract(levels(values), mean)).rejects.toThrow(
      'levels[5]: ends the worker that decodes it (exit code 7), also at a second try; remove it, or leave it out with --unreadable skip',
    );
    const rest = await pool.extract(levels(values), mean, { unreadable: 'skip' });
    expect([means(rest), rest.n, rest.left, rest.places]).toEqual([
      [1, 2, 3, 4, 5, 6],
      6,
      [{ index: 5, why: 'levels[5]: ends the worker that decodes it (exit code 7)' }],
      [0, 1, 2, 3, 4, 6],
    ]);
  });

  test('pictures of several sizes have no place in one set', async () => {
    const folder = join(scratch, `sizes-${threads}`);
    await mkdir(folder);
    for (let i = 0; i < 6; i++)
      await writeFile(join(folder, `${i}.png`), await encodePng(new Uint8Array(i === 5 ? 9 : 4), i === 5 ? 3 : 2, i === 5 ? 3 : 2, 1));
    const source = await openImages(folder);
    await expect(pool.extract(source, mean)).rejects.toThrow(
      /several sizes: .*[40]\.png is 2x2, .*5\.png is 3x3; give one size, or a rule with --resize$/,
    );
    await source.close();
  });

  test('it stops when it is told to', async () => {
    const stop = new AbortController();
    const running = pool.extract(levels([253, 1, 1, 1, 1, 1]), mean, { signal: stop.signal });
    setTimeout(() => stop.abort(new Error('enough')), 300);
    await expect(running).rejects.toThrow('enough');
    expect(means(await pool.extract(levels([7]), mean))).toEqual([7]);
  });

  test('closed while networks run, it waits for the end of a batch: a thread that is ended in between takes the process with it', async () => {
    const other = openPool({ threads });
    const running = throughPool(other, 'digits')(images, N);
    const ended = expect(running).rejects.toThrow();
    await new Promise((resolve) => setTimeout(resolve, 1000));
    await other.close();
    await ended;
  });
});

describe('unreadable images', () => {
  let pool: FeaturePool;
  let folder = '';
  beforeAll(async () => {
    pool = openPool({ threads: 1 });
    folder = join(scratch, 'unreadable');
    await mkdir(folder);
    for (let i = 0; i < 6; i++) await writeFile(join(folder, `${i}.png`), await encodePng(new Uint8Array(4).fill(10 * i), 2, 2, 1));
    await writeFile(join(folder, '2.png'), 'no picture');
  });
  afterAll(() => pool.close());
  test('are named, or left out and told', async () => {
    const source = await openImages(folder);
    await expect(pool.extract(source, mean)).rejects.toThrow(/image: .*2\.png cannot be read as an image/);
    const set = await pool.extract(source, mean, { unreadable: 'skip' });
    expect(means(set)).toEqual([0, 10, 30, 40, 50]);
    expect(set.left).toEqual([{ index: 2, why: expect.stringMatching(/2\.png cannot be read/) }]);
    await source.close();
  });
  test('one that is kept in the cache as left out is refused again where none may be', async () => {
    const cache = openFeatureCache(join(scratch, 'cache-skip'));
    const source = await openImages(folder);
    expect((await pool.extract(source, mean, { unreadable: 'skip', cache })).n).toBe(5);
    await expect(pool.extract(source, mean, { cache })).rejects.toThrow(/2\.png cannot be read as an image/);
    await source.close();
  });
});

test('a second time the features come out of the cache, and only what is new is computed', async () => {
  const pool = openPool({ threads: 2 });
  const cache = openFeatureCache(join(scratch, 'cache'));
  const told: ExtractProgress[] = [];
  const first = await pool.extract(levels([1, 2, 3, 4, 5, 6]), mean, { cache, onProgress: (p) => told.push(p) });
  expect([first.cached, told.map(({ done, n }) => [done, n])]).toEqual([
    0,
    [
      [4, 6],
      [6, 6],
    ],
  ]);
  const again = await pool.extract(levels([1, 2, 3, 4, 5, 6]), mean, { cache });
  expect([again.cached, again.features]).toEqual([6, first.features]);
  // The first shard is the same, the second is not.
  expect((await pool.extract(levels([1, 2, 3, 4, 5, 7]), mean, { cache })).cached).toBe(4);
  // A damaged file counts for nothing.
  for (const part of await readdir(join(scratch, 'cache', 'features')))
    for (const name of await readdir(join(scratch, 'cache', 'features', part)))
      await writeFile(join(scratch, 'cache', 'features', part, name), 'x');
  const repaired = await pool.extract(levels([1, 2, 3, 4, 5, 6]), mean, { cache });
  expect([repaired.cached, repaired.features, cache.problem()]).toEqual([0, first.features, null]);
  await pool.close();
});

test('a cache that cannot be written costs a line, not the evaluation', async () => {
  const pool = openPool({ threads: 1 });
  await writeFile(join(scratch, 'file'), '');
  const cache = openFeatureCache(join(scratch, 'file'));
  const set = await pool.extract(levels([1, 2, 3, 4, 5, 6]), mean, { cache });
  expect(means(set)).toEqual([1, 2, 3, 4, 5, 6]);
  expect(cache.problem()).toMatch(/^cache: .*: cannot write: .*; the evaluation goes on without it$/);
  await pool.close();
});

/** How far each thread of this process gives way. */
const niceness = (): readonly number[] =>
  readdirSync('/proc/self/task').map((task) => Number(readFileSync(`/proc/self/task/${task}/stat`, 'utf8').split(') ')[1]!.split(' ')[16]));

test.skipIf(process.platform !== 'linux')('at low priority the worker gives way, and its features are the same', async () => {
  const pool = openPool({ threads: 1, low: true });
  expect(means(await pool.extract(levels([3, 4]), mean))).toEqual([3, 4]);
  expect(niceness().filter((nice) => nice >= niceness()[0]! + 10).length).toBeGreaterThan(0);
  await pool.close();
});

test('wrong numbers are refused before a thread starts', () => {
  expect(() => openPool({ threads: 0 })).toThrow('pool: 0 threads; a whole number of at least 1 expected');
  expect(() => memoryImages('x', { images: new Uint8Array(784), n: 3, shape: [1, 28, 28] })).toThrow(
    'x: 784 bytes for 3 images of [1,28,28]; 2352 expected',
  );
});
