/** @file Image towers as extractors: features against stored ones, bytes and grey images, and what is refused. */
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { readJson } from '../../engine/io/json.ts';
import { readSafetensors, toFloat32, writeSafetensors } from '../../engine/io/safetensors.ts';
import { goldenPath } from '../../engine/testing/golden.ts';
import { openImageTower } from '../clip/image-tower.ts';
import { clipFolder, storedClip, temporary } from '../clip/testing/folders.ts';
import { clipExtractor } from './clip.ts';

const scratch = temporary();
afterAll(() => rmSync(scratch, { recursive: true }));
const farthest = (got: ArrayLike<number>, want: ArrayLike<number>): number =>
  got.length === want.length ? Math.max(...Array.from(got, (v, i) => Math.abs(v - want[i]!))) : Number.POSITIVE_INFINITY;

const networks = dirname(goldenPath('transformers/dinov2-swiglu/config.json')!);
function dinoFolder(): string {
  const folder = join(scratch, 'dinov2');
  mkdirSync(folder, { recursive: true });
  for (const file of ['config.json', 'model.safetensors']) copyFileSync(join(networks, file), join(folder, file));
  writeFileSync(join(folder, 'preprocessor_config.json'), '{"size": {"shortest_edge": 24}, "crop_size": {"height": 20, "width": 20}}');
  return folder;
}

test('DINOv2: the class token of stored images', async () => {
  const tower = await openImageTower(dinoFolder());
  const { tensors } = await readSafetensors(`${networks}.safetensors`);
  const facts = JSON.parse(readFileSync(`${networks}.json`, 'utf8')) as { tolerance: { absolute: Record<string, number> } };
  const got = await tower.features(toFloat32(tensors.get('pixel_values')!));
  expect(farthest(got, toFloat32(tensors.get('pooler_output')!))).toBeLessThan(facts.tolerance.absolute['pooler_output']!);
  expect([tower.name, tower.dimensions, tower.preprocessing.size, tower.preprocessing.shortSide]).toEqual(['dinov2', 16, 20, 24]);
  await expect(tower.features(new Float32Array(7))).rejects.toThrow('dinov2: 7 values are no number of images [3,20,20]');
  await tower.close();
});

describe('an extractor of bytes', () => {
  const resizer =
    () =>
    (pixels: Uint8Array): Uint8Array =>
      pixels; // images that are as the network wants them
  test('an image has the same features in any company, and a grey one those of its three copies', async () => {
    const colour = await clipExtractor(dinoFolder(), { sample: [3, 20, 20], resizer });
    const grey = await clipExtractor(dinoFolder(), { sample: [1, 20, 20], resizer });
    const images = Uint8Array.from({ length: 70 * 1200 }, (_, i) => (i * 7919) % 256);
    const { features, logits } = await colour.features(images, 70);
    const alone = await colour.features(images.subarray(69 * 1200, 70 * 1200), 1);
    expect(farthest(features.subarray(69 * 16), alone.features)).toBeLessThan(1e-4); // rounding at features of size 1
    expect(logits).toBeNull();
    const plane = images.subarray(0, 400);
    const copies = await colour.features(Uint8Array.from([...plane, ...plane, ...plane]), 1);
    expect(farthest((await grey.features(plane, 1)).features, copies.features)).toBeLessThan(1e-5);
    await expect(colour.features(plane, 1)).rejects.toThrow('dinov2: 400 bytes for 1 images of [3,20,20]; 1200 bytes expected');
    await colour.close();
    await grey.close();
  });
  test('four channels are refused', async () => {
    await expect(clipExtractor(dinoFolder(), { sample: [4, 20, 20], resizer })).rejects.toThrow('images of 4 channels; 3 or 1 expected');
  });
});

const stored = storedClip();
describe.skipIf(!stored)('towers of CLIP', () => {
  const wanted = async (): Promise<readonly [Float32Array, Float32Array, number]> => {
    const { tensors } = await readSafetensors(join(stored!, 'tiny-gelu.safetensors'));
    const facts = (await readJson(join(stored!, 'tiny-gelu.json'))) as { tolerance: { absolute: Record<string, number> } };
    return [
      toFloat32(tensors.get('pixel_values')!),
      toFloat32(tensors.get('image_features_unnormalised')!),
      facts.tolerance.absolute['image_features_unnormalised']!,
    ];
  };
  test('a whole CLIP without a tokenizer', async () => {
    const tower = await openImageTower(clipFolder(stored!, 'tiny-gelu', scratch, []));
    const [pixels, want, tolerance] = await wanted();
    expect(farthest(await tower.features(pixels), want)).toBeLessThan(tolerance);
    await tower.close();
  });
  test('CLIPVisionModelWithProjection', async () => {
    const folder = join(scratch, 'vision');
    mkdirSync(folder);
    const { tensors } = await readSafetensors(join(stored!, 'tiny-gelu/model.safetensors'));
    const { vision_config } = (await readJson(join(stored!, 'tiny-gelu/config.json'))) as { vision_config: object };
    const half = [...tensors].filter(([name]) => /^(vision_model|visual_projection)\./.test(name));
    await writeSafetensors(join(folder, 'model.safetensors'), half);
    writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...vision_config, projection_dim: 16 }));
    const tower = await openImageTower(folder);
    const [pixels, want, tolerance] = await wanted();
    expect(farthest(await tower.features(pixels), want)).toBeLessThan(tolerance);
    await tower.close();
  });
});
