/** @file CMMD: MMD² under a wide Gaussian kernel between unit-length embeddings. Jayasumana et al. 2024, arXiv:2401.09603. */
import { InputError } from '../../engine/io/errors.ts';
import { choice, flag, options, real } from '../../engine/train/options.ts';
import { around } from '../intervals.ts';
import { type Discrepancy, discrepancy, type Estimator, gaussianKernel } from '../kernels.ts';
import { defineMetric } from '../metric.ts';
import type { Features } from '../moments.ts';
import { featuresOf, referenceOf } from '../rows.ts';

/** The paper's factor, for readable numbers. */
const SCALE = 1000;

const settings = options({
  cmmdSigma: real(10, 'width of the kernel of CMMD', { min: 1e-6, max: 1e6 }),
  cmmdNormalise: flag(true, 'scale features to unit length for CMMD, as the embeddings of CLIP are'),
  cmmdEstimator: choice(
    ['biased', 'unbiased'],
    'biased',
    'biased: as the authors’ code, each sample paired with itself too; unbiased: as the paper’s equation',
  ),
});

/** Rows of length one in float64. @throws InputError for a row of zeros or one that is not finite */
export function unitRows(features: Features, d: number, where: string): Float64Array {
  const out = Float64Array.from(features);
  for (let i = 0; i < out.length; i += d) {
    let square = 0;
    for (let j = i; j < i + d; j++) square += out[j]! ** 2;
    if (!(square > 0 && square < Infinity))
      throw new InputError(
        `${where}: sample ${i / d} has the length ${Math.sqrt(square)}; rows of a finite length above 0 can be scaled to 1`,
      );
    const length = Math.sqrt(square);
    for (let j = i; j < i + d; j++) out[j]! /= length;
  }
  return out;
}

/** 1000 · MMD² under exp(−|x − y|²/2σ²), of features [n, d] as they are. */
export async function cmmdOf(x: Features, y: Features, d: number, sigma: number, estimator: Estimator): Promise<Discrepancy> {
  const { value, error } = await discrepancy(x, y, d, gaussianKernel(sigma), estimator);
  return { value: SCALE * value, error: SCALE * error };
}

export const cmmd = defineMetric({
  id: 'cmmd',
  label: 'CMMD',
  source: 'Jayasumana et al. 2024, arXiv:2401.09603',
  better: 'lower',
  needs: { generated: ['features'], reference: ['features'] },
  settings,
  async compute(generated, other, { cmmdSigma, cmmdNormalise, cmmdEstimator }) {
    const reference = referenceOf('cmmd', generated, other);
    const d = generated.dimensions;
    const ready = (set: typeof generated): Features => {
      const features = featuresOf('cmmd', set);
      return cmmdNormalise ? unitRows(features, d, `cmmd: ${set.name}`) : features;
    };
    const { value, error } = await cmmdOf(ready(generated), ready(reference), d, cmmdSigma, cmmdEstimator);
    const least = Math.min(generated.n!, reference.n!);
    const warnings =
      cmmdEstimator === 'biased' && least < 1000
        ? [`cmmd: ${least} samples; the biased estimate falls towards its limit as 1/n, so compare at equal n or take the unbiased one`]
        : [];
    return { value, ...around(value, error), warnings };
  },
});
