/**
 * @file Diffusion training: the denoiser learns the mean of clean samples given noised ones, at log-normally drawn levels.
 * Karras et al. 2022, arXiv:2206.00364, eq. 8 and table 1.
 */
import '../engine/graph/fluent.ts';
import { cast, greaterOrEqual } from '../engine/graph/ops/elementwise.ts';
import { defineLoss } from '../engine/train/loss.ts';
import { type Condition, perSample } from '../engine/train/network.ts';
import { choice, options, real } from '../engine/train/options.ts';
import { addNoise, weightedSquares } from './terms.ts';
import { denoisingWeights } from './weight-terms.ts';

export default defineLoss({
  name: 'edm',
  title: 'diffusion training of a denoiser (the teacher), EDM',
  reference: '2206.00364',
  options: options({
    levelMean: real(-1.2, 'mean of ln σ', { min: -10, max: 10 }),
    levelStd: real(1.2, 'standard deviation of ln σ', { min: 0.01, max: 10 }),
    sigmaData: real(0.5, 'standard deviation of the data', { min: 1e-3 }),
    weight: choice(
      ['edm', 'min-snr', 'soft-min-snr', 'p2', 'sigmoid'],
      'edm',
      'weight of the error at each level; those by the signal-to-noise ratio spend more on high levels',
    ),
    labelDropout: real(0.1, 'share of samples that are trained without their label, for guidance', { min: 0, max: 1 }),
  }),
  players: { model: 'fresh' },
  phases: {
    model: {
      trains: ['model'],
      terms({ nets, data, condition, draw, options: o }) {
        const sigma = draw.normal('level', perSample(data)).mul(o.levelStd).add(o.levelMean).exp();
        const label = condition['label'];
        const kept: Condition = label
          ? {
              ...condition,
              label: label.mul(
                cast(greaterOrEqual(draw.uniform('keep label', { shape: [label.shape[0]!, 1] }), o.labelDropout), 'float32'),
              ),
            }
          : condition;
        const denoised = nets.model.denoise(addNoise(data, sigma, draw.normal('eps', data)), sigma, kept);
        return { loss: weightedSquares(denoised, data, denoisingWeights[o.weight](sigma, o.sigmaData)) };
      },
    },
  },
});
