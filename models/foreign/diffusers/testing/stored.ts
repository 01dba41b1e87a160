/** @file Folders of diffusers with stored outputs and gradients beside their weights, and a test over every case of one. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { goldenPath } from '../../../../engine/testing/golden.ts';
import { type Forward, type GoldenCase, mismatches, readFacts, readGolden, readWeights } from '../../../testing/golden.ts';

/** The folder, or undefined where the stored values are not there. */
export function storedFolder(name: string): string | undefined {
  const path = goldenPath(`diffusers/${name}/config.json`);
  return path && dirname(path);
}
export const readJson = (path: string): unknown => JSON.parse(readFileSync(path, 'utf8'));
export const weightsPath = (folder: string): string =>
  ['', '.fp16'].map((variant) => join(folder, `diffusion_pytorch_model${variant}.safetensors`)).find((path) => existsSync(path))!;

/** One test a case: outputs and all gradients are within the stored tolerance. */
export function testCases(name: string, forwardOf: (folder: string, test: GoldenCase) => Forward): void {
  const folder = storedFolder(name);
  const names = folder ? readFacts(join(folder, 'golden.json')).cases.map((c) => c.name) : ['nothing stored'];
  test.skipIf(!folder).each(names)(`${name}: %s`, async (wanted) => {
    const golden = await readGolden(join(folder!, 'golden.json'));
    const found = golden.facts.cases.find((c) => c.name === wanted)!;
    expect(await mismatches(golden, found, forwardOf(folder!, found), { weights: await readWeights(weightsPath(folder!)) })).toEqual([]);
  });
}
