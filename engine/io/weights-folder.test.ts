/** @file Weights found in folders: one file or several, half precision, what is preferred, their sums, and what is said where there are none. */
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { InputError } from './errors.ts';
import { fromFloat32, writeSafetensors } from './safetensors.ts';
import { joinedChecksum, openFolderWeights, weightsChecksum } from './weights-folder.ts';

const scratch = mkdtempSync(join(tmpdir(), 'weights-'));
afterAll(() => rmSync(scratch, { recursive: true }));
const folder = (): string => mkdtempSync(join(scratch, 'f'));
const write = (path: string, name: string): Promise<void> => writeSafetensors(path, { [name]: fromFloat32(Float32Array.of(1, 2), [2]) });
const namesIn = async (path: string, names?: readonly string[]): Promise<readonly string[]> => {
  const file = await openFolderWeights(path, names);
  return file.close().then(() => file.names);
};
const sumOf = (data: Uint8Array | string): string => createHash('sha256').update(data).digest('hex');

test('the whole file before half precision, and the first name before the others', async () => {
  const at = folder();
  await write(join(at, 'model.fp16.safetensors'), 'half');
  expect(await namesIn(at)).toEqual(['half']);
  await write(join(at, 'model.safetensors'), 'whole');
  await write(join(at, 'other.safetensors'), 'other');
  expect(await namesIn(at)).toEqual(['whole']);
  expect(await namesIn(at, ['other', 'model'])).toEqual(['other']);
  expect(await weightsChecksum(at)).toBe(sumOf(readFileSync(join(at, 'model.safetensors'))));
});
test.each(['model.safetensors.index.json', 'model.safetensors.index.fp16.json'])('several files by %s', async (index) => {
  const at = folder();
  await write(join(at, 'b.safetensors'), 'second');
  await write(join(at, 'a.safetensors'), 'first');
  writeFileSync(join(at, index), JSON.stringify({ weight_map: { first: 'a.safetensors', second: 'b.safetensors' } }));
  expect([...(await namesIn(at))].sort()).toEqual(['first', 'second']);
  const sums = ['a', 'b'].map((name) => sumOf(readFileSync(join(at, `${name}.safetensors`))));
  expect(await weightsChecksum(at)).toBe(sumOf(sums.join('\n')));
  expect(await joinedChecksum([join(at, 'a.safetensors')])).toBe(sums[0]);
});
test('nothing, another format and no folder are said in a line', async () => {
  const at = folder();
  await expect(openFolderWeights(at)).rejects.toThrow('no weights in it; model.safetensors or model.safetensors.index.json expected');
  writeFileSync(join(at, 'pytorch_model.bin'), '');
  await expect(openFolderWeights(at)).rejects.toThrow('pytorch_model.bin is of another format: save it as safetensors');
  await expect(openFolderWeights(join(at, 'none'))).rejects.toThrow(InputError);
});
