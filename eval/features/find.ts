/** @file Which extractor a name means: what the command line and configurations write, and what suits where nothing is said. */
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { InputError } from '../../engine/io/errors.ts';
import { didYouMean } from '../../engine/io/nearest.ts';
import { classifierSpec } from '../through-pool.ts';
import { cacheFolder } from './cache.ts';
import type { ExtractorSpec } from './extractor.ts';
import { findInception } from './inception-pictures.ts';
import { findNsfwjs, isNsfwjsThere } from './nsfwjs.ts';
import { type ClassifiedData, classifiedData } from './shipped.ts';
import { findInceptionWeights } from './weights-cache.ts';

/** What may be said of an extractor beside its name. */
export interface FindOptions {
  /** Rule of resizing; default (null): that of the extractor. */
  readonly resize?: string | null;
  /** File of weights; default (null): looked for, see docs/evaluation.md. */
  readonly weights?: string | null;
  /** Weights of another checksum are welcome; default: no. */
  readonly acceptWeights?: boolean;
  /** Which of its values are the features; default (null): the usual one. */
  readonly tap?: string | null;
  /** What the network of an ONNX file wants pixels to be; default (null): its own rule. */
  readonly scale?: string | null;
  /** Where converted networks and found weights are kept; default: the user's cache folder. */
  readonly cache?: string;
}
type Sought = Required<FindOptions>;

const sought = ({
  resize = null,
  weights = null,
  acceptWeights = false,
  tap = null,
  scale = null,
  cache = cacheFolder(),
}: FindOptions): Sought => ({ resize, weights, acceptWeights, tap, scale, cache });

interface Named {
  /** For help texts. */
  readonly help: string;
  /** @throws InputError where it is not there: one line that says how it comes there */
  find(options: Sought): Promise<ExtractorSpec>;
  /** Options that it knows beside the rule of resizing. */
  readonly takes?: readonly (keyof Sought)[];
  /** Whether `find` finds it: what stands first in the list is taken where nothing is said. */
  there(options: Sought): Promise<boolean>;
}

/** Extractors by name. What is taken of itself where pictures are no data set with a classifier: the first that is there. */
const named: Readonly<Record<string, Named>> = {
  inception: {
    help: 'the FID Inception, with the weights that it is defined by',
    takes: ['weights', 'tap'],
    find: (options) => findInception(options),
    there: async ({ weights }) => findInceptionWeights(weights) !== null,
  },
  nsfwjs: {
    help: 'the InceptionV3 of the npm package nsfwjs',
    find: (options) => findNsfwjs(options),
    there: async () => isNsfwjsThere(),
  },
  random: {
    help: 'a network of seeded random weights; random:SEED',
    find: async ({ resize }) => randomSpec(0, resize),
    there: async () => true,
  },
};
const CLASSIFIERS: Readonly<Record<string, ClassifiedData>> = Object.fromEntries(
  classifiedData.flatMap((data) => [[data, data] as const, [`${data} classifier`, data] as const]),
);

/** Names of extractors, for help texts. */
export const EXTRACTOR_NAMES: readonly string[] = [...Object.keys(named), ...classifiedData];

const randomSpec = (seed: number, resize: string | null): ExtractorSpec => ({ kind: 'random', options: { seed, resize } });

/** A network whose features are asked for with an option that it does not have. */
function checkIdle(name: string, options: Sought, may: readonly (keyof Sought)[]): void {
  const idle = (['weights', 'tap', 'scale'] as const).find((option) => options[option] !== null && !may.includes(option));
  if (idle)
    throw new InputError(`${idle}: has no effect on the extractor ${name}; leave --${idle} out, or name another one with --extractor`);
}

/**
 * The extractor of a name: one of `EXTRACTOR_NAMES`, `random:SEED`, an .onnx file, or the folder of a DINOv2, CLIP or SigLIP.
 * @throws InputError for anything else, and where it cannot be found
 */
export async function findExtractor(name: string, given: FindOptions = {}): Promise<ExtractorSpec> {
  const options = sought(given);
  const { resize, tap, scale } = options;
  const data = CLASSIFIERS[name];
  if (data) {
    checkIdle(name, options, []);
    return classifierSpec(data, resize);
  }
  const seed = /^random:(\d{1,9})$/.exec(name)?.[1];
  if (seed !== undefined) return randomSpec(Number(seed), resize);
  if (name.endsWith('.onnx')) {
    checkIdle(name, options, ['tap', 'scale']);
    return { kind: 'onnx', options: { path: name, tap, scale, resize } };
  }
  const own = Object.hasOwn(named, name) ? named[name] : undefined;
  if (own) {
    checkIdle(name, options, own.takes ?? []);
    return own.find(options);
  }
  if (existsSync(name) && statSync(name).isDirectory()) {
    if (!existsSync(join(name, 'config.json')) && !existsSync(join(name, 'open_clip_config.json')))
      throw new InputError(`extractor: ${name} holds no config.json; give the folder of a DINOv2, CLIP or SigLIP`);
    checkIdle(name, options, []);
    return { kind: 'tower', options: { folder: name, resize } };
  }
  throw new InputError(
    `extractor: there is no '${name}'${didYouMean(name, EXTRACTOR_NAMES)}; ${EXTRACTOR_NAMES.join(', ')}, an .onnx file or the folder of a DINOv2, CLIP or SigLIP expected`,
  );
}

/** What suits pictures of no known data set: the first network that is there. */
export async function usualExtractor(given: FindOptions = {}): Promise<ExtractorSpec> {
  const options = sought(given);
  for (const [name, { there }] of Object.entries(named)) if (await there(options)) return findExtractor(name, options);
  return randomSpec(0, options.resize);
}
