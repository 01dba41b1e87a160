/** @file Extractors of pictures: resized by their rules, scaled as they say, with features that are what their networks give. */
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { toOnnx } from '../../engine/graph/onnx.ts';
import { conv2d } from '../../engine/graph/ops/conv.ts';
import { relu } from '../../engine/graph/ops/elementwise.ts';
import { constant, input } from '../../engine/graph/ops/leaf.ts';
import { transpose } from '../../engine/graph/ops/movement.ts';
import { reduceMean } from '../../engine/graph/ops/reduce.ts';
import { InputError } from '../../engine/io/errors.ts';
import { goldenPath } from '../../engine/testing/golden.ts';
import { onnxFacts, parseOnnx } from '../../models/foreign/onnx-taps.ts';
import { openImageTower } from '../clip/image-tower.ts';
import { pixelsOf } from '../clip/preprocess.ts';
import { clipPreprocess } from '../resize/index.ts';
import { noise } from '../testing/values.ts';
import { findExtractor, usualExtractor } from './find.ts';
import { preparer, ruleOf } from './inputs.ts';
import { openOnnx } from './onnx.ts';
import { openRandom } from './random.ts';
import { openTowerPictures } from './tower.ts';

const scratch = mkdtempSync(join(tmpdir(), 'pictures-'));
afterAll(() => rmSync(scratch, { recursive: true }));
const picture = (height: number, width: number, channels: 1 | 3, seed = 1) => ({
  pixels: Uint8Array.from(noise(height * width * channels, seed), (v) => Math.floor((v + 1) * 128)),
  height,
  width,
  channels,
});

describe('preparing', () => {
  test('channels come first and values are scaled, bytes and floats alike', () => {
    const { pixels } = picture(2, 2, 3);
    const at = (scale: '0..1' | '-1..1' | '0..255' | 'imagenet') =>
      preparer({ channels: 3, side: 2, resize: 'none', scale })({ pixels, height: 2, width: 2, channels: 3 });
    const planes = [0, 1, 2].flatMap((c) => [0, 1, 2, 3].map((i) => pixels[3 * i + c]!));
    expect(at('0..255')).toEqual({ values: Float32Array.from(planes), shape: [3, 2, 2] });
    expect(at('-1..1').values).toEqual(Float32Array.from(planes, (v) => v / 127.5 - 1));
    at('0..1').values.forEach((v, i) => {
      expect(v).toBeCloseTo(planes[i]! / 255, 6);
    });
    // torchvision's Normalize of the first and the last value.
    const normal = at('imagenet').values;
    expect(normal[0]).toBeCloseTo((planes[0]! / 255 - 0.485) / 0.229, 5);
    expect(normal[11]).toBeCloseTo((planes[11]! / 255 - 0.406) / 0.225, 5);
    // A rule that gives floats and leaves the size as it is changes nothing.
    const floats = preparer({ channels: 3, side: 2, resize: 'torch_bilinear', scale: '-1..1' })({
      pixels,
      height: 2,
      width: 2,
      channels: 3,
    });
    expect(floats.values).toEqual(at('-1..1').values);
  });
  test('rules are named, and sizes that do not fit are refused', () => {
    expect(ruleOf('pil_uint8_box:20', null)).toEqual({ name: 'pil_uint8_box', side: 20 });
    expect(() => ruleOf('pil_uint8_box', null)).toThrow('pil_uint8_box:SIDE expected');
    expect(() => ruleOf('pil_uint8_box:0', null)).toThrow('no side of whole pixels');
    expect(() => ruleOf('pil_uint8_box:20', 28)).toThrow('gives 20 pixels; the network takes 28');
    const strict = preparer({ channels: 1, side: 4, resize: 'none', scale: '0..1' });
    expect(() => strict(picture(4, 5, 1))).toThrow('is 4x5, and the network takes 4x4; give a rule with --resize');
    const any = preparer({ channels: 1, side: null, resize: 'none', scale: '0..1' });
    expect([any(picture(4, 5, 1)).shape, any(picture(2, 3, 1)).shape]).toEqual([
      [1, 4, 5],
      [1, 2, 3],
    ]);
  });
});

