/**
 * @file f-distill: distribution matching under any f-divergence. The difference of the scores is weighted by h(r) = f″(r) r², where the
 * ratio r of teacher to student density comes from the discriminator. Xu et al. 2025, arXiv:2502.15681. All else is DMD2's.
 * Ratios are divided by their mean in ten bins of noise levels, weights by their mean over the samples that are computed together.
 * The bins are of equal width in σ, as in FastGen, unless they are asked for in ln σ: in σ, two thirds of the samples fall into the first.
 */
import '../engine/graph/fluent.ts';
import { log } from '../engine/graph/ops/elementwise.ts';
import { reduceMax, reduceMin } from '../engine/graph/ops/reduce.ts';
import type { Tensor } from '../engine/graph/tensor.ts';
import { defineLoss } from '../engine/train/loss.ts';
import { choice, OptionError, options, real, type Values } from '../engine/train/options.ts';
import type { NoiseSchedule } from '../engine/train/schedule.ts';
import { guided } from '../samplers/guidance.ts';
import {
  checkTurns,
  criticTerms,
  criticTurn,
  directionOf,
  judge,
  judgeNoised,
  judgeOptions,
  type MatchingScene,
  matchingOptions,
  noised,
  studentTurn,
  turnOptions,
} from './matching-terms.ts';
import { densityRatio, divergenceWeight, normalised, ratioWithinBins } from './ratio-terms.ts';
import { generatorLoss, pullAlong } from './terms.ts';

const BINS = 10;

const fDistillOptions = options({
  divergence: choice(
    ['js', 'rkl', 'kl', 'sf', 'sh', 'jf', 'neyman', 'pearson'],
    'js',
    'divergence of teacher and student: Jensen-Shannon, reverse KL (DMD), KL, softened reverse KL, squared Hellinger, Jeffreys, Neyman, Pearson',
  ),
  bins: choice(
    ['time', 'log', 'none'],
    'time',
    'ratios are divided by their mean at similar levels: ten bins of σ, of ln σ, or not at all',
  ),
  binDecay: real(0, 'what the mean of a bin keeps from step to step; with 0 it is that of the batch', { min: 0, max: 1 }),
  largestLogit: real(10, 'logits of the discriminator are clamped to this size before they become a ratio', { min: 0, max: 80 }),
  lowestRatio: real(0.1, 'ratios are at least this', { min: 0 }),
  highestRatio: real(20, 'ratios are at most this', { min: 0 }),
  ...turnOptions.shape,
  ganWeight: real(3e-3, "weight of the adversarial term in the student's loss; the discriminator is trained in any case", { min: 0 }),
  ...judgeOptions.shape,
  discriminatorWeight: real(1e-2, "weight of the discriminator's loss beside the fake score's", { min: 1e-9 }),
  ganNoise: choice(
    ['own', 'shared'],
    'shared',
    'noise under which generated images are judged for the adversarial term: drawn anew or that of matching term and score',
  ),
  guidance: real(1, "scale of classifier-free guidance in the teacher's score; 1 is none", { min: 0, max: 100 }),
  ...matchingOptions.shape,
});
type Options = Values<typeof fDistillOptions>;
type FScene = MatchingScene<Options, 'discriminator'>;

function check(o: Options): void {
  checkTurns('f-distill', o);
  if (o.lowestRatio > o.highestRatio)
    throw new OptionError(
      `f-distill: lowestRatio ${o.lowestRatio} is above highestRatio ${o.highestRatio}; it is the lower end of the range`,
    );
}

/** Where a level lies between the lowest and the highest, from 0 to 1. */
const placeOf = (sigma: Tensor, { sigmaMin, sigmaMax }: NoiseSchedule, bins: 'time' | 'log'): Tensor =>
  bins === 'time'
    ? sigma.sub(sigmaMin).div(sigmaMax - sigmaMin)
    : log(sigma)
        .sub(Math.log(sigmaMin))
        .div(Math.log(sigmaMax / sigmaMin));

/** The student's noised samples with the weight h of each [N,1] and the bins that it moved. */
function weighed(scene: FScene) {
  const { schedule, memory, options: o } = scene;
  check(o);
  const samples = noised('f-distill', scene);
  const { xt, sigma, condition } = samples;
  const logits = judge(scene, xt, sigma, condition);
  const raw = densityRatio(logits, o);
  const { ratio, bins } =
    o.bins === 'none'
      ? { ratio: raw, bins: memory['bins']! }
      : ratioWithinBins(raw, placeOf(sigma, schedule, o.bins).reshape([-1, 1]), memory['bins']!, o.binDecay);
  return { samples, logits, bins, h: normalised(divergenceWeight[o.divergence](ratio)) };
}

export default defineLoss({
  name: 'f-distill',
  title: 'distribution matching under any f-divergence, weighted by the ratio that a discriminator sees',
  reference: '2502.15681',
  options: fDistillOptions,
  players: { student: 'teacher', teacher: 'teacher', fake: 'teacher' },
  heads: ['discriminator'],
  memory: { bins: { shape: [BINS], value: 1 } },
  simultaneous: true,
  coupled: true, // ratios and weights are measured against their means over the batch
  phases: {
    student: {
      trains: ['student'],
      runs: studentTurn,
      terms(scene) {
        const { nets, options: o } = scene;
        const { samples, logits, h } = weighed(scene);
        const { x } = samples;
        const direction = directionOf(samples, guided(nets.teacher.denoise, o.guidance), nets.fake.denoise, o.guard);
        const weight = h.reshape([x.shape[0]!, ...x.shape.slice(1).map(() => 1)]);
        const matching = pullAlong(x, direction.mul(weight));
        const gan = generatorLoss(o.ganNoise === 'shared' ? logits : judgeNoised(scene, samples, 'student gan'));
        const shown = { hMin: reduceMin(h, [0, 1]).reshape([]), hMean: h.mean(), hMax: reduceMax(h, [0, 1]).reshape([]) };
        return { loss: matching.add(gan.mul(o.ganWeight)), matching, gan, ...shown };
      },
      remember: (scene) => ({ bins: weighed(scene).bins }),
    },
    critic: {
      trains: ['fake', 'discriminator'],
      runs: criticTurn,
      terms(scene) {
        check(scene.options);
        return criticTerms('f-distill', scene);
      },
    },
  },
});
