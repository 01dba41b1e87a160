/** @file The shipped classifiers as extractors of pictures. */
import { InputError } from '../../engine/io/errors.ts';
import { classifierExtractor } from './classifier.ts';
import type { PictureExtractor } from './extractor.ts';
import { AS_THEY_ARE, preparer } from './inputs.ts';
import { type ClassifiedData, classifiedData, type ShippedClassifier, shippedClassifiers } from './shipped.ts';

/** As `onestep evaluate` has always cut sets for these networks: its numbers are kept to the last bit. */
const [SHARD, BATCH] = [500, 250];

export async function openClassifier({
  data,
  resize,
}: {
  readonly data: string;
  readonly resize: string | null;
}): Promise<PictureExtractor> {
  const known = classifiedData.find((name) => name === data);
  if (!known) throw new InputError(`extractor: there is no classifier of ${data}; there are those of ${classifiedData.join(', ')}`);
  return pictures(known, resize ?? AS_THEY_ARE);
}

async function pictures(data: ClassifiedData, resize: string): Promise<PictureExtractor> {
  const { size, network }: ShippedClassifier = shippedClassifiers[data];
  const prepare = preparer({ channels: 1, side: size, resize, scale: '-1..1' });
  const extractor = await classifierExtractor(data);
  return {
    name: extractor.name,
    checksum: extractor.checksum,
    dimensions: extractor.dimensions,
    classes: network.classes,
    resize,
    channels: 1,
    batch: BATCH,
    shard: SHARD,
    prepare,
    run: (values, n) => extractor.run(values, n),
    close: () => extractor.close(),
  };
}