describe('random features', () => {
  test('are those of the seed, of any size of picture, and tell pictures apart', async () => {
    const [a, again, other] = [
      await openRandom({ seed: 0, resize: null }),
      await openRandom({ seed: 0, resize: null }),
      await openRandom({ seed: 1, resize: null }),
    ];
    expect([a.checksum, a.dimensions, a.name, a.resize]).toEqual([again.checksum, 224, 'random features', 'pil_uint8_bicubic']);
    expect(other.checksum).not.toBe(a.checksum);
    const of = async (extractor: typeof a, ...pictures: readonly ReturnType<typeof picture>[]) => {
      const prepared = pictures.map((each) => extractor.prepare(each));
      const values = Float32Array.from(prepared.flatMap((each) => Array.from(each.values)));
      return (await extractor.run(values, pictures.length, prepared[0]!.shape)).features;
    };
    const both = await of(a, picture(30, 40, 3), picture(64, 64, 3, 2));
    expect(both.length).toBe(448);
    expect(await of(again, picture(30, 40, 3), picture(64, 64, 3, 2))).toEqual(both);
    // He's variance keeps activations of the size of the input: about 1, neither dying nor exploding.
    const size = Math.sqrt(both.reduce((sum, v) => sum + v * v, 0) / both.length);
    expect(size).toBeGreaterThan(0.05);
    expect(size).toBeLessThan(5);
    expect(Math.max(...Array.from(both.subarray(0, 224), (v, i) => Math.abs(v - both[224 + i]!)))).toBeGreaterThan(0.01);
    for (const extractor of [a, again, other]) await extractor.close();
  });
});

/** relu(conv) of [N,3,6,6], and its mean over positions. */
function network(options: { readonly any?: boolean; readonly last?: boolean; readonly both?: boolean } = {}): Uint8Array {
  const images = options.last ? input('images', ['N', 6, 6, 3]) : input('images', ['N', 3, 6, 6]);
  const planes = options.last ? transpose(images, [0, 3, 1, 2]) : images;
  const maps = relu(conv2d(planes, constant(Float64Array.from(noise(4 * 3 * 9, 5)), [4, 3, 3, 3]), { padding: 1 }));
  const features = reduceMean(maps, [2, 3]);
  return toOnnx(options.both ? { maps, features } : { features }, { target: 'cpu' });
}
const onnx = (name: string, bytes: Uint8Array): string => {
  const path = join(scratch, name);
  writeFileSync(path, bytes);
  return path;
};
const usual = { tap: null, resize: null, scale: '-1..1' };

describe('ONNX files', () => {
  /** By hand: zero-padded 3x3 convolutions, ReLU, mean. */
  function byHand({ values }: { readonly values: Float32Array }): readonly number[] {
    const weights = noise(4 * 3 * 9, 5);
    const at = (c: number, y: number, x: number): number => (y < 0 || x < 0 || y > 5 || x > 5 ? 0 : values[c * 36 + y * 6 + x]!);
    return [0, 1, 2, 3].map((o) => {
      let mean = 0;
      for (let y = 0; y < 6; y++)
        for (let x = 0; x < 6; x++) {
          let sum = 0;
          for (let c = 0; c < 3; c++)
            for (let k = 0; k < 9; k++) sum += weights[(o * 3 + c) * 9 + k]! * at(c, y + Math.floor(k / 3) - 1, x + (k % 3) - 1);
          mean += Math.max(0, sum) / 36;
        }
      return mean;
    });
  }
  const near = (got: Float32Array, want: readonly number[]): void => {
    expect(got.length).toBe(want.length);
    got.forEach((v, i) => {
      expect(v).toBeCloseTo(want[i]!, 5);
    });
  };

  test('the only output, and one picture among others', async () => {
    const extractor = await openOnnx({ ...usual, path: onnx('a.onnx', network()) });
    expect([extractor.name, extractor.dimensions, extractor.channels, extractor.resize]).toEqual(['a.onnx, features', 4, 3, 'none, -1..1']);
    const prepared = [1, 2].map((seed) => extractor.prepare(picture(6, 6, 3, seed)));
    const { features } = await extractor.run(Float32Array.from(prepared.flatMap((p) => Array.from(p.values))), 2, [3, 6, 6]);
    near(features, prepared.flatMap(byHand));
    await extractor.close();
  });
  test('a value inside is tapped by its name; maps give their means', async () => {
    const bytes = network();
    const inside = parseOnnx(bytes, 'x').graph!.node.find(({ opType }) => opType === 'Relu')!.output[0]!;
    expect(onnxFacts(parseOnnx(bytes, 'x')).outputs).toEqual(['features']);
    const path = onnx('inside.onnx', bytes);
    const extractor = await openOnnx({ ...usual, path, tap: inside });
    const prepared = extractor.prepare(picture(6, 6, 3));
    near((await extractor.run(prepared.values, 1, prepared.shape)).features, byHand(prepared));
    expect(extractor.name).toBe(`inside.onnx, ${inside}`);
    await extractor.close();
    await expect(openOnnx({ ...usual, path, tap: 'featurse' })).rejects.toThrow(
      'nothing in it is called "featurse"; did you mean "features"?',
    );
  });
  test('channels last, as TensorFlow has them', async () => {
    const extractor = await openOnnx({ ...usual, path: onnx('last.onnx', network({ last: true })) });
    const prepared = extractor.prepare(picture(6, 6, 3));
    near((await extractor.run(prepared.values, 1, prepared.shape)).features, byHand(prepared));
    await extractor.close();
  });
  test('a rule resizes, and only then other sizes are taken', async () => {
    const path = onnx('rule.onnx', network());
    const strict = await openOnnx({ ...usual, path });
    expect(() => strict.prepare(picture(9, 12, 3))).toThrow(InputError);
    const resizing = await openOnnx({ ...usual, path, resize: 'pil_uint8_box' });
    expect(resizing.prepare(picture(9, 12, 3)).shape).toEqual([3, 6, 6]);
    for (const each of [strict, resizing]) await each.close();
  });
  test('what is no extractor is refused in a line', async () => {
    const refused = (path: string, message: string, more: object = {}) =>
      expect(openOnnx({ ...usual, path, ...more })).rejects.toThrow(message);
    await refused(join(scratch, 'missing.onnx'), 'cannot read: no such file');
    await refused(onnx('text.onnx', new TextEncoder().encode('no network')), 'is no complete ONNX file');
    await refused(onnx('both.onnx', network({ both: true })), 'gives maps, features; name the one that is features with --tap');
    await refused(onnx('a.onnx', network()), "scale: '0-1' is not one of -1..1, 0..1", { scale: '0-1' });
    const flat = toOnnx({ y: relu(input('x', ['N', 7])) }, { target: 'cpu' });
    await refused(onnx('flat.onnx', flat), 'takes x float32[?,7]; one input of images');
    const grey5 = toOnnx({ y: relu(input('x', ['N', 5, 8, 8])) }, { target: 'cpu' });
    await refused(onnx('five.onnx', grey5), 'no size in it is 1 or 3 channels');
  });
});

