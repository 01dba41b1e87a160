/** @file Features of the sides that are images, in a pool, with the cache and the progress of the command line. */
import { availableParallelism } from 'node:os';
import { InputError } from '../../engine/io/errors.ts';
import { evaluatedAs } from '../../eval/evaluation.ts';
import { cacheFolder, type FeatureCache, openFeatureCache } from '../../eval/features/cache.ts';
import type { ExtractorFacts, ExtractorSpec } from '../../eval/features/extractor.ts';
import { type FindOptions, findExtractor, usualExtractor } from '../../eval/features/find.ts';
import { type FeatureSet, featureSet } from '../../eval/metric.ts';
import { type ExtractedSet, type ExtractProgress, type FeaturePool, openPool } from '../../eval/pool.ts';
import { type Flat, valuesOf } from '../config.ts';
import { familyOf } from './measuring.ts';
import { featureGroup } from './side-options.ts';
import type { ImageSide, Side } from './sides.ts';

export interface Extracting {
  readonly pool: FeaturePool;
  readonly cache: FeatureCache | null;
  /** Features of a side's images. */
  extract(side: ImageSide, spec: ExtractorSpec): Promise<ExtractedSet>;
  close(): Promise<void>;
}

export interface ExtractingOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: (name: string, progress: ExtractProgress) => void;
}

/** Where features are kept: the folder, or nowhere. */
export const folderOf = (cache: string): string | null => (cache === 'none' ? null : cache === '' ? cacheFolder() : cache);

export function openExtracting(flat: Flat, { signal, onProgress }: ExtractingOptions): Extracting {
  const { workers, cache: where, unreadable } = valuesOf(featureGroup, flat);
  const pool = openPool({ threads: workers || availableParallelism() });
  const folder = folderOf(where);
  const cache = folder === null ? null : openFeatureCache(folder);
  return {
    pool,
    cache,
    extract: (side, spec) =>
      pool.extract(side.source, spec, {
        unreadable,
        cache,
        ...(signal ? { signal } : {}),
        ...(onProgress ? { onProgress: (progress) => onProgress(side.name, progress) } : {}),
      }),
    close: () => pool.close(),
  };
}

/** What the options say of the extractor. */
export function findOptions(flat: Flat): Required<FindOptions> {
  const { weights, acceptWeights, tap, scale, resize, cache } = valuesOf(featureGroup, flat);
  const orNull = (word: string): string | null => (word === '' ? null : word);
  return {
    resize: orNull(resize),
    weights: orNull(weights),
    acceptWeights,
    tap: orNull(tap),
    scale: orNull(scale),
    cache: folderOf(cache) ?? cacheFolder(),
  };
}

/** The extractor that is meant by the options, or what suits the sides: of stored features the network that gave them, of a data set its classifier. */
export async function extractorFor(flat: Flat, sides: readonly Side[], features = ''): Promise<ExtractorSpec> {
  const { extractor } = valuesOf(featureGroup, flat);
  const options = findOptions(flat);
  if (features !== '') {
    if (!features.endsWith('.onnx')) throw new InputError(`features: ${features} is no .onnx file; name other networks with --extractor`);
    if (extractor !== 'auto') throw new InputError(`features: an .onnx file and --extractor ${extractor} were given; leave one out`);
    return findExtractor(features, options);
  }
  if (extractor !== 'auto') return findExtractor(extractor, options);
  const stored = sides.flatMap((side) => (side.kind === 'stored' ? [side.set.extractor?.name] : [])).find((name) => name !== undefined);
  if (stored !== undefined) return storedExtractor(stored, options);
  if (options.tap !== null || options.scale !== null) throw new InputError(`tap: belongs to an .onnx file; name it with --features`);
  const data = sides.map((side) => (side.kind === 'images' ? evaluatedAs(side.data) : null)).find((one) => one !== null);
  return data && options.weights === null ? findExtractor(data, options) : usualExtractor(options);
}

/** The extractor whose features a file holds. */
async function storedExtractor(name: string, options: FindOptions): Promise<ExtractorSpec> {
  const known: Readonly<Record<string, string>> = {
    'digit classifier': 'digits',
    'fashion classifier': 'fashion-mnist',
    'random features': 'random',
    'FID Inception': 'inception',
    'nsfwjs InceptionV3': 'nsfwjs',
  };
  const tap = /^FID Inception, tap (\d+)$/.exec(familyOf(name))?.[1];
  if (tap !== undefined) return findExtractor('inception', { ...options, tap: options.tap ?? tap });
  const family = familyOf(name);
  if (known[family] === undefined)
    throw new InputError(`extractor: the stored features are of ${name}; name it for the images too, with --extractor or --features`);
  return findExtractor(known[family], options);
}

/** A side as metrics see it. */
export function asFeatureSet(name: string, set: ExtractedSet): FeatureSet {
  const { facts, n, features, logits, labels } = set;
  return featureSet(features, facts.dimensions, {
    name,
    n,
    extractor: { name: facts.name, checksum: facts.checksum },
    logits: logits && { values: logits, classes: facts.classes },
    labels,
  });
}

/** In a report. */
export const extractorJson = ({ name, checksum, dimensions, resize }: ExtractorFacts): Flat => ({
  name,
  sha256: checksum,
  dimensions,
  resize,
});
