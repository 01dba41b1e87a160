/** @file Tests of caption files. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { tempFolder } from '../../data/testing/temp.ts';
import { InputError } from '../../engine/io/errors.ts';
import { readCaptions } from './captions.ts';

const root = tempFolder();
const written = (name: string, text: string): string => {
  const path = join(root, name);
  writeFileSync(path, text);
  return path;
};

test.each([
  ['unix.txt', 'a cat\na "dog", twice\n'],
  ['dos.txt', '\ufeffa cat\r\na "dog", twice'],
  ['list.json', JSON.stringify(['a cat', { caption: 'a "dog", twice', id: 3 }])],
  ['lines.jsonl', `${JSON.stringify({ text: 'a cat' })}\n${JSON.stringify({ prompt: 'a "dog", twice' })}\n`],
])('%s', async (name, text) => {
  expect(await readCaptions(written(name, text), 2)).toEqual(['a cat', 'a "dog", twice']);
});

describe('mistakes are one line', () => {
  test.each([
    ['few.txt', 'one\n', 'few.txt has 1 for 2 images; one caption an image expected'],
    ['none.txt', '', 'none.txt has 0 for 2 images'],
    ['gap.txt', 'one\n\n', 'gap.txt has an empty one, number 2'],
    ['bad.json', '[', 'bad.json: is no JSON ('],
    ['object.json', '{}', 'object.json: is no list; a list of captions expected'],
    ['number.json', '["a", 3]', 'number.json[1]: is 3; a text, or an object with caption, text, prompt expected'],
    ['line.jsonl', '"a"\n{}\n', 'line.jsonl:2: is {}; a text'],
    ['table.csv', 'a', 'table.csv is no .txt, .jsonl, .json file'],
  ])('%s', async (name, text, words) => {
    const failure = readCaptions(written(name, text), 2);
    await expect(failure).rejects.toBeInstanceOf(InputError);
    await expect(failure).rejects.toThrow(words);
  });
  test('a missing file', async () => {
    await expect(readCaptions(join(root, 'absent.txt'))).rejects.toThrow('absent.txt: cannot read: no such file');
  });
});
