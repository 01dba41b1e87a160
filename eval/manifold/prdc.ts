/**
 * @file What precision, recall, density and coverage have in common: two sets, the balls about their points that reach the k-th neighbours, and who lies
 * where. It is computed once for a pair of sets. Kynkäänniemi et al. 2019, arXiv:1904.06991; Naeem et al. 2020, arXiv:2002.09797.
 */
import { InputError } from '../../engine/io/errors.ts';
import type { FeatureSet } from '../metric.ts';
import type { Features } from '../moments.ts';
import { atLeast, featuresOf, referenceOf, remembered } from '../rows.ts';
import { type Held, held } from './balls.ts';
import { cloudOf, frameOf } from './distances.ts';
import { kthSquaredDistances } from './nearest.ts';

export interface Prdc {
  /** For each generated sample, whether it lies in the manifold of the real ones. */
  readonly precise: Float64Array;
  /** For each real sample, whether it lies in the manifold of the generated ones. */
  readonly recalled: Float64Array;
  /** For each generated sample, the number of real balls that hold it, over k. */
  readonly density: Float64Array;
  /** For each real sample, whether its ball holds a generated one. */
  readonly covered: Float64Array;
}

const yes = (counts: Int32Array): Float64Array => Float64Array.from(counts, (count) => Number(count > 0));

/**
 * Of features [n, d] and [m, d]. Balls are closed, as Kynkäänniemi et al. define them; differences to open ones are ties.
 * @throws InputError for k or fewer samples a side, and values that are not finite
 */
export async function prdcOf(generated: Features, real: Features, d: number, k: number): Promise<Prdc> {
  const frame = frameOf([real, generated], d);
  const [g, r] = [cloudOf(generated, d, frame), cloudOf(real, d, frame)];
  if (g.n <= k || r.n <= k)
    throw new InputError(`prdc: ${g.n} generated and ${r.n} real samples; more than ${k} of each are needed for ${k} neighbours`);
  const [realRadii, generatedRadii] = [await kthSquaredDistances(r, r, k), await kthSquaredDistances(g, g, k)];
  const counts: Held = await held({ cloud: r, radii: realRadii }, { cloud: g, radii: generatedRadii });
  return {
    precise: yes(counts.realBallsOf),
    recalled: yes(counts.generatedBallsOf),
    density: Float64Array.from(counts.realBallsOf, (count) => count / k),
    covered: yes(counts.inRealBall),
  };
}

/** The same of two sets, remembered. Errors as there, and for sets that do not fit each other. */
export function prdcOfSets(metric: string, generated: FeatureSet, other: FeatureSet | null, k: number): Promise<Prdc> {
  const reference = referenceOf(metric, generated, other);
  for (const set of [generated, reference]) {
    const features = featuresOf(metric, set);
    atLeast(metric, set, k + 1);
    const wrong = features.findIndex((value) => !Number.isFinite(value));
    if (wrong >= 0)
      throw new InputError(
        `${metric}: feature ${wrong % set.dimensions} of sample ${Math.floor(wrong / set.dimensions)} of ${set.name} is ${features[wrong]}; all must be finite`,
      );
  }
  const of = remembered(generated, 'prdc', () => new WeakMap<FeatureSet, Map<number, Promise<Prdc>>>());
  const byK = of.get(reference) ?? new Map<number, Promise<Prdc>>();
  of.set(reference, byK);
  const known = byK.get(k) ?? prdcOf(featuresOf(metric, generated), featuresOf(metric, reference), generated.dimensions, k);
  byK.set(k, known);
  return known;
}
