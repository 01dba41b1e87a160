/**
 * @file What latent adversarial distillation consists of: samples that a student makes of noise or of noised data, and heads on the frozen teacher's
 * hidden maps that judge them under noise. Sauer et al. 2024 (LADD), arXiv:2403.12015; kinds of levels and hinge loss as in SANA-Sprint, Chen et al.
 * 2025, arXiv:2503.09641, where a logit-normal angle tan t = σ/σ_d is a log-normal level.
 */
import '../engine/graph/fluent.ts';
import { less, where } from '../engine/graph/ops/elementwise.ts';
import type { Tensor } from '../engine/graph/tensor.ts';
import type { Draw } from '../engine/train/loss.ts';
import { type Condition, type Denoiser, type Head, type Network, perSample } from '../engine/train/network.ts';
import { options, real, type Values } from '../engine/train/options.ts';
import { hiddenMaps, hingeDiscriminatorLoss, type Judged, penaltyOptions } from './adversarial-terms.ts';
import { addNoise } from './terms.ts';

/** Options of the student's samples and of the heads, with the defaults in which methods differ. */
export const laddOptions = ({ pure, judgeMean, r1 }: { readonly pure: number; readonly judgeMean: number; readonly r1: number }) =>
  options({
    studentLevel: real(80, 'noise level at which the finished student is called', { min: 1e-3 }),
    pure: real(
      pure,
      'share of judged samples that the student makes of pure noise, 0.5 in SANA-Sprint; the others it makes of noised data',
      {
        min: 0,
        max: 1,
      },
    ),
    levelMean: real(0.2, 'mean of ln σ of the noised data that the student is given', { min: -10, max: 10 }),
    levelStd: real(1.6, 'standard deviation of ln σ of the noised data that the student is given', { min: 0.01, max: 10 }),
    judgeMean: real(judgeMean, 'mean of ln σ under which samples are judged; SANA-Sprint -0.6', { min: -10, max: 10 }),
    judgeStd: real(1, 'standard deviation of ln σ under which samples are judged', { min: 0.01, max: 10 }),
    ...penaltyOptions(r1).shape,
  });
interface LaddScene {
  readonly nets: { readonly teacher: Network };
  readonly heads: { readonly discriminator: Head };
  readonly data: Tensor;
  readonly condition: Condition;
  readonly draw: Draw;
  readonly options: Values<ReturnType<typeof laddOptions>>;
}

/** Samples that a student makes of pure noise or of noised data. `name` leads the names of the draws. */
export function ofNoiseOrData({ data, draw, options: o }: LaddScene, student: Denoiser, name: string): Tensor {
  const one = perSample(data);
  const pure = less(draw.uniform(`${name} pure`, one), o.pure);
  const level = draw.normal(`${name} level`, one).mul(o.levelStd).add(o.levelMean).exp();
  const sigma = where(pure, o.studentLevel, level);
  return student(addNoise(where(pure, 0, data), sigma, draw.normal(`${name} z`, data)), sigma);
}

/** Logits of samples under noise. They have the conditions of the data. */
export function judge({ nets, heads, condition, draw, options: o }: LaddScene, x: Tensor, name: string): Tensor {
  const sigma = draw.normal(`${name} judge level`, perSample(x)).mul(o.judgeStd).add(o.judgeMean).exp();
  const xt = addNoise(x, sigma, draw.normal(`${name} judge noise`, x));
  return heads.discriminator(hiddenMaps(nets.teacher, xt, sigma, condition), sigma);
}

/** The discriminator's hinge loss, with the logits of the data and of generated samples. */
export function told(scene: LaddScene, generated: Tensor): Judged {
  const fake = judge(scene, generated.stop(), 'fake');
  const real = judge(scene, scene.data, 'real');
  return { loss: hingeDiscriminatorLoss(real, fake), real, fake };
}
