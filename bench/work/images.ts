/** @file Images per second from JPEG files on disk to moments with the FID Inception: decoding, resizing, the network, mean and covariance. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { input } from '../../engine/graph/ops/leaf.ts';
import { fromFloat32, writeSafetensors } from '../../engine/io/safetensors.ts';
import { recordingScope } from '../../engine/train/weights.ts';
import { findInception } from '../../eval/features/inception-pictures.ts';
import { momentsFast } from '../../eval/moments-fast.ts';
import { openPool } from '../../eval/pool.ts';
import { openImages } from '../../eval/sources/index.ts';
import { inception } from '../../models/foreign/inception.ts';
import { formulaWeights } from '../../models/foreign/testing/formula-weights.ts';
import { writeExchange } from '../exchange.ts';
import type { Work } from './training.ts';

/** Of a round, and the side of each. */
export const IMAGES = 128;
const SIDE = 256;

/** Gradients and waves with a little grain, so that JPEG has something to do. */
function picture(i: number): Buffer {
  const pixels = Buffer.alloc(3 * SIDE * SIDE);
  for (let y = 0; y < SIDE; y++)
    for (let x = 0; x < SIDE; x++)
      for (let c = 0; c < 3; c++) {
        const wave = Math.sin((x * (1 + (i % 7)) + y * (2 + c)) / 23 + i) + Math.cos((y - x * (i % 5)) / 17);
        const grain = ((x * 7919 + y * 104729 + i * 31 + c * 17) % 97) / 97 - 0.5;
        pixels[3 * (y * SIDE + x) + c] = Math.max(0, Math.min(255, 128 + 50 * wave + 30 * grain));
      }
  return pixels;
}

async function writePictures(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  for (let i = 0; i < IMAGES; i++) {
    const jpeg = await sharp(picture(i), { raw: { width: SIDE, height: SIDE, channels: 3 } })
      .jpeg({ quality: 90 })
      .toBuffer();
    await writeFile(join(folder, `${String(i).padStart(4, '0')}.jpg`), jpeg);
  }
}

/** A round measures all pictures without the cache. The peer finds pictures and weights in `folder`. */
export async function imagesWork(threads: number, folder: string | null): Promise<Work> {
  const own = folder ?? (await mkdtemp(join(tmpdir(), 'onestep-bench-images-')));
  const [pictures, weights] = [join(own, 'pictures'), join(own, 'weights.safetensors')];
  await writePictures(pictures);
  const { scope, declared } = recordingScope('net');
  inception(scope, input('images', ['N', 3, 299, 299])).logits();
  const made = formulaWeights(declared.values());
  await writeSafetensors(
    weights,
    [...made].map(([name, { data, shape }]) => [name, fromFloat32(data, shape)] as const),
  );
  if (folder) await writeExchange(folder, Object.fromEntries(made));
  const pool = openPool({ threads: threads || availableParallelism() });
  const spec = await findInception({ weights, acceptWeights: true, tap: null, resize: 'pytorch' });
  return {
    facts: { images: IMAGES, side: SIDE, workers: threads || availableParallelism() },
    async round() {
      const source = await openImages(pictures);
      const { features, facts } = await pool.extract(source, spec).finally(() => source.close());
      const { mean, covariance } = await momentsFast(features, facts.dimensions);
      return [...mean.subarray(0, 8), ...covariance.subarray(0, 8)];
    },
    async close() {
      await pool.close();
      if (!folder) await rm(own, { recursive: true, force: true });
    },
  };
}
