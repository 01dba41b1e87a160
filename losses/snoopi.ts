/**
 * @file SNOOPI's PG-SB: distribution matching between guided scores, teacher and fake score both under one guidance scale that is drawn anew
 * for each sample. Nguyen et al. 2024, arXiv:2412.02687. In place of its weight w(t) the direction has the normaliser of DMD, and the fake
 * score is a whole network instead of an adapter. It is trained without label now and then, since guidance asks it for that too. Without
 * labels the scale has no effect. NASA, its negative attention, is a matter of sampling: `Against` in models/foreign/diffusers/layers.ts.
 */
import '../engine/graph/fluent.ts';
import { cast, greaterOrEqual } from '../engine/graph/ops/elementwise.ts';
import { defineLoss } from '../engine/train/loss.ts';
import { type Condition, perSample } from '../engine/train/network.ts';
import { OptionError, options, real, type Values } from '../engine/train/options.ts';
import { guided } from '../samplers/guidance.ts';
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

const snoopiOptions = options({
  ...turnOptions.shape,
  lowestGuidance: real(0.5, 'lowest scale of classifier-free guidance that is drawn', { min: 0, max: 100 }),
  highestGuidance: real(4, 'highest scale of classifier-free guidance that is drawn', { min: 0, max: 100 }),
  labelDropout: real(0.1, 'share of samples on which the fake score is trained without their label', { min: 0, max: 1 }),
  ...matchingOptions.shape,
});
type Options = Values<typeof snoopiOptions>;

function check(o: Options): void {
  checkTurns('snoopi', o);
  if (o.lowestGuidance > o.highestGuidance)
    throw new OptionError(
      `snoopi: lowestGuidance ${o.lowestGuidance} is above highestGuidance ${o.highestGuidance}; it is the lower end of the range`,
    );
}

/** The condition with the labels of some samples left out. */
function thinned({ draw, options: o }: MatchingScene<Options>, condition: Condition): Condition {
  const label = condition['label'];
  if (!label) return condition;
  const kept = greaterOrEqual(draw.uniform('keep label', { shape: [label.shape[0]!, 1] }), o.labelDropout);
  return { ...condition, label: label.mul(cast(kept, 'float32')) };
}

export default defineLoss({
  name: 'snoopi',
  title: 'distribution matching under guidance of a random scale, of teacher and fake score alike',
  reference: '2412.02687',
  options: snoopiOptions,
  needsClasses: true,
  players: { student: 'teacher', teacher: 'teacher', fake: 'teacher' },
  simultaneous: true,
  phases: {
    student: {
      trains: ['student'],
      runs: studentTurn,
      terms(scene) {
        const { nets, draw, options: o } = scene;
        check(o);
        const samples = noised('snoopi', scene);
        const scale = draw
          .uniform('guidance', perSample(samples.x))
          .mul(o.highestGuidance - o.lowestGuidance)
          .add(o.lowestGuidance);
        const [real, fake] = [guided(nets.teacher.denoise, scale), guided(nets.fake.denoise, scale)];
        return { loss: matchingTerm(samples, real, fake, o.guard), guidance: scale.mean() };
      },
    },
    fake: {
      trains: ['fake'],
      runs: criticTurn,
      terms(scene) {
        check(scene.options);
        return { loss: fakeScore('snoopi', scene, (condition) => thinned(scene, condition)) };
      },
    },
  },
});
