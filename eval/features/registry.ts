/** @file Feature extractors by name, so that a worker thread can be told which one to open. */
import { classifierExtractor } from './classifier.ts';
import type { Extractor } from './extractor.ts';

/** Opens an extractor that computes on one thread. */
export const extractors = {
  'digit classifier': () => classifierExtractor('digits'),
  'fashion classifier': () => classifierExtractor('fashion-mnist'),
} as const satisfies Readonly<Record<string, () => Promise<Extractor>>>;
export type ExtractorId = keyof typeof extractors;
