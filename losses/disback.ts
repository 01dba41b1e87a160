/**
 * @file DisBack: the fake score first follows the untrained student from the teacher's distribution to the student's own, and points of that way are
 * kept; then the student is led back along them to the teacher. Zhang et al. 2024, arXiv:2408.15991.
 * The path is part of the state of training: it is saved with every checkpoint. Left out: the discriminator that the public code inherits from DMD2.
 */
import { defineLoss } from '../engine/train/loss.ts';
import { options, real, type Values, whole } from '../engine/train/options.ts';
import { guided } from '../samplers/guidance.ts';
import { fakeScore, type MatchingScene, matchingOptions, matchingTerm, noised, studentTurn } from './matching-terms.ts';

const disbackOptions = options({
  degradation: real(0.05, 'share of the run in which the fake score follows the untrained student', { min: 0, max: 0.9 }),
  backtracking: real(0.3, 'share of the run in which the student is led back along the path; after it, by the teacher', {
    min: 0,
    max: 0.9,
  }),
  points: whole(5, 'parts that the path is cut into', { min: 2, max: 100 }),
  ratio: whole(5, 'steps for each update of the student; the fake score is updated on every step', { min: 1, max: 100 }),
  guidance: real(1, "scale of classifier-free guidance in the teacher's score; 1 is none", { min: 0, max: 100 }),
  ...matchingOptions.shape,
});
type Options = Values<typeof disbackOptions>;

/** First steps of backtracking and of what follows it. */
const stagesOf = ({ degradation, backtracking }: Options, steps: number) => ({
  back: Math.round(degradation * steps),
  arrival: Math.round(Math.min(1, degradation + backtracking) * steps),
});
/** The index of the n equal parts of [from, to) that begins at a step; null where none does. */
function beginning(step: number, from: number, to: number, n: number): number | null {
  const found = Array.from({ length: n }, (_, i) => Math.round(from + (i * (to - from)) / n)).lastIndexOf(step);
  return found < 0 || to <= from ? null : found;
}

/** The student's term, led by the path's point or by the teacher. */
const leading = (by: 'target' | 'teacher') => ({
  trains: ['student' as const],
  runs(step: number, o: Options, steps: number): boolean {
    const { back, arrival } = stagesOf(o, steps);
    return studentTurn(step, { ...o, order: 'every' }) && (by === 'teacher' ? step >= arrival : step >= back && step < arrival);
  },
  terms(scene: MatchingScene<Options> & { readonly nets: Readonly<Record<'target', MatchingScene['nets']['fake']>> }) {
    const { nets, options: o } = scene;
    const matching = matchingTerm(noised('disback', scene), guided(nets[by].denoise, o.guidance), nets.fake.denoise, o.guard);
    return { loss: matching, matching };
  },
});

export default defineLoss({
  name: 'disback',
  title: "distribution matching led back along the way from the teacher's score to the untrained student's",
  reference: '2408.15991',
  options: disbackOptions,
  recommended: { beta1: 0 },
  players: {
    student: 'teacher',
    teacher: 'teacher',
    fake: 'teacher',
    target: {
      recalls: 'fake',
      points: ({ points }: Options) => points - 1,
      /** Points 1 … N − 1 of the way; 0 is the teacher, N what the fake score is when the student sets out. */
      keeps({ step, steps }, o: Options) {
        const part = beginning(step, 0, stagesOf(o, steps).back, o.points);
        return part ? part - 1 : null;
      },
      takes({ step, steps }, o: Options) {
        const { back, arrival } = stagesOf(o, steps);
        const part = beginning(step, back, arrival, o.points - 1);
        return part === null ? null : o.points - 2 - part;
      },
    },
  },
  simultaneous: true,
  phases: {
    student: leading('target'),
    arrival: leading('teacher'),
    fake: {
      trains: ['fake'],
      terms(scene) {
        const score = fakeScore('disback', scene);
        return { loss: score, score };
      },
    },
  },
});
