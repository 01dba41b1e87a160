/** @file Captions of avatars, their tokens, the contrastive loss in closed form, a short training, retrieval, and the encoder that is shipped. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { packageRoot } from '../../data/artifacts.ts';
import { gradients } from '../../engine/graph/gradients.ts';
import { constant, input } from '../../engine/graph/ops/leaf.ts';
import { evaluate } from '../../engine/graph/reference.ts';
import { InputError } from '../../engine/io/errors.ts';
import { hfTokenizer, tokenBatch } from '../../models/foreign/tokenizer.ts';
import { AVATAR_SIZE, drawAvatar, isHeldOut } from '../scripts/draw-avatars.ts';
import { CAPTION_CHANCES, captionOf } from './captions.ts';
import { AVATAR_SCORE, avatarScore, openAvatarEncoder } from './encoder.ts';
import { AVATAR_FILES, avatarNetwork } from './network.ts';
import { retrievalAccuracy } from './retrieval.ts';
import { pairLoss, trainPairs } from './train.ts';

type Json = Readonly<Record<string, unknown>>;
const tokenizer = hfTokenizer({
  pipeline: AVATAR_FILES['tokenizer.json'] as Json,
  config: AVATAR_FILES['tokenizer_config.json'] as Json,
  where: 'tokenizer.json',
});
const drawings = await Promise.all(Array.from({ length: 60 }, (_, i) => drawAvatar(`test ${i}`)));

describe('captions', () => {
  const options = {
    ...{ hair: 'long03', hairColor: '#28150a', skinColor: '#ffdbac', clothing: 'variant01', clothingColor: '#03396c', mouth: 'sad02' },
    ...{ eyes: 'variant03', eyesColor: '#588387', glasses: 'dark01', hat: 'variant02', hatColor: '#a62116' },
  };
  test('say what is drawn and nothing else', () => {
    expect(captionOf(options)).toBe(
      'a person with long black hair, very pale skin, a navy top, green eyes, no smile, dark glasses and a red hat',
    );
  });
  test('in another order they say the same', () => {
    const words = (caption: string): readonly string[] =>
      caption
        .replace(/^.*?with /, '')
        .split(/, | and /)
        .sort();
    const chance = Array.from({ length: CAPTION_CHANCES }, (_, i) => (i * 0.37 + 0.6) % 1);
    expect(captionOf(options, chance)).not.toBe(captionOf(options));
    expect(words(captionOf(options, chance))).toEqual(words(captionOf(options)));
  });
  test('every word is known, fits the context, and other words are spelt', () => {
    const { ids, tooLong } = tokenBatch(
      tokenizer,
      drawings.map((d) => captionOf(d.options)),
    );
    expect(tooLong.some(Boolean)).toBe(false);
    expect(ids.includes(2n)).toBe(false); // [UNK]
    expect(tokenizer.words('Zebra').length).toBe(5);
    expect([tokenizer.start, tokenizer.end, tokenizer.pad, tokenizer.limit]).toEqual([[1], [3], 0, 48]);
  });
});

describe('the loss', () => {
  test('equal logits cost ln n; its gradient is that of softmax', () => {
    const logits = input('logits', [3, 3]);
    const loss = pairLoss(logits);
    const [value, slope] = evaluate([loss, gradients(loss, [logits])[0]!], { logits: new Float64Array(9).fill(2) });
    expect(value!.data[0]).toBeCloseTo(Math.log(3), 12);
    // d/dz of the mean over rows and columns: (p − 1)/n at the diagonal, p/n elsewhere, with p = 1/3.
    Array.from(slope!.data).forEach((v, i) => {
      expect(v).toBeCloseTo(((i % 4 === 0 ? -2 : 1) * 1) / 9, 12);
    });
  });
  test('certain pairs cost nothing', () => {
    const sure = constant(Float64Array.of(50, 0, 0, 50), [2, 2]);
    expect(evaluate([pairLoss(sure)], {})[0]!.data[0]).toBeLessThan(1e-12);
  });
});

test('a short training lowers the loss from about ln 16', async () => {
  const each = 3 * AVATAR_SIZE ** 2;
  const images = new Float32Array(16 * each);
  drawings.slice(0, 16).forEach(({ pixels }, i) => {
    images.set(pixels, i * each);
  });
  const { ids } = tokenBatch(
    tokenizer,
    drawings.slice(0, 16).map((d) => captionOf(d.options)),
  );
  const losses: number[] = [];
  const settings = { steps: 12, batch: 16, seed: 0, rate: 2e-3, warmup: 6, average: null, weightDecay: 0.02, threads: 1 };
  await trainPairs(
    avatarNetwork(),
    settings,
    () => ({ images, ids }),
    ({ terms }) => losses.push(terms['encoder/loss']!),
  );
  expect(losses.length).toBe(12);
  // One of 16 as likely as the others, but for the fresh network's own cosines times 14.
  expect(Math.abs(losses[0]! - Math.log(16))).toBeLessThan(2.5);
  expect(losses.at(-1)!).toBeLessThan(losses[0]! - 0.3);
});

describe('retrieval', () => {
  test('counts who finds its own, among its group alone; lengths do not matter', () => {
    const a = Float32Array.of(1, 0, 0, 2, 1, 0, 0, 1);
    const b = Float32Array.of(3, 0, 0, 1, 0, 1, 1, 0);
    expect(retrievalAccuracy(a, b, 2, 2)).toBe(0.5);
    expect(retrievalAccuracy(a, a, 2, 2)).toBe(1);
    expect(retrievalAccuracy(a, a, 2, 4)).toBe(0); // equal rows: nobody is found
    expect(() => retrievalAccuracy(a, b, 2, 5)).toThrow(InputError);
  });
});

describe.skipIf(!existsSync(join(packageRoot(), 'artifacts/avatar-encoder/model.safetensors')))('the shipped encoder', () => {
  test('most held-out drawings find their caption among a hundred, and a right caption scores above a wrong one', async () => {
    const heldOut = [];
    for (let i = 0; heldOut.length < 200; i++) {
      const drawing = await drawAvatar(`held out ${i}`);
      if (isHeldOut(drawing)) heldOut.push(drawing);
    }
    const encoder = await openAvatarEncoder();
    const pixels = new Float32Array(heldOut.length * 3 * AVATAR_SIZE ** 2);
    heldOut.forEach((drawing, i) => {
      pixels.set(drawing.pixels, i * drawing.pixels.length);
    });
    const captions = heldOut.map((d) => captionOf(d.options));
    const images = await encoder.imageFeatures(pixels);
    const { features } = await encoder.textFeatures(captions);
    expect(retrievalAccuracy(images, features, encoder.dimensions, 100)).toBeGreaterThan(0.6);
    const right = await avatarScore(encoder, images, captions);
    const wrong = await avatarScore(encoder, images, [...captions.slice(1), captions[0]!]);
    expect(right.name).toBe(AVATAR_SCORE);
    expect(right.value).toBeGreaterThan(wrong.value + 10);
    await encoder.close();
  });
});
