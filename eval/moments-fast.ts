/** @file Moments of many features: the same sums as in `moments.ts`, with the products by ONNX Runtime where they are large. */
import { product } from '../engine/run/ort-products.ts';
import { type Features, type Moments, meanOf, mergeSums, momentsOfSums, type Sums, sumsOf } from './moments.ts';

/** Rows of one product. It is fixed, so that sums are added in one order. */
const ROWS = 2048;
/** From so many features on a product is worth its call. */
const WORTH = 128;

export interface MomentsStream {
  /** Adds a batch [m, d]. The merged sums are those of the whole to rounding, and the same bits for the same batches in the same order. */
  push(features: Features): Promise<void>;
  /** @throws InputError for fewer than two samples */
  result(): Moments;
}

/** Moments of a stream of batches of any sizes. @param options.threads inside one product; 0 (default) = all cores. Bits may depend on it */
export function momentsStream(d: number, { threads = 0 }: { readonly threads?: number } = {}): MomentsStream {
  let sums: Sums = { mean: new Float64Array(d), scatter: new Float64Array(d * d), n: 0 };
  return {
    async push(features) {
      sums = mergeSums(sums, await sumsFast(features, d, threads));
    },
    result: () => momentsOfSums(sums, d),
  };
}

/** Mean and covariance of features [n, d]. @throws InputError as `moments` */
export async function momentsFast(features: Features, d: number): Promise<Moments> {
  return momentsOfSums(await sumsFast(features, d), d);
}

async function sumsFast(features: Features, d: number, threads = 0): Promise<Sums> {
  if (d < WORTH) return sumsOf(features, d);
  const mean = meanOf(features, d);
  const n = features.length / d;
  const scatter = new Float64Array(d * d);
  for (let from = 0; from < n; from += ROWS) {
    const rows = Math.min(ROWS, n - from);
    const centred = centredRows(features, mean, from, rows);
    const part = await product(centred, centred, { m: d, n: d, k: rows }, { transposeA: true, threads });
    for (let i = 0; i < part.length; i++) scatter[i]! += part[i]!;
  }
  return { mean, scatter, n };
}

/** Rows from … from + rows less the mean: [rows, d]. */
export function centredRows(features: Features, mean: Float64Array, from: number, rows: number): Float64Array {
  const d = mean.length;
  const out = new Float64Array(rows * d);
  for (let i = 0; i < rows; i++) for (let j = 0; j < d; j++) out[i * d + j] = features[(from + i) * d + j]! - mean[j]!;
  return out;
}
