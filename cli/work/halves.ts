/** @file Two parts of a set that share no sample, for what a set measures against itself. */
import { permutation, streamKey } from '../../engine/random/philox.ts';
import type { FeatureSet } from '../../eval/metric.ts';
import type { Features } from '../../eval/moments.ts';

function rows(features: Features, d: number, chosen: Uint32Array): Features {
  const out = features instanceof Float32Array ? new Float32Array(chosen.length * d) : new Float64Array(chosen.length * d);
  chosen.forEach((row, i) => {
    out.set(features.subarray(row * d, (row + 1) * d), i * d);
  });
  return out;
}

/** Of `n` samples each, fewer where there are not twice as many; drawn by the seed. Null where there is no sample for each. */
export function splitInHalves(
  set: FeatureSet,
  n: number,
  seed: number,
): { readonly generated: FeatureSet; readonly reference: FeatureSet } | null {
  const { features, n: all, dimensions: d } = set;
  if (!features || all === null || all < 2) return null;
  const each = Math.min(n, Math.floor(all / 2));
  const order = permutation(all, streamKey(seed, 0, 'floor'));
  const part = (from: number, name: string): FeatureSet => ({
    ...set,
    name,
    n: each,
    features: rows(features, d, order.subarray(from, from + each)),
    ...{ moments: null, logits: null, labels: null, images: null, pairs: null },
  });
  return { generated: part(0, `one half of ${set.name}`), reference: part(each, `the other half of ${set.name}`) };
}
