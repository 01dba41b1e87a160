/** @file The contract of metrics: sets of features in, a value with its interval and warnings out. */
import type { Options, Values } from '../engine/train/options.ts';
import type { Features, Moments } from './moments.ts';

/** Which network gave features. Distances between features of different ones mean nothing. */
export interface ExtractorIdentity {
  readonly name: string;
  /** SHA-256 of its weights, or null where a file does not say. */
  readonly checksum: string | null;
}

/** The name of the network whose Fréchet distance may be called FID; no other extractor has it. */
export const FID_EXTRACTOR = 'FID Inception';

/** Samples of one side as metrics see them. What is missing is null; a file of statistics has moments alone. */
export interface FeatureSet {
  /** What messages call it: a file, a folder, a run. */
  readonly name: string;
  /** Null where nothing says which network gave the features. */
  readonly extractor: ExtractorIdentity | null;
  /** Samples; null for statistics that do not say of how many they are. */
  readonly n: number | null;
  /** Features of a sample, d. */
  readonly dimensions: number;
  /** [n, d] */
  readonly features: Features | null;
  /** Of all samples; null where they are to be computed from the features. */
  readonly moments: Moments | null;
  /** [n, classes] */
  readonly logits: { readonly values: Features; readonly classes: number } | null;
  /** n classes that were asked for. */
  readonly labels: ArrayLike<number> | null;
  /** What was asked for beside classes, such as captions: n numbers, equal ones for equal conditions. */
  readonly conditions?: ArrayLike<number>;
  /** [n, …shape], 0..255 */
  readonly images: { readonly pixels: Uint8Array; readonly shape: readonly number[] } | null;
  /** [n, d]: features of what each sample belongs to, such as its caption or the same noise's sample of a teacher. */
  readonly pairs: Features | null;
}

/** What a metric takes of a side; `moments` are met by features too. */
export type Need = 'features' | 'moments' | 'logits' | 'images' | 'labels' | 'pairs';

/** A number, and how sure it is. */
export interface Measured {
  readonly value: number;
  /** Ends of the interval of about 95 % that holds the value; null where there is none. */
  readonly low: number | null;
  readonly high: number | null;
  /** One line each: too few samples, and which way that moves the value. */
  readonly warnings: readonly string[];
  /** Figures beside the value that other tools report, such as the spread over subsets. */
  readonly details?: Readonly<Record<string, number>>;
}

/** One metric is one value of this type in one file of `eval/metrics`, found by its id in `eval/metrics/index.ts`. */
export interface Metric<S extends Options = Options> {
  /** As the command line and JSON write it: `frechet`, `kid`. */
  readonly id: string;
  /** As tables write it. */
  readonly label: string;
  /** The paper. */
  readonly source: string;
  readonly better: 'lower' | 'higher' | null;
  readonly needs: { readonly generated: readonly Need[]; readonly reference: readonly Need[] };
  /** Default, range and help of each; a name in two metrics is one setting. */
  readonly settings: S;
  /**
   * @param reference null where the metric needs none and there is none
   * @throws InputError for sets that are too small or do not fit each other
   */
  compute(generated: FeatureSet, reference: FeatureSet | null, settings: Values<S>): Promise<Measured>;
}

/** Keeps the type of the settings inside a metric, and leaves it out outside, so that metrics go into one list. */
export const defineMetric = <S extends Options>(metric: Metric<S>): Metric => metric as unknown as Metric;

/** A set of features alone; `more` adds what else is known. */
export const featureSet = (
  features: Features,
  dimensions: number,
  more: Partial<Omit<FeatureSet, 'features' | 'dimensions'>> = {},
): FeatureSet => ({
  name: 'features',
  extractor: null,
  n: features.length / dimensions,
  moments: null,
  logits: null,
  labels: null,
  images: null,
  pairs: null,
  ...more,
  features,
  dimensions,
});
