/** @file The InceptionV3 of nsfwjs: found where it is installed, converted once; where it is not, a line says how it comes there. */
import { mkdirSync, mkdtempSync, realpathSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { findNsfwjs, isNsfwjsThere, NSFWJS_NAME } from './nsfwjs.ts';
import { openExtractor } from './registry.ts';

const scratch = realpathSync(mkdtempSync(join(tmpdir(), 'nsfwjs-')));
const home = process.cwd();
afterEach(() => process.chdir(home));
afterAll(() => rmSync(scratch, { recursive: true }));

/** A package of the same layout with a network of one layer: the mean of each channel over 8x8 pixels, quantised weights of 1/4 + 1/4·q. */
function writePackage(): void {
  const folder = join(scratch, 'node_modules/nsfwjs');
  const models = join(folder, 'dist/models/inception_v3');
  mkdirSync(join(folder, 'dist/cjs/models'), { recursive: true });
  mkdirSync(models, { recursive: true });
  const exports = { './models/inception_v3': { require: './dist/cjs/models/inception_v3.js' } };
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'nsfwjs', version: '4.3.0', exports }));
  writeFileSync(join(folder, 'dist/cjs/models/inception_v3.js'), '');
  writeFileSync(join(models, 'package.json'), '{"type":"commonjs"}');
  const node = (name: string) => [[[name, 0, 0, {}]]];
  const layers = [
    { name: 'input_1', class_name: 'InputLayer', config: { batch_input_shape: [null, 8, 8, 3] }, inbound_nodes: [] },
    {
      name: 'conv',
      class_name: 'Conv2D',
      config: { kernel_size: [1, 1], strides: [1, 1], padding: 'valid' },
      inbound_nodes: node('input_1'),
    },
    {
      name: 'average_pooling2d_10',
      class_name: 'AveragePooling2D',
      config: { pool_size: [8, 8], strides: [8, 8], padding: 'valid' },
      inbound_nodes: node('conv'),
    },
  ];
  const weights = [
    { name: 'conv/kernel', shape: [1, 1, 3, 3], dtype: 'float32', quantization: { min: 0.25, scale: 0.25, dtype: 'uint8' } },
  ];
  const model = {
    modelTopology: { model_config: { config: { layers } } },
    weightsManifest: [{ paths: ['group1-shard1of2', 'group1-shard2of2'], weights }],
  };
  writeFileSync(join(models, 'model.min.js'), `module.exports=${JSON.stringify(model)}`);
  const bytes = Buffer.from([0, 1, 2, 3, 4, 5, 6, 7, 8]); // [in, out]
  for (const [i, part] of [bytes.subarray(0, 4), bytes.subarray(4)].entries())
    writeFileSync(join(models, `group1-shard${i + 1}of2.min.js`), `module.exports='${part.toString('base64')}'`);
}

const options = { cache: join(scratch, 'cache'), resize: null };

describe('where it is not installed', () => {
  test.skipIf(isNsfwjsThere())('one line says how it comes there', async () => {
    await expect(findNsfwjs(options)).rejects.toThrow('extractor: nsfwjs is not installed; install it (npm install --no-save');
  });
});

test('where it is, it is converted once and gives the features of its layer', async () => {
  writePackage();
  process.chdir(scratch);
  expect(isNsfwjsThere()).toBe(true);
  const spec = await findNsfwjs(options);
  const path = join(options.cache, 'networks/nsfwjs-4.3.0-inception-v3.onnx');
  const { mtimeMs } = statSync(path);
  expect(await findNsfwjs(options)).toEqual(spec);
  expect(statSync(path).mtimeMs).toBe(mtimeMs);
  const extractor = await openExtractor(spec);
  expect([extractor.name, extractor.dimensions, extractor.resize]).toEqual([NSFWJS_NAME, 3, 'pil_float_bicubic, 0..1']);
  // A picture of one colour: (51, 102, 204)/255 times the kernel's columns.
  const pixels = Uint8Array.from({ length: 5 * 6 * 3 }, (_, i) => [51, 102, 204][i % 3]!);
  const { values, shape } = extractor.prepare({ pixels, height: 5, width: 6, channels: 3 });
  const { features } = await extractor.run(values, 1, shape);
  const kernel = (i: number, o: number): number => 0.25 + 0.25 * (3 * i + o);
  [0, 1, 2].forEach((o) => {
    expect(features[o]).toBeCloseTo(0.2 * kernel(0, o) + 0.4 * kernel(1, o) + 0.8 * kernel(2, o), 5);
  });
  await extractor.close();
});
