/**
 * @file Uni-Instruct: an f-divergence between real and generated samples, spread over all noise levels: score identity distillation in which
 * each sample is weighed by the ratio of real to generated density at its noised place, exp(logit) of a discriminator on the fake network's hidden
 * maps. Wang et al. 2025, arXiv:2505.20755.
 * By default the weight is held fixed, as in the reference code; `gradient exact` adds what the weight's own motion contributes. That code reads
 * the ratio off the value of the adversarial loss; here it is taken from the logit. It weighs the discriminator's loss by 1, which for samples of few
 * values disturbs the fake score; a head of its own, whose steps Adam scales, learns as well with less.
 */
import '../engine/graph/fluent.ts';
import type { Tensor } from '../engine/graph/tensor.ts';
import { defineLoss } from '../engine/train/loss.ts';
import { choice, options, real, type Values } from '../engine/train/options.ts';
import {
  compared,
  DIVERGENCES,
  densityRatio,
  expandedDivergence,
  fakeTerms,
  identityOptions,
  movingRatio,
  scaledGeneratorLoss,
  scoreIdentity,
} from './score-identity-terms.ts';

const uniOptions = options({
  divergence: choice(
    ['reverse-kl', 'forward-kl', 'jeffreys', 'jensen-shannon', 'chi-square'],
    'forward-kl',
    'divergence of generated from real samples that is minimised',
  ),
  gradient: choice(
    ['weighted', 'exact'],
    'weighted',
    'score identity with a fixed weight (reference code), or the whole gradient of the divergence, ratio included',
  ),
  largestRatio: real(1000, 'densities are taken to differ by this factor at most', { min: 1 }),
  ...identityOptions.shape,
  ganWeight: real(1e-4, "weight of the adversarial term in the student's loss", { min: 0 }),
  discriminatorWeight: real(0.01, "weight of the discriminator's loss beside the fake score's squared error, summed over a sample", {
    min: 0,
  }),
});

interface Matched {
  readonly x: Tensor;
  readonly xt: Tensor;
  readonly sigma: Tensor;
  readonly teacher: Tensor;
  readonly fake: Tensor;
}
/** What the student minimises, elementwise, before each sample is brought to scale. */
function matchingOf({ x, xt, sigma, teacher, fake }: Matched, ratio: Tensor, o: Values<typeof uniOptions>): Tensor {
  if (o.gradient === 'exact') return expandedDivergence(o.divergence, x, teacher, fake, movingRatio(ratio, xt, teacher, fake, sigma));
  return scoreIdentity(x, teacher, fake, 1).mul(DIVERGENCES[o.divergence].weight(ratio));
}

export default defineLoss({
  name: 'uni-instruct',
  title: 'score identity distillation weighed by the density ratio of a chosen f-divergence',
  reference: '2505.20755',
  options: uniOptions,
  recommended: { beta1: 0 },
  players: { student: 'teacher', teacher: 'teacher', fake: 'teacher' },
  heads: ['discriminator'],
  phases: {
    // The phases follow each other and draw their own samples.
    critic: {
      trains: ['fake', 'discriminator'],
      terms: (scene) => fakeTerms(scene, 'critic', ({ features }, sigma) => scene.heads.discriminator(features, sigma)),
    },
    student: {
      trains: ['student'],
      terms(scene) {
        const { heads, options: o } = scene;
        const { x, xt, sigma, teacher, fake, scale } = compared(scene);
        const logits = heads.discriminator(fake.features, sigma);
        const ratio = densityRatio(logits, sigma, o.largestRatio);
        const matching = matchingOf({ x, xt, sigma, teacher, fake: fake.denoised }, ratio, o).div(scale).mean();
        const gan = scaledGeneratorLoss(logits, scale);
        return { loss: matching.add(gan.mul(o.ganWeight)), matching, gan, ratio: ratio.mean() };
      },
    },
  },
});
