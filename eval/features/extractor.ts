/** @file The contracts of feature extractors: pictures or image bytes in, features and perhaps logits out. */
import type { Picture } from '../../data/image.ts';

export interface Extraction {
  /** [n, dimensions] */
  readonly features: Float32Array;
  /** [n, classes], or null where the network does not classify. */
  readonly logits: Float32Array | null;
}

/**
 * A network that turns images into features. It takes bytes, and so do real images and generated ones alike: samples are rounded to
 * bytes first, because a difference between floats and bytes would count as a difference between the sets.
 */
export interface Extractor {
  readonly name: string;
  /** SHA-256 of the weights: distances compare only within one checksum. */
  readonly checksum: string;
  /** Features per image. */
  readonly dimensions: number;
  /**
   * n images [n,C,H,W], 0..255. The result of an image does not depend on the others.
   * @throws InputError for images of a size that the network does not take
   */
  features(images: Uint8Array, n: number): Promise<Extraction>;
  close(): Promise<void>;
}

/** What is said of an extractor wherever a number of it is shown; plain data. */
export interface ExtractorFacts {
  readonly name: string;
  /** SHA-256 of the weights: distances compare only within one checksum. */
  readonly checksum: string;
  /** Features per image. */
  readonly dimensions: number;
  /** Classes of the logits; 0 where there are none. */
  readonly classes: number;
  /** How pictures of any size become its input; `none` where they must have the right size. Other rules give other features. */
  readonly resize: string;
  /** What is to be said beside its numbers, in a line. */
  readonly note?: string;
}

/** A picture as the network takes it: [channels, height, width]. */
export interface Prepared {
  readonly values: Float32Array;
  readonly shape: readonly [channels: number, height: number, width: number];
}

/** An extractor opened by a worker thread. Pictures of a batch go through the network together. */
export interface PictureExtractor extends ExtractorFacts {
  /** Channels in which pictures are decoded. */
  readonly channels: 1 | 3;
  /** Pictures in one run of the network, at most. */
  readonly batch: number;
  /** Pictures of one task of a worker. It is fixed by the kind of network, because the last bit of a value may depend on the batch. */
  readonly shard: number;
  /** Resizes and scales. @throws InputError, without the picture's name, for a size that the network does not take */
  prepare(picture: Picture): Prepared;
  /** values [n, …shape] → features and logits. @throws InputError where the network refuses the shape */
  run(values: Float32Array, n: number, shape: Prepared['shape']): Promise<Extraction>;
  close(): Promise<void>;
}

/** Names an extractor so that any thread can open it: plain data. */
export interface ExtractorSpec {
  /** Key of the registry. */
  readonly kind: string;
  readonly options: Readonly<Record<string, string | number | boolean | null>>;
}
