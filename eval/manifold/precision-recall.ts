/**
 * @file Precision and recall of samples: how many are like real ones, and how many real ones have samples like them. Improved precision and
 * recall of Kynkäänniemi et al. 2019, arXiv:1904.06991: a set's manifold is the union of balls about its points that reach their k-th neighbours.
 */
import { InputError } from '../../engine/io/errors.ts';
import type { Features } from '../moments.ts';
import { squaredDistance } from '../neighbours.ts';

/** Neighbours of the paper's experiments. */
export const NEIGHBOURS = 3;

/** Points and the squared radii of their balls. */
export interface Manifold {
  /** [n, d] */
  readonly features: Features;
  readonly d: number;
  /** [n]: squared distance to the k-th neighbour in the set, the point itself not counted. */
  readonly radii: Float64Array;
}
export interface PrecisionRecall {
  /** Share of the generated points that lie in the manifold of the real ones, 0 … 1. */
  readonly precision: number;
  /** Share of the real points that lie in the manifold of the generated ones, 0 … 1. */
  readonly recall: number;
}
/** Rows of a set, from (included) to (excluded). */
export interface Rows {
  readonly from: number;
  readonly to: number;
}

/** Where the work is done: on the calling thread, or spread over a pool. */
export interface Spread {
  /** Squared radii of some of the points of a set. */
  radii(task: RadiiTask): Promise<Float64Array>;
  /** How many of some points lie in a manifold. */
  inside(task: InsideTask): Promise<number>;
}
export interface RadiiTask extends Rows {
  readonly features: Features;
  readonly d: number;
  readonly k: number;
}
export interface InsideTask extends Rows {
  readonly features: Features;
  readonly manifold: Manifold;
}

// Points that stay in the cache while others pass by: about 256 KiB of float32.
const BLOCK_VALUES = 65_536;
const BEYOND = 1 + 1e-9;

/**
 * Squared distances of rows `from` … `to` to the k-th nearest other row of their set. Differences are squared and summed in float64: the
 * shortcut |x|² − 2xy + |y|² flips decisions at the rim of a ball.
 */
export function squaredRadii({ features, d, k, from, to }: RadiiTask): Float64Array {
  const n = features.length / d;
  const nearest = new Float64Array((to - from) * k).fill(Infinity); // ascending in each row
  const block = Math.max(1, Math.floor(BLOCK_VALUES / d));
  for (let start = 0; start < n; start += block) {
    for (let i = from; i < to; i++) {
      const row = nearest.subarray((i - from) * k, (i - from + 1) * k);
      for (let j = start; j < Math.min(n, start + block); j++) {
        if (j !== i) insert(row, squaredDistance(features, i * d, features, j * d, d, row[k - 1]!));
      }
    }
  }
  return Float64Array.from({ length: to - from }, (_, i) => nearest[i * k + k - 1]!);
}

/** Puts a value into an ascending row in place of its last one, if it is smaller. */
function insert(row: Float64Array, value: number): void {
  let at = row.length - 1;
  if (!(value < row[at]!)) return;
  for (; at > 0 && value < row[at - 1]!; at--) row[at] = row[at - 1]!;
  row[at] = value;
}

/** How many of rows `from` … `to` lie in a ball of the manifold, its rim included (equation 1). */
export function countInside({ features, manifold, from, to }: InsideTask): number {
  const { features: centres, d, radii } = manifold;
  const [outside, block] = [new Set(Array.from({ length: to - from }, (_, i) => from + i)), Math.max(1, Math.floor(BLOCK_VALUES / d))];
  for (let start = 0; start < radii.length; start += block) {
    for (const i of outside) {
      for (let j = start; j < Math.min(radii.length, start + block); j++) {
        // The limit is a little farther than the rim: a partial sum that reaches it is outside for certain.
        const radius = radii[j]!;
        if (squaredDistance(features, i * d, centres, j * d, d, radius * BEYOND + Number.MIN_VALUE) > radius) continue;
        outside.delete(i);
        break;
      }
    }
  }
  return to - from - outside.size;
}

/** On the calling thread. */
export const here: Spread = {
  radii: async (task) => squaredRadii(task),
  inside: async (task) => countInside(task),
};

/**
 * The manifold of a set of features [n, d].
 * @throws InputError for a wrong length, values that are not finite, or no more points than k neighbours
 */
export async function manifoldOf(features: Features, d: number, k: number = NEIGHBOURS, spread: Spread = here): Promise<Manifold> {
  const n = features.length / d;
  if (!Number.isInteger(n) || n <= k)
    throw new InputError(
      `manifold: ${features.length} values of ${d} features a point; more than ${k} whole points are needed for ${k} neighbours`,
    );
  const wrong = features.findIndex((value) => !Number.isFinite(value));
  if (wrong >= 0)
    throw new InputError(`manifold: feature ${wrong % d} of point ${Math.floor(wrong / d)} is ${features[wrong]}; all must be finite`);
  return { features, d, radii: await spread.radii({ features, d, k, from: 0, to: n }) };
}

/** Precision and recall of generated points against real ones. Values compare only at equal numbers of points: recall rises with more generated ones. */
export async function precisionRecall(real: Manifold, generated: Manifold, spread: Spread = here): Promise<PrecisionRecall> {
  if (real.d !== generated.d)
    throw new InputError(`precisionRecall: features have ${real.d} and ${generated.d} dimensions; both sets need the same`);
  const share = async (features: Features, manifold: Manifold): Promise<number> => {
    const n = features.length / manifold.d;
    return (await spread.inside({ features, manifold, from: 0, to: n })) / n;
  };
  return { precision: await share(generated.features, real), recall: await share(real.features, generated) };
}
