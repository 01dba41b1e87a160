/** @file Seeded damage to small files: every one is read or refused in one line, none hangs or crashes. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { zipSync } from 'fflate';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { beforeAll, expect, test } from 'vitest';
import { decodePicture } from '../../data/image.ts';
import { tempFolder } from '../../data/testing/temp.ts';
import { InputError } from '../../engine/io/errors.ts';
import { encodeNpy } from '../../engine/io/npy.ts';
import type { Container } from './container.ts';
import { openImages } from './index.ts';
import { openParquetImages } from './parquet.ts';
import { damaged, pixelsOf, png, tar } from './testing/files.ts';

const root = tempFolder();
const good: Record<string, Uint8Array> = {};
beforeAll(async () => {
  const [a, b] = await Promise.all([png(pixelsOf(0)), png(pixelsOf(1))]);
  const arrays = {
    'arr_0.npy': encodeNpy({ shape: [2, 2, 3, 3], data: Uint8Array.from([...pixelsOf(0), ...pixelsOf(1)]) }),
    'arr_1.npy': encodeNpy({ shape: [2], data: Uint8Array.of(1, 2) }),
  };
  const long = `${'folder/'.repeat(20)}b`;
  const archive = await tar({ 'a.png': a, 'a.cls': '3', 'a.json': '{"caption":"text"}', [`${long}.png`]: b, [`${long}.txt`]: 'words' });
  Object.assign(good, {
    tar: archive,
    'tar.gz': gzipSync(archive),
    zip: zipSync({
      'a/0.png': a,
      'a/0.txt': new TextEncoder().encode('words'),
      'b/1.png': b,
      'dataset.json': new TextEncoder().encode('{"labels":[["a/0.png",1]]}'),
    }),
    npz: zipSync(arrays, { level: 0 }),
    'deflated.npz': zipSync(arrays, { level: 9 }),
    npy: arrays['arr_0.npy'],
    png: a,
    parquet: new Uint8Array(
      parquetWriteBuffer({
        columnData: [
          { name: 'image', data: [a, b], type: 'BYTE_ARRAY' },
          { name: 'label', data: [1, 2], type: 'INT32' },
        ],
      }),
    ),
  });
});

async function readAll(path: string): Promise<number> {
  const source = await openImages(path);
  try {
    let n = 0;
    for await (const { pixels, width, height, channels } of source.images()) {
      expect(pixels.length).toBe(width * height * channels);
      n++;
    }
    return n;
  } finally {
    await source.close();
  }
}

/** What one damaged file gives. */
async function outcome(path: string, bytes: Uint8Array, readIt: (path: string) => Promise<unknown> = readAll): Promise<'read' | 'refused'> {
  writeFileSync(path, bytes);
  try {
    await readIt(path);
    return 'read';
  } catch (error) {
    expect(error, `${path}: ${String((error as Error).stack)}`).toBeInstanceOf(InputError);
    expect((error as Error).message).not.toContain('\n');
    return 'refused';
  }
}

const RUNS = 300;
test.each(['zip', 'tar', 'tar.gz', 'npz', 'deflated.npz', 'npy', 'png'])('%s', { timeout: 60_000 }, async (ending) => {
  const path = join(root, `x.${ending}`);
  expect(await outcome(path, good[ending]!)).toBe('read');
  const counts = { read: 0, refused: 0 };
  let slowest = 0;
  for (let seed = 0; seed < RUNS; seed++) {
    const start = performance.now();
    counts[await outcome(path, damaged(good[ending]!, seed))]++;
    slowest = Math.max(slowest, performance.now() - start);
  }
  expect(counts.refused).toBeGreaterThan(RUNS / 10);
  expect(slowest).toBeLessThan(5000);
});

test('pictures that are decoded from bytes', async () => {
  for (let seed = 0; seed < RUNS; seed++) {
    const got = await decodePicture(damaged(good['png']!, 1000 + seed)).catch((error: unknown) => error);
    if (got instanceof Error) expect(got).toBeInstanceOf(InputError);
    else expect((got as { pixels: Uint8Array }).pixels.length).toBeGreaterThan(0);
  }
});

/** Reads without decoding. @param deadline as of `openParquetImages` */
async function readTable(path: string, deadline: number): Promise<void> {
  const table: Container = await openParquetImages(path, {}, deadline);
  for await (const { label } of table.items(0, Number.POSITIVE_INFINITY)) expect(label === null || Number.isInteger(label)).toBe(true);
}

/** A page whose runs never end, for the reader of this version: it is why there is a deadline. */
const ENDLESS = 141;

test('parquet, whose reader never ends on some', { timeout: 60_000 }, async () => {
  const path = join(root, 'x.parquet');
  const bytes = good['parquet']!;
  expect(await outcome(path, bytes)).toBe('read');
  const counts = { read: 0, refused: 0 };
  for (let seed = 0; seed < 100; seed++) counts[await outcome(path, damaged(bytes, seed), (file) => readTable(file, 2000))]++;
  expect(counts.refused).toBeGreaterThan(10);
});

test('a group of rows that takes too long is refused, and the next file is read', { timeout: 30_000 }, async () => {
  const path = join(root, 'late.parquet');
  writeFileSync(path, damaged(good['parquet']!, ENDLESS));
  await expect(readTable(path, 1000)).rejects.toThrow('late.parquet: cannot be read as a parquet file (no answer within 1 s)');
  writeFileSync(path, good['parquet']!);
  await readTable(path, 20_000);
});
