/** @file Image bytes of a data set through a pool of worker threads, as evaluations want their features. */
import type { Extraction, ExtractorSpec } from './features/extractor.ts';
import { type ClassifiedData, shippedClassifiers } from './features/shipped.ts';
import type { FeaturePool } from './pool.ts';
import { memoryImages } from './sources/memory.ts';

export const classifierSpec = (data: ClassifiedData, resize: string | null = null): ExtractorSpec => ({
  kind: 'classifier',
  options: { data, resize },
});

/** n images [n,1,size,size] to the features and logits of the classifier of their data set. */
export function throughPool(pool: FeaturePool, data: ClassifiedData): (images: Uint8Array, n: number) => Promise<Extraction> {
  const { size } = shippedClassifiers[data];
  return (images, n) => pool.extract(memoryImages(data, { images, n, shape: [1, size, size] }), classifierSpec(data));
}
