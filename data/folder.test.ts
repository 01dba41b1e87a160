/** @file Tests of image folders: classes, split, unreadable files, the pool. */
import { copyFileSync, cpSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { InputError } from '../engine/io/errors.ts';
import type { Dataset } from './dataset.ts';
import { type FolderOptions, loadFolder } from './folder.ts';
import { encodePng } from './image.ts';
import { tempFolder } from './testing/temp.ts';

const root = tempFolder();
const OPTIONS: FolderOptions = { size: 2, channels: 1, skipBad: false, heldOut: 0 };

/** A flat grey 3x3 image. */
async function writeImage(path: string, value: number): Promise<void> {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, await encodePng(new Uint8Array(9).fill(value), 3, 3, 1));
}

/** The grey value of each image. */
const values = (dataset: Dataset): readonly number[] => Array.from({ length: dataset.size }, (_, i) => dataset.images[i * 4]!);

describe('a folder with classes', () => {
  const folder = join(root, 'classes');
  beforeAll(async () => {
    await writeImage(join(folder, 'cat/b.png'), 20);
    await writeImage(join(folder, 'cat/a.PNG'), 10);
    await writeImage(join(folder, 'ant/deep/z.png'), 30);
    await writeImage(join(folder, '.hidden/x.png'), 99);
    writeFileSync(join(folder, 'notes.txt'), 'not an image');
    symlinkSync(folder, join(folder, 'cat/circle'));
  });

  test('takes files in sorted order, labels from the first folder', async () => {
    const { train, heldOut } = await loadFolder(folder, OPTIONS);
    expect(train).toMatchObject({
      name: 'classes',
      size: 3,
      channels: 1,
      height: 2,
      width: 2,
      classes: ['ant', 'cat'],
      mayFlip: true,
      skipped: 0,
    });
    expect(values(train)).toEqual([30, 10, 20]);
    expect([...train.labels!]).toEqual([0, 1, 1]);
    expect(heldOut.size).toBe(0);
  });

  test('captions are the text files beside images, wherever these end up', async () => {
    expect((await loadFolder(folder, OPTIONS)).train.captions).toBeUndefined();
    const captioned = join(root, 'captioned');
    for (const [i, name] of ['a', 'b', 'c', 'd'].entries()) {
      await writeImage(join(captioned, `${name}.png`), 10 * i);
      if (name !== 'c') writeFileSync(join(captioned, `${name}.txt`), ` the ${10 * i}\n`);
    }
    const { train, heldOut } = await loadFolder(captioned, { ...OPTIONS, heldOut: 0.5 });
    for (const part of [train, heldOut]) expect(part.captions).toEqual(values(part).map((value) => (value === 20 ? null : `the ${value}`)));
    expect(train.size + heldOut.size).toBe(4);
  });

  test('refuses images beside the folders', async () => {
    const mixed = join(root, 'mixed');
    cpSync(join(folder, 'ant'), join(mixed, 'ant'), { recursive: true });
    await writeImage(join(mixed, 'loose.png'), 1);
    await expect(loadFolder(mixed, OPTIONS)).rejects.toThrow(/1 folders of images and 1 images beside them, such as loose.png/);
  });
});

describe('the held-out part', () => {
  const folder = join(root, 'split');
  beforeAll(async () => {
    for (let i = 0; i < 10; i++) await writeImage(join(folder, `${i}.png`), 10 * i);
  });

  test('has its share, and both parts together are the whole', async () => {
    const { train, heldOut } = await loadFolder(folder, { ...OPTIONS, heldOut: 0.3 });
    expect([train.size, heldOut.size]).toEqual([7, 3]);
    expect([...values(train), ...values(heldOut)].sort((a, b) => a - b)).toEqual([0, 10, 20, 30, 40, 50, 60, 70, 80, 90]);
    expect(train.labels).toBeNull();
  });

  test('is the same wherever the folder lies, and a larger share contains the smaller', async () => {
    const copy = join(root, 'elsewhere');
    cpSync(folder, copy, { recursive: true });
    const chosen = values((await loadFolder(folder, { ...OPTIONS, heldOut: 0.3 })).heldOut);
    expect(values((await loadFolder(copy, { ...OPTIONS, heldOut: 0.3 })).heldOut)).toEqual(chosen);
    expect(values((await loadFolder(folder, { ...OPTIONS, heldOut: 0.6 })).heldOut)).toEqual(expect.arrayContaining([...chosen]));
  });

  test('is the folder test where there are train and test', async () => {
    const ready = join(root, 'ready');
    await writeImage(join(ready, 'train/a/1.png'), 5);
    await writeImage(join(ready, 'train/b/1.png'), 6);
    await writeImage(join(ready, 'test/a/1.png'), 7);
    await expect(loadFolder(ready, OPTIONS)).rejects.toThrow(/classes of train are a, b, but of test a/);
    await writeImage(join(ready, 'test/b/1.png'), 8);
    const { train, heldOut } = await loadFolder(ready, { ...OPTIONS, heldOut: 0.5 });
    expect([values(train), values(heldOut), train.classes]).toEqual([
      [5, 6],
      [7, 8],
      ['a', 'b'],
    ]);
  });
});

describe('unreadable files', () => {
  const folder = join(root, 'bad');
  beforeAll(async () => {
    await writeImage(join(folder, 'a.png'), 1);
    writeFileSync(join(folder, 'b.png'), 'this is no image');
    await writeImage(join(folder, 'c.png'), 3);
    symlinkSync(join(folder, 'nowhere.png'), join(folder, 'd.png'));
  });

  test('stop with the first one and their number', async () => {
    const failure = loadFolder(folder, OPTIONS);
    await expect(failure).rejects.toBeInstanceOf(InputError);
    await expect(failure).rejects.toThrow(/2 of 4 images in .*bad cannot be read, the first is .*b\.png \(.*\); .*--skip-bad/);
  });

  test('are left out and counted on demand', async () => {
    const { train } = await loadFolder(folder, { ...OPTIONS, skipBad: true });
    expect([values(train), train.skipped]).toEqual([[1, 3], 2]);
  });

  test('stop where nothing is left', async () => {
    const none = join(root, 'none');
    mkdirSync(none);
    await expect(loadFolder(none, OPTIONS)).rejects.toThrow(/none has no images; .png, /);
    copyFileSync(join(folder, 'b.png'), join(none, 'b.png'));
    await expect(loadFolder(none, { ...OPTIONS, skipBad: true })).rejects.toThrow(/1 of 1 images/);
  });
});

test('many files go through the pool in order', async () => {
  const folder = join(root, 'many');
  for (let i = 0; i < 150; i++) await writeImage(join(folder, `${String(i).padStart(3, '0')}.png`), i);
  writeFileSync(join(folder, '140.png'), 'broken');
  await expect(loadFolder(folder, OPTIONS)).rejects.toThrow(/1 of 150 images in .* the first is .*140.png/);
  const { train } = await loadFolder(folder, { ...OPTIONS, skipBad: true });
  expect(values(train)).toEqual(Array.from({ length: 150 }, (_, i) => i).filter((i) => i !== 140));
});

test('options outside their range are refused', async () => {
  await expect(loadFolder(root, { ...OPTIONS, size: 0 })).rejects.toThrow('size 0');
  await expect(loadFolder(root, { ...OPTIONS, heldOut: 1 })).rejects.toThrow('held-out share 1');
});
