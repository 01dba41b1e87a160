/** @file Features of CLIP, SigLIP and DINOv2 image towers for sets of images in bytes, resized as each network wants them. */
import { openImageTower } from '../clip/image-tower.ts';
import { type Picture, pixelsOf, type Preprocessing, type SquareResizer } from '../clip/preprocess.ts';
import { InputError } from '../../engine/io/errors.ts';
import type { Extractor } from './extractor.ts';

export interface ClipExtractorOptions {
  /** Threads inside one operation; default 1. */
  readonly threads?: number;
  /** [C,H,W] of the images; C is 3, or 1 for grey ones, which count three times. */
  readonly sample: readonly [number, number, number];
  /** Who resizes, for what the network wants. */
  readonly resizer: (preprocessing: Preprocessing) => SquareResizer;
}
/** Images preprocessed at a time. */
const CHUNK = 64;

/** Image i of bytes [n,C,H,W] as [H,W,3]. */
function pictureOf(images: Uint8Array, i: number, [channels, height, width]: ClipExtractorOptions['sample']): Picture {
  const area = height * width;
  const from = i * channels * area;
  const pixels = new Uint8Array(3 * area);
  for (let c = 0; c < 3; c++) {
    const plane = from + (channels === 1 ? 0 : c * area);
    for (let j = 0; j < area; j++) pixels[3 * j + c] = images[plane + j]!;
  }
  return { pixels, height, width };
}

/**
 * The extractor of a folder as `openImageTower` takes it.
 * @throws InputError as `openImageTower`, and for images of neither one nor three channels
 */
export async function clipExtractor(folder: string, { threads = 1, sample, resizer }: ClipExtractorOptions): Promise<Extractor> {
  const [channels] = sample;
  if (channels !== 1 && channels !== 3) throw new InputError(`${folder}: images of ${channels} channels; 3 or 1 expected`);
  const tower = await openImageTower(folder, { threads });
  const resize = resizer(tower.preprocessing);
  const each = sample.reduce((a, b) => a * b);
  return {
    name: tower.name,
    checksum: tower.checksum,
    dimensions: tower.dimensions,
    async features(images, n) {
      if (images.length !== n * each)
        throw new InputError(`${tower.name}: ${images.length} bytes for ${n} images of [${sample}]; ${n * each} bytes expected`);
      const out = new Float32Array(n * tower.dimensions);
      for (let from = 0; from < n; from += CHUNK) {
        const rows = Array.from({ length: Math.min(CHUNK, n - from) }, (_, i) => pictureOf(images, from + i, sample));
        out.set(await tower.features(pixelsOf(rows, tower.preprocessing, resize)), from * tower.dimensions);
      }
      return { features: out, logits: null };
    },
    close: () => tower.close(),
  };
}
