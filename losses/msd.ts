/**
 * @file MSD: several students, each for some of the classes, each with a fake score of its own, share one teacher; a sample is made by the student of its
 * class. Song et al. 2024, arXiv:2410.23274.
 * Classes are shared out in order. `scoreMatching` is the paper's first stage (TSM), which a student needs that is smaller than the teacher and starts
 * fresh; one that starts from a small diffusion model has had it. Left out: clusters of other conditions than classes, and the pairs of the DMD version.
 */
import '../engine/graph/fluent.ts';
import { maximum, softplus } from '../engine/graph/ops/elementwise.ts';
import { constant } from '../engine/graph/ops/leaf.ts';
import { matmul } from '../engine/graph/ops/linalg.ts';
import type { Tensor } from '../engine/graph/tensor.ts';
import { defineLoss, type Scene } from '../engine/train/loss.ts';
import { choice, OptionError, options, real, resolve, type Values, whole } from '../engine/train/options.ts';
import { guided } from '../samplers/guidance.ts';
import {
  anyLevel,
  generatedData,
  judgeNoised,
  judgeOptions,
  type MatchingScene,
  matchingOptions,
  matchingTerm,
  noised,
  scoreTerm,
  studentTurn,
} from './matching-terms.ts';
import { addNoise, edmWeight, generatorLoss, weightedSquares } from './terms.ts';

const { discriminatorWeight } = judgeOptions.shape;
const msdOptions = options({
  students: whole(2, 'students; the classes are shared out among them in order', { min: 1, max: 64 }),
  turns: choice(['side', 'after'], 'side', 'whether the students are trained side by side or one after another'),
  scoreMatching: real(0, "share of a student's training in which it learns to denoise as the teacher does, for one that starts fresh", {
    min: 0,
    max: 0.9,
  }),
  ratio: whole(5, 'steps for each update of a student; its critic is updated on every step', { min: 1, max: 100 }),
  ganWeight: real(3e-3, "weight of the adversarial term in a student's loss; with 0 there is no discriminator", { min: 0 }),
  discriminatorWeight,
  guidance: real(1, "scale of classifier-free guidance in the teacher's score; 1 is none", { min: 0, max: 100 }),
  ...matchingOptions.shape,
});
type Options = Values<typeof msdOptions>;
type Students = Scene<string, string, Options>;
/** What DMD2's terms see of one student's training. */
type Own = MatchingScene<Options & Values<typeof judgeOptions>, 'discriminator'>;

/** The classes of every student, in equal parts as far as they can be. Errors: fewer classes than students. */
function shares(students: number, classes: number): readonly (readonly number[])[] {
  if (students > 1 && classes < students)
    throw new OptionError(
      `msd.students: ${students} students need at least as many classes, the teacher has ${classes}; give fewer students`,
    );
  const all = Array.from({ length: classes }, (_, c) => c);
  return Array.from({ length: students }, (_, i) => all.filter((c) => Math.floor((c * students) / classes) === i));
}
const ownClasses = ({ condition, options: { students } }: Students, i: number): readonly number[] =>
  shares(students, (condition['label']?.shape[1] as number | undefined) ?? 0)[i]!;

/** The scene of student i (from 0): its players, and draws of its own, conditions among its classes alone. */
function own(scene: Students, i: number): Own {
  const { nets, heads, draw } = scene;
  const classes = ownClasses(scene, i);
  const name = (given: string): string => `${i + 1}/${given}`;
  return {
    ...scene,
    options: { ...resolve('msd', judgeOptions, {}), ...scene.options },
    nets: { student: nets[`student${i + 1}`]!, teacher: nets['teacher']!, fake: nets[`fake${i + 1}`]! },
    heads: { discriminator: heads[`discriminator${i + 1}`]! },
    draw: {
      normal: (given, like) => draw.normal(name(given), like),
      uniform: (given, like) => draw.uniform(name(given), like),
      condition: (given) => draw.condition(name(given), classes),
    },
  };
}

