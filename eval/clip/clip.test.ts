/** @file CLIP opened from folders and from ONNX files: features, tokens and scores against stored ones, and what is refused. */
import { rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { toOnnx } from '../../engine/graph/onnx.ts';
import { input } from '../../engine/graph/ops/leaf.ts';
import { InputError } from '../../engine/io/errors.ts';
import { readJson } from '../../engine/io/json.ts';
import { readSafetensors, type StoredTensor, toFloat32 } from '../../engine/io/safetensors.ts';
import { openFolderWeights } from '../../engine/io/weights-folder.ts';
import { goldenPath } from '../../engine/testing/golden.ts';
import { constantScope } from '../../engine/train/weights.ts';
import { clip as clipModel, readClip } from '../../models/foreign/clip.ts';
import { readWeightsOf } from '../../models/foreign/hf-weights.ts';
import { type Clip, openClip } from './clip.ts';
import { CLIP_SCORES, clipScore, imageSimilarity, pairCosines } from './score.ts';
import { clipFolder, storedClip, temporary } from './testing/folders.ts';
import { openTower } from './tower.ts';

const stored = storedClip();
const scratch = temporary();
afterAll(() => rmSync(scratch, { recursive: true }));

interface Scores {
  readonly captions: readonly string[];
  readonly torchmetrics: Readonly<
    Record<
      'pil_processor',
      {
        readonly per_pair_100cos: readonly number[];
        readonly all: number;
        readonly two_lowest_pairs: readonly number[];
        readonly two_lowest_compute: number;
      }
    >
  >;
  readonly tolerance: { readonly cosine: number; readonly score_100: number };
}
const farthest = (got: ArrayLike<number>, want: ArrayLike<number>): number =>
  got.length === want.length ? Math.max(...Array.from(got, (v, i) => Math.abs(v - want[i]!))) : Number.POSITIVE_INFINITY;

describe.skipIf(!stored)('the published vocabulary', () => {
  let folder: string;
  let model: Clip;
  let facts: Scores;
  let tensors: ReadonlyMap<string, StoredTensor>;
  let values: ReadonlyMap<string, StoredTensor>;
  let tolerance: Readonly<Record<string, number>>;
  const numbers = (name: string): Float32Array => toFloat32(tensors.get(name)!);
  beforeAll(async () => {
    folder = clipFolder(stored!, 'full-vocab-fp16', scratch);
    model = await openClip(folder);
    facts = (await readJson(join(stored!, 'scores.json'))) as Scores;
    tensors = (await readSafetensors(join(stored!, 'scores.safetensors'))).tensors;
    values = (await readSafetensors(join(stored!, 'full-vocab-fp16.safetensors'))).tensors;
    tolerance = ((await readJson(join(stored!, 'full-vocab-fp16.json'))) as { tolerance: { absolute: Record<string, number> } }).tolerance
      .absolute;
  });
  afterAll(() => model.close());

  test('features of captions and pictures are the stored ones', async () => {
    const { features, tooLong } = await model.textFeatures(facts.captions);
    expect(farthest(features, toFloat32(values.get('text_features_unnormalised')!))).toBeLessThan(tolerance['text_features_unnormalised']!);
    const images = await model.imageFeatures(numbers('pixel_values_pil'));
    expect(farthest(images, toFloat32(values.get('image_features_unnormalised')!))).toBeLessThan(tolerance['image_features_unnormalised']!);
    expect(tooLong).toEqual([false, false, false, false, false, true]);
    expect([model.name, model.imageSize, model.dimensions, model.context]).toEqual(['full-vocab-fp16', 32, 12, 77]);
    expect(model.checksum).toMatch(/^[0-9a-f]{64}$/);
    // One logit of the stored network is its scale times the cosine.
    const cosine = pairCosines(images.subarray(0, 12), features.subarray(0, 12), 12)[0]!;
    expect(Math.abs(model.logitScale! * cosine - toFloat32(values.get('logits_per_image')!)[0]!)).toBeLessThan(1e-4);
  });
  test('a caption has the same features in any company', async () => {
    const many = Array.from({ length: 40 }, (_, i) => facts.captions[i % 6]!);
    const { features } = await model.textFeatures(many);
    const alone = await model.textFeatures([facts.captions[3]!]);
    expect(farthest(features.subarray(39 * 12, 40 * 12), alone.features)).toBeLessThan(1e-5);
  });
  test('cosines of cut captions that keep their end', async () => {
    const { cosines, value } = await clipScore(model, 'cosine', await model.imageFeatures(numbers('pixel_values_pil')), facts.captions);
    expect(farthest(cosines, numbers('cosine_pil'))).toBeLessThan(facts.tolerance.cosine);
    expect(value).toBeCloseTo(Array.from(numbers('cosine_pil')).reduce((a, b) => a + b) / 6, 5);
  });
  test("torchmetrics' score, of all and of pairs whose mean is below 0", async () => {
    const images = await model.imageFeatures(numbers('pixel_values_pil'));
    const want = facts.torchmetrics.pil_processor;
    const { cosines, value, tooLong } = await clipScore(model, 'torchmetrics', images, facts.captions);
    expect(
      farthest(
        cosines.map((c) => 100 * c),
        want.per_pair_100cos,
      ),
    ).toBeLessThan(facts.tolerance.score_100);
    expect(Math.abs(value - want.all)).toBeLessThan(facts.tolerance.score_100);
    expect(tooLong).toBe(1);
    const lowest = want.two_lowest_pairs.map((i) => cosines[i]!);
    expect(CLIP_SCORES.torchmetrics.score(Float64Array.from(lowest))).toBe(want.two_lowest_compute);
  });
  test("DMD2's tokens", async () => {
    const { ids } = await model.tokens(facts.captions, CLIP_SCORES.dmd2.text);
    expect(Array.from(ids, Number)).toEqual(Array.from(numbers('dmd2.token_ids')));
  });
  test('a convention without its prefix', async () => {
    const images = await model.imageFeatures(numbers('pixel_values_pil'));
    const plain = await clipScore(model, 'clip-s', images, facts.captions, { prefix: '', tokens: 'hf' });
    const cosines = Array.from(numbers('cosine_pil'));
    expect(plain.value).toBeCloseTo((2.5 * cosines.reduce((sum, c) => sum + Math.max(c, 0), 0)) / 6, 5);
  });
  test('ONNX exports of the towers give the same', async () => {
    const config = readClip('config', await readJson(join(folder, 'config.json')));
    const file = await openFolderWeights(folder);
    const weights = await readWeightsOf(file).finally(() => file.close());
    const dual = clipModel(constantScope(weights), config);
    const [pixels, ids, mask] = [
      input('pixel_values', ['N', 3, 32, 32]),
      input('input_ids', ['N', 77], 'int64'),
      input('attention_mask', ['N', 77], 'int64'),
    ];
    const embeds = { image_embeds: dual.image(pixels).features, text_embeds: dual.text(ids, mask).features };
    const paths = { image: join(scratch, 'vision.onnx'), text: join(scratch, 'text.onnx'), both: join(scratch, 'both.onnx') };
    writeFileSync(paths.image, toOnnx({ image_embeds: embeds.image_embeds }));
    writeFileSync(paths.text, toOnnx({ text_embeds: embeds.text_embeds }));
    writeFileSync(paths.both, toOnnx(embeds));
    const pictures = await model.imageFeatures(numbers('pixel_values_pil'));
    const { features } = await model.textFeatures(facts.captions);
    for (const onnx of [
      { image: paths.image, text: paths.text },
      { image: paths.both, text: paths.both },
    ]) {
      const exported = await openClip(folder, { onnx });
      expect(farthest(await exported.imageFeatures(numbers('pixel_values_pil')), pictures)).toBeLessThan(1e-5);
      expect(farthest((await exported.textFeatures(facts.captions)).features, features)).toBeLessThan(1e-5);
      expect([exported.dimensions, exported.logitScale]).toEqual([12, null]);
      await exported.close();
    }
    const half = await openClip(folder, { onnx: { text: paths.text } });
    await expect(half.imageFeatures(new Float32Array(0))).rejects.toThrow('clip: no ONNX file of the image tower was given');
    await expect(openClip(folder, { onnx: { image: paths.text } })).rejects.toThrow('none of them takes pixels');
    writeFileSync(join(scratch, 'no.onnx'), 'no');
    await expect(openClip(folder, { onnx: { image: join(scratch, 'no.onnx') } })).rejects.toThrow(InputError);
    await expect(openClip(folder, { onnx: { image: join(scratch, 'none.onnx') } })).rejects.toThrow('none.onnx: cannot read: no such file');
    await half.close();
  });
  test('weights beside the graph give what weights inside it give', async () => {
    const config = readClip('config', await readJson(join(folder, 'config.json')));
    const file = await openFolderWeights(folder);
    const weights = await readWeightsOf(file, (name) => name.startsWith('vision_model.') || name === 'visual_projection.weight').finally(
      () => file.close(),
    );
    const tower = await openTower(
      'tower',
      (scope) => clipModel(scope, config).image(input('pixels', ['N', 3, 32, 32])).features,
      weights,
      1,
      0,
    );
    const pixels = numbers('pixel_values_pil');
    const got = await tower.run({ pixels: { dtype: 'float32', shape: [6, 3, 32, 32], data: pixels } });
    expect(farthest(got, await model.imageFeatures(pixels))).toBeLessThan(1e-5);
    await tower.close();
  });
  test('what does not fit is said in a line', async () => {
    await expect(model.imageFeatures(new Float32Array(5))).rejects.toThrow(
      'clip: 5 values are no number of images [3,32,32], 3072 values each',
    );
    await expect(clipScore(model, 'cosine', new Float32Array(12), ['a', 'b'])).rejects.toThrow('2 captions for 1 images');
    await expect(clipScore(model, 'cosine', new Float32Array(0), [])).rejects.toThrow('as many of both are needed');
    await expect(
      model.tokenFeatures({ ids: new BigInt64Array(77).fill(50000n), mask: new BigInt64Array(77), length: 77, tooLong: [false] }),
    ).rejects.toThrow('token 50000 is not among the 49408');
    await expect(openClip(join(scratch, 'nowhere'))).rejects.toThrow('cannot read: no such file');
    await expect(openClip(scratch)).rejects.toThrow('holds neither config.json nor open_clip_config.json');
  });
});

describe.skipIf(!stored)('a folder of open_clip', () => {
  test('features are the stored ones', async () => {
    const model = await openClip(join(stored!, 'open-clip-tiny'));
    const { tensors } = await readSafetensors(join(stored!, 'open-clip-tiny.safetensors'));
    const facts = (await readJson(join(stored!, 'open-clip-tiny.json'))) as { tolerance: { absolute: Record<string, number> } };
    const images = await model.imageFeatures(toFloat32(tensors.get('image')!));
    expect(farthest(images, toFloat32(tensors.get('image_features')!))).toBeLessThan(facts.tolerance.absolute['image_features']!);
    const ids = BigInt64Array.from(toFloat32(tensors.get('ids')!), (v) => BigInt(v));
    const texts = await model.tokenFeatures({ ids, mask: new BigInt64Array(ids.length).fill(1n), length: 77, tooLong: [] });
    expect(farthest(texts, toFloat32(tensors.get('text_features')!))).toBeLessThan(facts.tolerance.absolute['text_features']!);
    await expect(model.textFeatures(['a cat'])).rejects.toThrow('no tokenizer in it');
    await model.close();
  });
  test('weights that do not fit the configuration are refused before they are read', async () => {
    const folder = clipFolder(stored!, 'open-clip-tiny', join(scratch, 'wrong'), []);
    const config = (await readJson(join(folder, 'open_clip_config.json'))) as { model_cfg: { text_cfg: Record<string, unknown> } };
    const write = (text: Record<string, unknown>): void =>
      writeFileSync(
        join(folder, 'open_clip_config.json'),
        JSON.stringify({ model_cfg: { ...config.model_cfg, text_cfg: { ...config.model_cfg.text_cfg, ...text } } }),
      );
    write({ layers: 3 });
    await expect(openClip(folder)).rejects.toThrow('transformer.resblocks.2.ln_1.weight [24] is missing');
    write({ vocab_size: 300 });
    await expect(openClip(folder)).rejects.toThrow('token_embedding.weight is [256,24], should be [300,24]');
    write({ layers: 1 });
    await expect(openClip(folder)).rejects.toThrow('is not part of the network');
  });
});

test('a folder of SigLIP: images and texts, its scale and its bias', async () => {
  const path = dirname(goldenPath('transformers/siglip/config.json')!);
  const model = await openClip(path);
  const { tensors } = await readSafetensors(`${path}.safetensors`);
  const values = (name: string): Float32Array => toFloat32(tensors.get(name)!);
  const images = await model.imageFeatures(values('pixel_values'));
  const units = images.map((v, i) => v / Math.hypot(...images.subarray(20 * Math.floor(i / 20), 20 * Math.floor(i / 20) + 20)));
  expect(farthest(units, values('image_embeds'))).toBeLessThan(1e-5);
  const ids = BigInt64Array.from(values('input_ids'), (v) => BigInt(v));
  // The second of the stored texts was masked, which no published use of SigLIP does.
  const texts = await model.tokenFeatures({ ids, mask: ids, length: 9, tooLong: [] });
  const logit = model.logitScale! * pairCosines(images.subarray(0, 20), texts.subarray(0, 20), 20)[0]! + model.logitBias;
  expect(Math.abs(logit - values('logits_per_image')[0]!)).toBeLessThan(1e-4);
  expect([model.preprocessing.fit, model.preprocessing.mean, model.imageSize, model.context]).toEqual(['squash', [0.5, 0.5, 0.5], 24, 9]);
  await model.close();
});

describe('conventions', () => {
  const cosines = Float64Array.of(0.5, -0.25, 0.2);
  test('each differs from the others by what its line says', () => {
    expect(CLIP_SCORES['clip-score'].score(cosines)).toBeCloseTo(70 / 3, 12);
    expect(CLIP_SCORES.torchmetrics.score(cosines)).toBeCloseTo(45 / 3, 12);
    expect(CLIP_SCORES['clip-s'].score(cosines)).toBeCloseTo((2.5 * 0.7) / 3, 12);
    expect(CLIP_SCORES.dmd2.score(cosines)).toBeCloseTo(0.15, 12);
    expect(CLIP_SCORES.cosine.score(cosines)).toBeCloseTo(0.15, 12);
    expect(CLIP_SCORES.torchmetrics.score(Float64Array.of(-0.5, 0.1))).toBe(0);
    expect(CLIP_SCORES['clip-score'].score(Float64Array.of(-0.5, 0.1))).toBeCloseTo(5, 12);
  });
  test('cosines do not depend on lengths; a picture is like itself', () => {
    const a = Float32Array.of(3, 4, 1, 0);
    expect(Array.from(pairCosines(a, Float32Array.of(4, 3, 0, 2), 2))).toEqual([0.96, 0]);
    expect(
      imageSimilarity(
        a,
        a.map((v) => 7 * v),
        2,
      ),
    ).toBeCloseTo(1, 12);
    expect(() => pairCosines(a, new Float32Array(2), 2)).toThrow(InputError);
  });
});
