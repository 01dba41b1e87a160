/** @file Zip archives that are none, hold no images or say strange things of their labels are refused in a line. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { zipSync } from 'fflate';
import { beforeAll, expect, test } from 'vitest';
import { tempFolder } from '../../data/testing/temp.ts';
import { openImages } from './index.ts';
import { pixelsOf, png } from './testing/files.ts';

const root = tempFolder();
let image: Uint8Array;
beforeAll(async () => {
  image = await png(pixelsOf(0));
});
const text = (words: string): Uint8Array => new TextEncoder().encode(words);

test.each([
  ['no images', () => ({ 'readme.txt': text('x'), '.hidden.png': text('x') }), /images: .*\.zip has none; files that end in /],
  ['labels that are no JSON', () => ({ 'a.png': image, 'dataset.json': text('{') }), /\.zip: dataset\.json: is no JSON /],
  ['labels that are no list', () => ({ 'a.png': image, 'dataset.json': text('{"labels":{}}') }), /dataset\.json: labels are no list; /],
  [
    'a label that is no number',
    () => ({ 'a.png': image, 'dataset.json': text('{"labels":[["a.png",1],["b.png","cat"]]}') }),
    /dataset\.json: label 1 is \["b\.png","cat"\]; \["name", class\] expected/,
  ],
])('%s', async (name, entries, message) => {
  const path = join(root, `${name}.zip`);
  writeFileSync(path, zipSync(entries()));
  await expect(openImages(path)).rejects.toThrow(message);
});

test('a list without labels leaves them to folders, the only one of which is class 0', async () => {
  const path = join(root, 'null.zip');
  writeFileSync(path, zipSync({ 'a/0-3.png': image, 'dataset.json': text('{"labels":null}') }));
  const source = await openImages(path);
  for await (const { label, name } of source.images()) expect([label, name]).toEqual([0, `${path}: a/0-3.png`]);
  await source.close();
});