const stored = goldenPath('transformers/dinov2-swiglu/config.json');
describe.skipIf(!stored)('image towers', () => {
  const folder = join(scratch, 'dinov2');
  test('a picture has the features of the tower on what its files say of preprocessing', async () => {
    const networks = dirname(stored!);
    mkdirSync(folder);
    for (const file of ['config.json', 'model.safetensors']) copyFileSync(join(networks, file), join(folder, file));
    writeFileSync(join(folder, 'preprocessor_config.json'), '{"size": {"shortest_edge": 20}, "crop_size": {"height": 20, "width": 20}}');
    const [extractor, tower] = [await openTowerPictures({ folder, resize: null }), await openImageTower(folder)];
    const { pixels } = picture(31, 27, 3);
    const { mean, std } = tower.preprocessing;
    // The same resizing by another way: Hugging Face's transform of CLIP with this network's numbers.
    const wanted = clipPreprocess({ variant: 'hf', size: 20, from: [31, 27], mean, std })(pixels);
    const prepared = extractor.prepare({ pixels, height: 31, width: 27, channels: 3 });
    expect(Math.max(...Array.from(prepared.values, (v, i) => Math.abs(v - wanted[i]!)))).toBeLessThan(1e-6);
    expect((await extractor.run(prepared.values, 1, prepared.shape)).features).toEqual(await tower.features(prepared.values));
    // What is square and of the right size stays as it is.
    const square = picture(20, 20, 3);
    expect(extractor.prepare(square).values).toEqual(pixelsOf([square], tower.preprocessing, (bytes) => bytes));
    for (const each of [extractor, tower]) await each.close();
    await expect(openTowerPictures({ folder, resize: 'pil_uint8_box' })).rejects.toThrow(
      'say how pictures are resized for it; leave --resize out',
    );
  });
});

describe('names', () => {
  const options = { resize: null, weights: null, acceptWeights: false, tap: null, scale: null, cache: scratch };
  test('mean extractors', async () => {
    expect(await findExtractor('digits', options)).toEqual({ kind: 'classifier', options: { data: 'digits', resize: null } });
    expect(await findExtractor('random:7', options)).toEqual({ kind: 'random', options: { seed: 7, resize: null } });
    expect(await findExtractor('a.onnx', { ...options, tap: 'x' })).toMatchObject({ kind: 'onnx', options: { path: 'a.onnx', tap: 'x' } });
    expect(await findExtractor('digits')).toEqual(await findExtractor('digits', options));
    expect((await usualExtractor(options)).kind).toMatch(/^(random|nsfwjs|inception)$/);
  });
  test('that mean nothing, and options without effect, are refused', async () => {
    await expect(findExtractor('digit', options)).rejects.toThrow("there is no 'digit' (did you mean digits?)");
    await expect(findExtractor(scratch, options)).rejects.toThrow('holds no config.json');
    await expect(findExtractor('digits', { ...options, weights: 'w.pth' })).rejects.toThrow(
      'weights: has no effect on the extractor digits',
    );
  });
});