/** DMD2's discriminator loss, with those real samples that are of the student's classes. */
function discriminatorLoss(scene: Own, classes: readonly number[], fake: Tensor): Tensor {
  const { data, condition } = scene;
  const logits = judgeNoised(scene, { x: data, condition }, 'real');
  const size = condition['label']?.shape[1] as number | undefined;
  const real = softplus(logits.neg()).meanPerSample().reshape([-1, 1]);
  if (!size) return real.mean().add(softplus(fake).mean());
  const member = matmul(
    condition['label']!,
    constant(
      Float32Array.from({ length: size }, (_, c) => Number(classes.includes(c))),
      [size, 1],
    ),
  );
  return real.mul(member).sum().div(maximum(member.sum(), 1)).add(softplus(fake).mean());
}

/** The share of student i's own training that is over at a step; outside of [0, 1) it is not its turn. */
const progress = (i: number, step: number, { students, turns }: Options, steps: number): number =>
  turns === 'side' ? step / steps : (step * students) / steps - i;
const takesPart = (i: number, step: number, o: Options, steps: number): boolean => {
  const done = progress(i, step, o, steps);
  return done >= o.scoreMatching && done < 1;
};

const phasesOf = (i: number) => ({
  denoising: {
    trains: [`student${i + 1}`],
    runs: (step: number, o: Options, steps: number) => progress(i, step, o, steps) >= 0 && progress(i, step, o, steps) < o.scoreMatching,
    terms(scene: Students) {
      const { nets, data, condition, draw, options: o } = own(scene, i);
      const sigma = anyLevel(own(scene, i), 'denoising level', 'all');
      const xt = addNoise(data, sigma, draw.normal('denoising noise', data));
      const loss = weightedSquares(
        nets.student.denoise(xt, sigma, condition),
        nets.teacher.denoise(xt, sigma, condition).stop(),
        edmWeight(sigma, o.sigmaData),
      );
      return { loss };
    },
  },
  student: {
    trains: [`student${i + 1}`],
    runs: (step: number, o: Options, steps: number) => takesPart(i, step, o, steps) && studentTurn(step, { ...o, order: 'every' }),
    terms(scene: Students) {
      const mine = own(scene, i);
      const { nets, options: o } = mine;
      const samples = noised('msd', mine);
      const matching = matchingTerm(samples, guided(nets.teacher.denoise, o.guidance), nets.fake.denoise, o.guard);
      if (o.ganWeight === 0) return { loss: matching, matching };
      const gan = generatorLoss(judgeNoised(mine, samples, 'student gan'));
      return { loss: matching.add(gan.mul(o.ganWeight)), matching, gan };
    },
  },
  critic: (judging: boolean) => ({
    trains: judging ? [`fake${i + 1}`, `discriminator${i + 1}`] : [`fake${i + 1}`],
    runs: (step: number, o: Options, steps: number) => takesPart(i, step, o, steps),
    terms(scene: Students) {
      const mine = own(scene, i);
      const generated = generatedData('msd', mine);
      const { score } = scoreTerm(mine, generated, anyLevel(mine, 'score level', 'all'));
      if (!judging) return { loss: score, score };
      const gan = discriminatorLoss(mine, ownClasses(scene, i), judgeNoised(mine, generated, 'fake'));
      return { loss: score.add(gan.mul(mine.options.discriminatorWeight)), score, gan };
    },
  }),
});

const arrange = ({ students, ganWeight, scoreMatching }: Options) => {
  const all = Array.from({ length: students }, (_, i) => i);
  const named = (name: string): Record<string, 'teacher'> => Object.fromEntries(all.map((i) => [`${name}${i + 1}`, 'teacher'] as const));
  return {
    players: { ...named('student'), teacher: 'teacher' as const, ...named('fake') },
    heads: ganWeight > 0 ? all.map((i) => `discriminator${i + 1}`) : [],
    phases: Object.fromEntries(
      all.flatMap((i) => {
        const { denoising, student, critic } = phasesOf(i);
        const first = scoreMatching > 0 ? [[`denoising${i + 1}`, denoising] as const] : [];
        return [...first, [`student${i + 1}`, student] as const, [`critic${i + 1}`, critic(ganWeight > 0)] as const];
      }),
    ),
  };
};

export default defineLoss({
  name: 'msd',
  title: 'distribution matching with several students, each for some of the classes',
  reference: '2410.23274',
  options: msdOptions,
  recommended: { beta1: 0 },
  ...arrange(resolve('msd', msdOptions, {})),
  arrange,
  simultaneous: true,
  experts: ({ students }, classes) => shares(students, classes).map((own, i) => ({ player: `student${i + 1}`, classes: own })),
});
