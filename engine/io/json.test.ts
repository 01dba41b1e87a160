/** @file JSON files: values, what is missing, and one line for what is wrong. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { InputError } from './errors.ts';
import { ifThere, parseJson, readJson, readText } from './json.ts';

const folder = mkdtempSync(join(tmpdir(), 'json-'));
afterAll(() => rmSync(folder, { recursive: true }));
const path = join(folder, 'a.json');

test('a value, or undefined where there is no such file', async () => {
  writeFileSync(path, '{"a": [1, "é"]}');
  expect(await readJson(path)).toEqual({ a: [1, 'é'] });
  expect(await ifThere(readJson, path)).toEqual({ a: [1, 'é'] });
  expect(await ifThere(readJson, join(folder, 'b.json'))).toBeUndefined();
  expect(await ifThere(readJson, join(path, 'b.json'))).toBeUndefined();
});
test('a missing file, a folder and text that is no JSON are one line', async () => {
  await expect(readJson(join(folder, 'b.json'))).rejects.toThrow('b.json: cannot read: no such file (ENOENT)');
  await expect(readText(folder)).rejects.toThrow(InputError);
  await expect(ifThere(readJson, folder)).rejects.toThrow('is a folder; give a file');
  expect(() => parseJson('{\n"a"\n', 'x.json')).toThrow(InputError);
  expect(() => parseJson('{\n"a"\n', 'x.json')).toThrow(/^x\.json: not JSON: [^\n]*$/);
});
