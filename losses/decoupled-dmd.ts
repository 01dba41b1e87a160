/**
 * @file Decoupled DMD: distribution matching with a guided teacher is two terms, s_guided − s_fake = (s_cond − s_fake) + (α − 1)(s_cond − s_null):
 * matching, which regularises, and guidance itself, which drives. Each is taken at noise levels of its own, the second one only at levels below
 * that of the student's call. Liu et al. 2025, arXiv:2511.22677, eq. 6 and algorithm 1 (the schedule called hybrid).
 * The paper leaves the size of both terms to one number; here each has the normaliser of DMD. Without labels there is no guidance, only matching.
 */
import '../engine/graph/fluent.ts';
import { floor } from '../engine/graph/ops/elementwise.ts';
import type { Tensor } from '../engine/graph/tensor.ts';
import { defineLoss } from '../engine/train/loss.ts';
import { perSample } from '../engine/train/network.ts';
import { choice, options, real, type Values } from '../engine/train/options.ts';
import {
  checkTurns,
  criticTurn,
  fakeScore,
  type MatchingScene,
  matchingOptions,
  matchingTerm,
  noised,
  studentTurn,
  turnOptions,
} from './matching-terms.ts';
import { addNoise, indexRange } from './terms.ts';

const decoupledOptions = options({
  ...turnOptions.shape,
  guidance: real(2, 'scale α of classifier-free guidance; the weight of the augmentation is α − 1', { min: 1, max: 100 }),
  matchingWeight: real(1, 'weight of the matching term', { min: 0 }),
  augmentationLevels: choice(
    ['below', 'all'],
    'below',
    "levels of the augmentation: below that of the student's own call, or all of its range",
  ),
  augmentationLowest: real(0.02, 'lowest level of the augmentation, as a fraction of the list', { min: 0, max: 1 }),
  augmentationHighest: real(0.98, 'highest level of the augmentation, as a fraction of the list', { min: 0, max: 1 }),
  ...matchingOptions.shape,
});
type Options = Values<typeof decoupledOptions>;

/** Levels [N,1,…] of the augmentation: `ofExit` picks how many there are to draw from for the student's call. */
function augmentationLevel(
  { draw, data, schedule, options: o }: MatchingScene<Options>,
  ofExit: (values: readonly number[]) => Tensor,
): Tensor {
  const { low, count } = indexRange(o.levels, o.augmentationLowest, o.augmentationHighest);
  const list = schedule.levels(o.levels);
  // One at least: a call below the whole range gets the lowest level.
  const below = (level: number): number => Math.max(1, Math.min(count, list.filter((sigma) => sigma < level).length - low));
  const counts = o.studentLevels.map((level) => (o.augmentationLevels === 'all' ? count : below(level)));
  const index = floor(draw.uniform('augmentation level', perSample(data)).mul(ofExit(counts))).add(low);
  return schedule.quantile(index.div(o.levels - 1));
}

export default defineLoss({
  name: 'decoupled-dmd',
  title: 'distribution matching and guidance as two terms, each at noise levels of its own',
  reference: '2511.22677',
  options: decoupledOptions,
  needsClasses: true,
  players: { student: 'teacher', teacher: 'teacher', fake: 'teacher' },
  simultaneous: true,
  phases: {
    student: {
      trains: ['student'],
      runs: studentTurn,
      terms(scene) {
        const { nets, draw, options: o } = scene;
        checkTurns('decoupled-dmd', o);
        const samples = noised('decoupled-dmd', scene);
        const { x, condition, ofExit } = samples;
        const teacher = nets.teacher.denoise;
        const matching = matchingTerm(samples, teacher, nets.fake.denoise, o.guard);
        if (o.guidance === 1) return { loss: matching.mul(o.matchingWeight), matching };
        const level = augmentationLevel(scene, ofExit);
        const renoised = { x, condition, sigma: level, xt: addNoise(x, level, draw.normal('augmentation noise', x)) };
        const augmentation = matchingTerm(renoised, teacher, (xt, sigma) => teacher(xt, sigma), o.guard);
        return { loss: matching.mul(o.matchingWeight).add(augmentation.mul(o.guidance - 1)), matching, augmentation };
      },
    },
    fake: {
      trains: ['fake'],
      runs: criticTurn,
      terms(scene) {
        checkTurns('decoupled-dmd', scene.options);
        return { loss: fakeScore('decoupled-dmd', scene) };
      },
    },
  },
});
