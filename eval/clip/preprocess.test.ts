/** @file What the files say of preprocessing, and the numbers that become of bytes, against stored ones. */
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { InputError } from '../../engine/io/errors.ts';
import { readSafetensors, toFloat32 } from '../../engine/io/safetensors.ts';
import { goldenPath } from '../../engine/testing/golden.ts';
import { defaultPreprocessing, hfPreprocessing, openClipPreprocessing, pixelsOf } from './preprocess.ts';

const stored = goldenPath('resize/clip-preprocess.json');
test.skipIf(!stored)('resized bytes become the stored numbers, channels first', async () => {
  const { tensors } = await readSafetensors(join(dirname(stored!), 'clip-preprocess.safetensors'));
  const bytes = new Uint8Array(tensors.get('blocks.37x50.crop32.hf_pil_uint8.full')!.bytes);
  const want = toFloat32(tensors.get('blocks.37x50.crop32.hf_pil.full')!); // [32,32,3]
  const asked: number[][] = [];
  const resize = (_: Uint8Array, height: number, width: number): Uint8Array => {
    asked.push([height, width]);
    return bytes;
  };
  const picture = { pixels: new Uint8Array(37 * 50 * 3), height: 37, width: 50 };
  const got = pixelsOf([picture, picture], defaultPreprocessing('clip', 32), resize);
  expect(asked).toEqual([
    [37, 50],
    [37, 50],
  ]);
  const off = got.map((v, i) => Math.abs(v - want[3 * (i % 1024) + (Math.floor(i / 1024) % 3)]!));
  expect(got.length).toBe(2 * want.length);
  expect(Math.max(...off)).toBeLessThan(1e-5); // the file's tolerance
  expect(() => pixelsOf([picture], defaultPreprocessing('clip', 16), resize)).toThrow('the resizer gave 3072 bytes; 16x16x3 are 768');
});

describe('files', () => {
  test("OpenAI's, SigLIP's and DINOv2's preprocessor_config.json", () => {
    const clip = { do_center_crop: true, crop_size: 224, size: 224, resample: 3, image_mean: [0.4, 0.5, 0.6], feature_extractor_type: 'x' };
    expect(hfPreprocessing('p', clip, 'clip', 224)).toEqual({
      family: 'hf',
      size: 224,
      shortSide: 224,
      fit: 'shortest',
      filter: 'bicubic',
      mean: [0.4, 0.5, 0.6],
      std: [0.26862954, 0.26130258, 0.27577711],
    });
    const siglip = { size: { height: 384, width: 384 }, resample: 2, image_std: [1, 1, 1] };
    expect(hfPreprocessing('p', siglip, 'siglip', 384)).toMatchObject({
      fit: 'squash',
      filter: 'bilinear',
      mean: [0.5, 0.5, 0.5],
      std: [1, 1, 1],
    });
    const dino = { size: { shortest_edge: 256 }, crop_size: { height: 224, width: 224 } };
    expect(hfPreprocessing('p', dino, 'dinov2', 224)).toMatchObject({ size: 224, shortSide: 256, mean: [0.485, 0.456, 0.406] });
  });
  test("open_clip's preprocess_cfg", () => {
    expect(
      openClipPreprocessing('o', { size: [256, 256], resize_mode: 'squash', interpolation: 'bilinear', mean: [0, 0, 0] }, 256),
    ).toMatchObject({
      family: 'open-clip',
      fit: 'squash',
      filter: 'bilinear',
      mean: [0, 0, 0],
    });
  });
  test.each([
    [{ do_rescale: false }, 'p: do_rescale is false'],
    [{ rescale_factor: 1 }, 'p: rescale_factor is 1; 1/255 expected'],
    [{ crop_size: 336 }, 'p: images of 336 pixels, but the network takes 224'],
    [{ size: { shortest_edge: 100 }, crop_size: 224 }, 'p: a short side of 100 holds no square of 224'],
    [{ image_mean: [0.5] }, 'p: image_mean is [0.5], which is not supported'],
    [{ size: 'big' }, 'p: size is "big", which is not supported'],
    [7, 'p: the file is 7, which is not supported'],
  ])('%j is refused', (json, message) => {
    expect(() => hfPreprocessing('p', json, 'clip', 224)).toThrow(InputError);
    expect(() => hfPreprocessing('p', json, 'clip', 224)).toThrow(message);
  });
  test('a random interpolation and another size are refused', () => {
    expect(() => openClipPreprocessing('o', { interpolation: 'random' }, 224)).toThrow('which no two runs share');
    expect(() => openClipPreprocessing('o', { size: [224, 336] }, 224)).toThrow('images of 224x336 pixels, but the network takes 224');
  });
});
