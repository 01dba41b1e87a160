/** @file Files of statistics, mean and covariance: `.npz` as pytorch-fid and EDM write them, and safetensors. */
import { InputError } from '../../engine/io/errors.ts';
import { encodeNpy } from '../../engine/io/npy.ts';
import { fromFloat64, writeSafetensors } from '../../engine/io/safetensors.ts';
import { writeZip } from '../../engine/io/zip-write.ts';
import { type ExtractorIdentity, type FeatureSet, featureSet } from '../metric.ts';
import type { Features, Moments } from '../moments.ts';

/** What pytorch-fid, EDM and this project call the two. */
export const MEAN_NAMES: readonly string[] = ['mu', 'mean'];
export const COVARIANCE_NAMES: readonly string[] = ['sigma', 'covariance'];
/** The array of an .npz that says which network and how many samples: the bytes of a JSON object. Other tools pass it over. */
const FACTS = 'onestep';

interface Stored {
  readonly shape: readonly number[];
  readonly values: Features;
}

/**
 * A set that has statistics alone. The mean may be [d] or [1, d].
 * @throws InputError for sizes that do not fit, and values that are not finite
 */
export function statisticsSet(
  name: string,
  mean: Stored,
  covariance: Stored,
  n: number | null,
  extractor: ExtractorIdentity | null,
): FeatureSet {
  const d = mean.values.length;
  if (d < 1 || covariance.shape.length !== 2 || covariance.shape.some((size) => size !== d))
    throw new InputError(
      `${name}: a mean of [${mean.shape.join(', ')}] and a covariance of [${covariance.shape.join(', ')}]; [d] and [d, d] expected`,
    );
  if (!mean.values.every(Number.isFinite) || !covariance.values.every(Number.isFinite))
    throw new InputError(`${name}: a mean or a covariance that is not finite; all values must be`);
  const samples = n !== null && Number.isInteger(n) && n >= 2 ? n : null;
  const moments: Moments = {
    mean: Float64Array.from(mean.values),
    covariance: Float64Array.from(covariance.values),
    n: samples ?? Infinity,
  };
  return { ...featureSet(new Float64Array(0), d, { name, extractor, moments }), features: null, n: samples };
}

/** What the array of facts says of the extractor; null where there is none, or one of somebody else. */
export async function identityOf(names: readonly string[], facts: () => Promise<ArrayLike<unknown>>): Promise<ExtractorIdentity | null> {
  if (!names.includes(FACTS)) return null;
  try {
    const said = JSON.parse(new TextDecoder().decode(Uint8Array.from((await facts()) as ArrayLike<number>))) as Readonly<
      Record<string, unknown>
    >;
    const { extractor, extractorSha256 } = said;
    if (typeof extractor !== 'string') return null;
    return { name: extractor, checksum: typeof extractorSha256 === 'string' ? extractorSha256 : null };
  } catch {
    return null;
  }
}

/**
 * Writes moments as `mu` and `sigma` in float64, with their number of samples and the extractor: `.npz`, which pytorch-fid and EDM read, or `.safetensors`.
 * @throws InputError for another ending
 */
export async function writeStatistics(path: string, { mean, covariance, n }: Moments, extractor: ExtractorIdentity | null): Promise<void> {
  const d = mean.length;
  const facts = {
    ...(Number.isFinite(n) ? { samples: String(n) } : {}),
    ...(extractor ? { extractor: extractor.name } : {}),
    ...(extractor?.checksum ? { extractorSha256: extractor.checksum } : {}),
  };
  if (path.toLowerCase().endsWith('.safetensors'))
    return writeSafetensors(path, { mu: fromFloat64(mean, [d]), sigma: fromFloat64(covariance, [d, d]) }, facts);
  if (!path.toLowerCase().endsWith('.npz')) throw new InputError(`${path}: statistics are written as .npz or .safetensors`);
  const said = new TextEncoder().encode(JSON.stringify(facts));
  return writeZip(path, {
    'mu.npy': encodeNpy({ shape: [d], data: mean }),
    'sigma.npy': encodeNpy({ shape: [d, d], data: covariance }),
    ...(Number.isFinite(n) ? { 'n.npy': encodeNpy({ shape: [], data: BigInt64Array.of(BigInt(n)) }) } : {}),
    [`${FACTS}.npy`]: encodeNpy({ shape: [said.length], data: said }),
  });
}
