/** @file A loaded student: the samples of the engine for the same seed, whatever the batch; classes, steps, pictures, progress, abort; and what is refused. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { tinyModel } from '../cli/testing/tiny.ts';
import { studentOnnx } from '../cli/work/exporting.ts';
import { openGenerator } from '../cli/work/generator.ts';
import { toBytes } from '../data/bytes.ts';
import { decodeRaw } from '../data/image.ts';
import { tempFolder } from '../data/testing/temp.ts';
import { toOnnx } from '../engine/graph/onnx.ts';
import { add } from '../engine/graph/ops/elementwise.ts';
import { constant, input } from '../engine/graph/ops/leaf.ts';
import { slice } from '../engine/graph/ops/movement.ts';
import { InputError } from '../engine/io/errors.ts';
import { fillBlocks } from '../engine/random/block.ts';
import { studentFacts } from './facts.ts';
import { loadStudent } from './student.ts';

const folder = tempFolder();
const model = tinyModel({ levels: [80, 0.8], method: 'dmd2' });
const onnx = studentOnnx(model);
const clamp = (v: number): number => Math.min(1, Math.max(-1, v));
const farthest = (a: ArrayLike<number>, b: ArrayLike<number>): number => Math.max(...Array.from(a, (v, i) => Math.abs(v - b[i]!)));
const open = (file: string | Uint8Array = onnx) => loadStudent(file, { threads: 1 });

describe('samples', () => {
  test('what the file says of itself', async () => {
    const student = await open();
    expect(student).toMatchObject({ shape: [1, 28, 28], classes: 10, nfe: 2, levels: [80, 0.8] });
    expect(student.metadata).toMatchObject({ method: 'dmd2', data: 'digits' });
    await student.close();
  });
  test('those of the engine for the same seed and classes, whatever the batch', async () => {
    const own = openGenerator(model, { threads: 1 });
    const labels = [3, 9, 0, 3, 9];
    const wanted = (await own.generate({ labels, n: 5, seed: 6 })).map(clamp);
    await own.close();
    const student = await open();
    for (const batch of [5, 2, 1]) {
      const { images, labels: made } = await student.sample({ n: 5, seed: 6, labels: [3, 9, 0], batch });
      expect([...made!]).toEqual(labels);
      expect(farthest(images, wanted)).toBeLessThan(1e-4);
    }
    const [a, b] = [await student.sample({ n: 5, seed: 6, labels: [3, 9, 0] }), await student.sample({ n: 5, seed: 7, labels: [3, 9, 0] })];
    expect(farthest(a.images, b.images)).toBeGreaterThan(0.1);
    await student.close();
  });
  test('without classes, and with all in turn', async () => {
    const student = await open();
    expect([...(await student.sample({ n: 12 })).labels!]).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]);
    await student.close();
    const plain = await open(studentOnnx(tinyModel({ levels: [80], sample: { shape: [1, 28, 28], classes: 0 } })));
    expect((await plain.sample()).labels).toBeNull();
    await plain.close();
  });
  test('as pictures: the same bytes', async () => {
    const student = await open();
    const request = { n: 3, seed: 2, batch: 2 };
    const [{ images }, files] = [await student.sample(request), await student.samplePng(request)];
    const bytes = toBytes(images);
    expect(files.length).toBe(3);
    for (const [i, file] of files.entries()) {
      const path = join(folder, `${i}.png`);
      await writeFile(path, file);
      expect(await decodeRaw(path, 1)).toMatchObject({ width: 28, height: 28, data: bytes.slice(i * 784, (i + 1) * 784) });
    }
    await student.close();
  });
});

describe('progress and abort', () => {
  test('progress after each batch', async () => {
    const student = await open();
    const seen: (readonly [number, number])[] = [];
    await student.sample({ n: 5, batch: 2, onProgress: (done, n) => seen.push([done, n]) });
    expect(seen).toEqual([
      [2, 5],
      [4, 5],
      [5, 5],
    ]);
    await student.close();
  });
  test('a signal stops between batches with its reason, and leaves the student usable', async () => {
    const student = await open();
    const stop = new AbortController();
    let done = 0;
    const running = student.sample({
      n: 100,
      batch: 1,
      signal: stop.signal,
      onProgress(now) {
        done = now;
        if (now === 3) stop.abort(new Error('enough'));
      },
    });
    await expect(running).rejects.toThrow('enough');
    expect(done).toBe(3);
    await expect(student.sample({ signal: AbortSignal.abort() })).rejects.toThrow(/abort/i);
    expect((await student.sample({ n: 2 })).images.length).toBe(2 * 784);
    await student.close();
  });
});

describe('what is refused, in one line', () => {
  test.each([
    [{ n: 0 }, 'n: 0 is not a whole number in [1, 10000000]'],
    [{ n: 1.5 }, 'n: 1.5 is not a whole number in [1, 10000000]'],
    [{ seed: 0.5 }, /^seed: 0\.5 is not a whole number in /],
    [{ batch: Number.NaN }, 'batch: NaN is not a whole number in [1, 10000000]'],
    [{ labels: [10] }, 'label: 10 is no class of student; it has 0 to 9'],
    [{ labels: [-1] }, 'label: -1 is no class of student; it has 0 to 9'],
  ])('%j', async (request, message) => {
    const student = await open();
    await expect(student.sample(request)).rejects.toThrow(message);
    await student.close();
  });
  test('files that are no students', async () => {
    await expect(loadStudent('none.onnx')).rejects.toThrow('none.onnx: cannot read: no such file (ENOENT)');
    await expect(loadStudent(new Uint8Array([1, 2, 3]))).rejects.toThrow(
      'student: is no complete ONNX file; give one that onestep export wrote',
    );
    const other = toOnnx({ y: add(input('x', ['N', 2]), constant(1)) });
    await expect(loadStudent(other)).rejects.toThrow(/^student: is no student: it takes x; give a file that onestep export wrote/);
    const student = await open(toOnnx({ image: slice(input('noise', ['N', 3]), 1, 0, 2) }));
    await expect(student.sample()).rejects.toThrow('student: its image is float32[1,2], not float32[1,3]; export the student again');
    await student.close();
  });
  test('inputs of other names, and more values than fit', async () => {
    const take = (name: string) => add(input('noise', ['N', 2]), input(name, ['N', 2]));
    for (const name of ['noise2', 'x'])
      await expect(open(toOnnx({ image: take(name) }))).rejects.toThrow(`student: is no student: it takes noise, ${name};`);
    const wide = await open(toOnnx({ image: add(input('noise', ['N', 2 ** 20]), constant(0)) }));
    await expect(wide.sample({ n: 10_000 })).rejects.toThrow(
      `n: 10000 samples of [${2 ** 20}] are more than ${2 ** 31} values; draw fewer of them at a time`,
    );
    await wide.close();
  });
  test('arbitrary changes of a file: facts, or one line', () => {
    const words = new Uint32Array(2000);
    fillBlocks(words, 500, [1, 2], 0, 0);
    const small = onnx;
    let read = 0;
    for (let i = 0; i < 1000; i++) {
      const damaged = small.slice(0, i % 3 === 0 ? words[2 * i]! % small.length : small.length);
      if (damaged.length > 0) damaged[words[2 * i + 1]! % damaged.length]! ^= 1 + (words[2 * i]! % 255);
      try {
        const { shape, classes } = studentFacts('damaged', damaged);
        expect(shape.every((d) => d > 0) && classes >= 0).toBe(true);
        read += 1;
      } catch (error) {
        expect(error).toBeInstanceOf(InputError);
        expect((error as Error).message).toMatch(/^damaged: [^\n]+$/);
      }
    }
    // Most changes are in weights.
    expect(read).toBeGreaterThan(100);
    expect(read).toBeLessThan(1000);
  });
  test('samples that are no pictures, as pictures', async () => {
    const student = await open(toOnnx({ image: add(input('noise', ['N', 2]), constant(0)) }));
    await expect(student.samplePng()).rejects.toThrow('student: samples of [2] are no pictures of 1 or 3 channels; take them as numbers');
    expect((await student.sample({ n: 3 })).images.length).toBe(6);
    await student.close();
  });
});
