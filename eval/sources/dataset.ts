/** @file The data sets that the project knows by name, one part of them: `fashion-mnist#test`, `digits#train`. */
import { existsSync, statSync } from 'node:fs';
import { isCifarFolder } from '../../data/cifar.ts';
import { type Dataset, imageBytes } from '../../data/dataset.ts';
import { isIdxFolder } from '../../data/idx.ts';
import { DATASET_SPECS, loadDataset } from '../../data/registry.ts';
import { InputError } from '../../engine/io/errors.ts';
import { type Container, interleave } from './container.ts';

/** What a part may be called. */
const PARTS = {
  train: 'train',
  test: 'heldOut',
  heldout: 'heldOut',
  'held-out': 'heldOut',
  val: 'heldOut',
  validation: 'heldOut',
} as const;

/** Whether a name without its part is a data set: a bare name, `format:<folder>`, or a folder of IDX or CIFAR-10 files. */
export function isDataset(name: string): boolean {
  const formats = DATASET_SPECS.filter((spec) => spec.endsWith(':<folder>')).map((spec) => spec.slice(0, -'<folder>'.length));
  if (DATASET_SPECS.includes(name) || formats.some((format) => name.startsWith(format))) return true;
  return existsSync(name) && statSync(name).isDirectory() && (isIdxFolder(name) || isCifarFolder(name));
}

/** Container of one part of a data set, which is in memory as a whole. */
export function datasetContainer(dataset: Dataset): Container {
  const { size, width, height, labels, classes, images } = dataset;
  const channels = dataset.channels as 1 | 3;
  const each = imageBytes(dataset);
  return {
    count: size,
    classes,
    async *items(from, to) {
      for (let i = from; i < Math.min(to, size); i++) {
        const load = async () => ({ pixels: interleave(images.subarray(i * each, (i + 1) * each), channels), width, height, channels });
        yield { name: `${dataset.name}[${i}]`, label: labels?.[i] ?? null, caption: null, load };
      }
    },
    async digest(hash) {
      hash.update(`${size} ${dataset.channels} ${height} ${width}\n`).update(images);
      if (labels) hash.update(Int32Array.from(labels));
    },
    async close() {},
  };
}

/**
 * @param name as `loadDataset` takes it
 * @param part `train`, or `test` with its other names; without it the error names both
 */
export async function openDatasetImages(name: string, part: string | null): Promise<Container> {
  if (part === null || !Object.hasOwn(PARTS, part)) {
    const wrong = part === null ? 'names no part' : `has no part ${JSON.stringify(part)}`;
    throw new InputError(
      `images: ${name} ${wrong}; ${name}#train or ${name}#test (also ${Object.keys(PARTS).slice(2).join(', ')}) expected`,
    );
  }
  return datasetContainer((await loadDataset(name))[PARTS[part as keyof typeof PARTS]]);
}
