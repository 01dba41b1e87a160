/** @file Image towers of CLIP, SigLIP and DINOv2 folders as extractors of pictures, preprocessed as their own libraries do. */
import { InputError } from '../../engine/io/errors.ts';
import { openImageTower } from '../clip/image-tower.ts';
import { pixelsOf } from '../clip/preprocess.ts';
import { squareResizer } from '../clip/resizer.ts';
import type { PictureExtractor } from './extractor.ts';

const [BATCH, SHARD] = [16, 128];

/** @throws InputError as `openImageTower`, and for a rule of resizing other than the tower's own */
export async function openTowerPictures({
  folder,
  resize,
}: {
  readonly folder: string;
  readonly resize: string | null;
}): Promise<PictureExtractor> {
  if (resize !== null) throw new InputError(`resize: the files of ${folder} say how pictures are resized for it; leave --resize out`);
  const tower = await openImageTower(folder, { threads: 1 });
  const { preprocessing } = tower;
  const { size, shortSide, fit, filter, family } = preprocessing;
  const square = squareResizer(preprocessing);
  return {
    name: tower.name,
    checksum: tower.checksum,
    dimensions: tower.dimensions,
    classes: 0,
    resize: `${family} ${filter}, ${fit} ${shortSide} to ${size}, mean ${preprocessing.mean.join(' ')}, std ${preprocessing.std.join(' ')}`,
    channels: 3,
    batch: BATCH,
    shard: SHARD,
    prepare: (picture) => ({ values: pixelsOf([picture], preprocessing, square), shape: [3, size, size] }),
    run: async (values) => ({ features: await tower.features(values), logits: null }),
    close: () => tower.close(),
  };
}
