/**
 * @file DMD2: the student follows the difference of a fake score, trained on its own samples, and the teacher's score; a discriminator on
 * the fake network's hidden maps pulls it towards real data. Yin et al. 2024, arXiv:2405.14867.
 * Where the reference code and FastGen differ, the reference code is the default and FastGen's way an option.
 * `ganFrom` makes DMD2's two stages, without discriminator and with it, one run. `r1` is the approximate R1 of APT (Lin et al. 2025,
 * arXiv:2501.08316), with one level and noise for both samples; FastGen's code leaves that noise away from the moved one.
 */
import '../engine/graph/fluent.ts';
import { defineLoss } from '../engine/train/loss.ts';
import { options, real, type Values } from '../engine/train/options.ts';
import { guided } from '../samplers/guidance.ts';
import {
  anyLevel,
  checkTurns,
  criticTerms,
  criticTurn,
  generatedData,
  judge,
  judgeNoised,
  judgeOptions,
  type MatchingScene,
  matchingOptions,
  matchingTerm,
  noised,
  scoreTerm,
  studentTurn,
  turnOptions,
} from './matching-terms.ts';
import { generatorLoss } from './terms.ts';

const dmd2Options = options({
  ...turnOptions.shape,
  ganWeight: real(3e-3, "weight of the adversarial term in the student's loss; with 0 there is no discriminator", { min: 0 }),
  ganFrom: real(0, 'share of the run after which the adversarial terms of both student and critic set in', { min: 0, max: 1 }),
  ...judgeOptions.shape,
  guidance: real(1, "scale of classifier-free guidance in the teacher's score; 1 is none", { min: 0, max: 100 }),
  ...matchingOptions.shape,
});
type Options = Values<typeof dmd2Options>;

/** 0 before the adversarial terms set in, then 1. */
const share = ({ clock, options: { ganFrom } }: MatchingScene<Options>) => (ganFrom === 0 ? 1 : clock['gan']!);

export default defineLoss({
  name: 'dmd2',
  title: 'distribution matching with a fake score and a discriminator on its hidden maps',
  reference: '2405.14867',
  options: dmd2Options,
  fragile: true,
  players: { student: 'teacher', teacher: 'teacher', fake: 'teacher' },
  heads: ['discriminator'],
  simultaneous: true,
  clock: { gan: ({ step, steps }, { ganFrom }) => Number(step >= ganFrom * steps) },
  phases: {
    student: {
      trains: ['student'],
      runs: studentTurn,
      terms(scene) {
        const { nets, options: o } = scene;
        checkTurns('dmd2', o);
        const samples = noised('dmd2', scene);
        const { x, condition, sigma, xt } = samples;
        const matching = matchingTerm(samples, guided(nets.teacher.denoise, o.guidance), nets.fake.denoise, o.guard);
        if (o.ganWeight === 0) return { loss: matching, matching };
        const logits = o.ganNoise === 'shared' ? judge(scene, xt, sigma, condition) : judgeNoised(scene, { x, condition }, 'student gan');
        const gan = generatorLoss(logits); // eq. 4
        return { loss: matching.add(gan.mul(o.ganWeight).mul(share(scene))), matching, gan };
      },
    },
    critic: {
      trains: ['fake', 'discriminator'],
      runs: criticTurn,
      terms(scene) {
        checkTurns('dmd2', scene.options);
        if (scene.options.ganWeight > 0) return criticTerms('dmd2', scene, share(scene));
        const { score } = scoreTerm(scene, generatedData('dmd2', scene), anyLevel(scene, 'score level', scene.options.criticLevels));
        return { loss: score, score };
      },
    },
  },
});
