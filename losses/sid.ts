/**
 * @file SiD: the student minimises the squared distance between the teacher's and a fake network's denoised samples, in a form that stays right
 * as its samples, and with them their score, move. Zhou et al. 2024, arXiv:2404.04057. With `ganWeight` SiDA: the mean over channels of the
 * fake network's bottleneck tells real from generated. Zhou et al. 2024, arXiv:2410.14919.
 * The reference code takes alpha 1.2 for most data, which is noisier and slower than 1.
 * Left out: SiD-LSG's guidance, and the reference code's clamp of logits, which would let go of samples that are judged badly.
 */
import '../engine/graph/fluent.ts';
import { reduceMean } from '../engine/graph/ops/reduce.ts';
import type { Tensor } from '../engine/graph/tensor.ts';
import { defineLoss } from '../engine/train/loss.ts';
import type { Prediction } from '../engine/train/network.ts';
import { options, real } from '../engine/train/options.ts';
import { compared, fakeTerms, identityOptions, scaledGeneratorLoss, scoreIdentity } from './score-identity-terms.ts';

const sidOptions = options({
  alpha: real(1, 'how much of the squared distance is taken off: 1 (SiDA, SiD on AFHQ), 1.2 (SiD elsewhere), 0.5 for the plain gradient', {
    min: -1,
    max: 2,
  }),
  ganWeight: real(0, "weight of the adversarial term in the student's loss; 0 is SiD, 1e-4 is SiDA", { min: 0 }),
  ...identityOptions.shape,
});

/** SiDA's discriminator has no weights of its own: logits [N,1,h,w]. */
const logitsOf = ({ features }: Prediction): Tensor => reduceMean(features['bottleneck']!, [1]);

export default defineLoss({
  name: 'sid',
  title: 'score identity distillation, with or without a discriminator inside the fake score',
  reference: '2404.04057',
  options: sidOptions,
  recommended: { beta1: 0 },
  players: { student: 'teacher', teacher: 'teacher', fake: 'teacher' },
  phases: {
    // The phases follow each other and draw their own samples.
    fake: { trains: ['fake'], terms: (scene) => fakeTerms(scene, 'fake', scene.options.ganWeight === 0 ? null : logitsOf) },
    student: {
      trains: ['student'],
      terms(scene) {
        const { x, teacher, fake, scale } = compared(scene);
        const { alpha, ganWeight } = scene.options;
        const matching = scoreIdentity(x, teacher, fake.denoised, alpha).div(scale).mean(); // it may be negative
        if (ganWeight === 0) return { loss: matching, matching };
        const gan = scaledGeneratorLoss(logitsOf(fake), scale);
        return { loss: matching.add(gan.mul(ganWeight)), matching, gan };
      },
    },
  },
});
