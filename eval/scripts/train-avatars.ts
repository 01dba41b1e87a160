/**
 * @file Makes the avatar encoder of `artifacts/`: `npx tsx eval/scripts/train-avatars.ts [--steps N] [--out FOLDER]`. About six minutes of one core.
 * Pictures are DiceBear's pixel art (designs CC0 1.0), drawn here; captions say what they were drawn with.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { packageRoot } from '../../data/artifacts.ts';
import { writeAtomic } from '../../engine/io/atomic.ts';
import { fromFloat32, writeSafetensors } from '../../engine/io/safetensors.ts';
import { fillUniform, streamKey } from '../../engine/random/philox.ts';
import type { SingleTraining } from '../../engine/train/single.ts';
import { hfTokenizer, tokenBatch } from '../../models/foreign/tokenizer.ts';
import { CAPTION_CHANCES, captionOf } from '../avatars/captions.ts';
import { AVATAR_FILES, avatarNetwork } from '../avatars/network.ts';
import { retrievalAccuracy } from '../avatars/retrieval.ts';
import { trainPairs } from '../avatars/train.ts';
import { openClip } from '../clip/clip.ts';
import { AVATAR_SIZE, type Drawing, drawAvatar, isHeldOut } from './draw-avatars.ts';

const DRAWN = 24_000;
const AMONG = 100;
const TRAINING: SingleTraining = {
  ...{ steps: 1200, batch: 128, seed: 0, rate: 1.5e-3, warmup: 100 },
  ...{ average: 'constant:0.99', weightDecay: 0.02, threads: 1 },
};

async function main(steps: number, out: string): Promise<void> {
  const training = { ...TRAINING, steps };
  const begin = performance.now();
  const seconds = (): string => `${((performance.now() - begin) / 1000).toFixed(0)} s`;
  const items: Drawing[] = [];
  for (let i = 0; i < DRAWN; i++) items.push(await drawAvatar(String(i)));
  const [train, heldOut] = [items.filter((item) => !isHeldOut(item)), items.filter(isHeldOut)];
  console.log(`${train.length} drawings to train on, ${heldOut.length} held out, ${seconds()}`);

  const tokenizer = hfTokenizer({
    pipeline: AVATAR_FILES['tokenizer.json'] as Record<string, unknown>,
    config: AVATAR_FILES['tokenizer_config.json'] as Record<string, unknown>,
    where: 'tokenizer.json',
  });
  const each = 3 * AVATAR_SIZE * AVATAR_SIZE;
  const batchOf = (step: number) => {
    const { batch, seed } = training;
    const chance = new Float32Array(batch * (1 + CAPTION_CHANCES));
    fillUniform(chance, streamKey(seed, step, 'avatars.batch'), 1 + CAPTION_CHANCES);
    const images = new Float32Array(batch * each);
    const captions = Array.from({ length: batch }, (_, i) => {
      const [which, ...order] = chance.subarray(i * (1 + CAPTION_CHANCES), (i + 1) * (1 + CAPTION_CHANCES));
      const item = train[Math.floor(which! * train.length)]!;
      images.set(item.pixels, i * each);
      return captionOf(item.options, order);
    });
    return { images, ids: tokenBatch(tokenizer, captions).ids };
  };
  const weights = await trainPairs(avatarNetwork(), training, batchOf, ({ step, terms }) => {
    if (step % 50 === 0) console.log(`step ${step}: loss ${terms['encoder/loss']!.toFixed(4)}, ${seconds()}`);
  });

  await mkdir(out, { recursive: true });
  for (const [name, content] of Object.entries(AVATAR_FILES)) await writeAtomic(join(out, name), `${JSON.stringify(content, null, 1)}\n`);
  const stored = [...weights].map(([name, { shape, data }]) => [name, fromFloat32(data, shape, 'F16')] as const);
  const path = join(out, 'model.safetensors');
  await writeSafetensors(path, stored, {});
  // Measured with the rounded weights: they are what is shipped.
  const encoder = await openClip(out);
  const pixels = new Float32Array(heldOut.length * each);
  heldOut.forEach((item, i) => {
    pixels.set(item.pixels, i * each);
  });
  const images = await encoder.imageFeatures(pixels);
  const { features: texts } = await encoder.textFeatures(heldOut.map((item) => captionOf(item.options)));
  await encoder.close();
  const found = retrievalAccuracy(images, texts, encoder.dimensions, AMONG);
  const back = retrievalAccuracy(texts, images, encoder.dimensions, AMONG);
  await writeSafetensors(path, stored, {
    origin: "eval/scripts/train-avatars.ts, trained on drawings of DiceBear's pixel art (CC0 1.0)",
    top1_among_100: found.toFixed(4),
    top1_among_100_of_captions: back.toFixed(4),
    batch: String(training.batch),
    seed: String(training.seed),
    steps: String(steps),
  });
  console.log(`held out, among ${AMONG}: pictures find their captions ${found}, captions their pictures ${back}; ${seconds()}`);
}

const { values } = parseArgs({ options: { steps: { type: 'string' }, out: { type: 'string' } } });
await main(Number(values.steps ?? TRAINING.steps), values.out ?? join(packageRoot(), 'artifacts', 'avatar-encoder'));
