/**
 * @file LCM, latent consistency model: consistency distillation of a guided teacher, the student being told the scale of guidance. Luo et al.
 * 2023, arXiv:2310.04378, algorithm 1. Steps skip levels: the paper's grid of 50 stands for the 1000 of the teacher with a skip of 20. On Karras'
 * levels 50 steps of Euler take 5.8 % off the spread of a Gaussian of deviation 0.4, and 80 take 3.7 %. The identity at the lowest level comes from
 * EDM's scalings instead of LCM's, whose time is the index of a discrete process.
 */
import '../engine/graph/fluent.ts';
import { constant } from '../engine/graph/ops/leaf.ts';
import { defineLoss, type Moment } from '../engine/train/loss.ts';
import { perSample } from '../engine/train/network.ts';
import { choice, OptionError, options, real, type Values, whole } from '../engine/train/options.ts';
import { guided } from '../samplers/guidance.ts';
import { gridPair, huberOfValues, solverStep, squares, uniformIndex } from './consistency-terms.ts';
import { addNoise } from './terms.ts';

const lcmOptions = options({
  guidanceLow: real(1, 'lowest scale of classifier-free guidance that is learnt; 1 is none, the paper has 3', { min: 0, max: 100 }),
  guidanceHigh: real(4, 'highest scale that is learnt; the paper has 15', { min: 0, max: 100 }),
  guidance: real(1.5, 'scale that the finished student is told', { min: 0, max: 100 }),
  levels: whole(80, "levels of the grid between which the teacher's steps go; the paper has 50", { min: 2, max: 10_000 }),
  solver: choice(['euler', 'heun'], 'euler', "the teacher's step; Euler's is DDIM's"),
  distance: choice(['squares', 'huber'], 'huber', 'distance: mean square or pseudo-Huber of values'),
  huber: real(1e-3, 'constant of the pseudo-Huber distance', { min: 0 }),
  decay: real(0.95, 'decay of the average that says the target; 0 for the student itself', { min: 0, max: 0.9999 }),
  studentLevel: real(80, 'noise level at which the student is called', { min: 1e-3 }),
});
type Options = Values<typeof lcmOptions>;

/** What the student is told of a scale: where it lies in the range, 0 to 1. */
const told = (scale: number, { guidanceLow: low, guidanceHigh: high }: Options): number => (high > low ? (scale - low) / (high - low) : 0);

function check({ guidanceLow: low, guidanceHigh: high, guidance }: Options): void {
  if (low > high || guidance < low || guidance > high)
    throw new OptionError(
      `lcm.guidance: ${guidance} is not between guidanceLow ${low} and guidanceHigh ${high}; only scales between them are learnt`,
    );
}

export default defineLoss({
  name: 'lcm',
  title: 'consistency distillation of a guided teacher by a student that is told the scale',
  reference: '2310.04378',
  options: lcmOptions,
  recommended: { lr: 4e-4 },
  needsClasses: true,
  players: {
    student: { from: 'teacher', scalars: ['guidance'] },
    teacher: 'teacher',
    target: { follows: 'student', beta: (_: Moment, o: Options) => o.decay },
  },
  form: (o) => ({ kind: 'told', scalars: { guidance: told(o.guidance, o) } }),
  phases: {
    student: {
      trains: ['student'],
      terms({ nets, data, condition, schedule, draw, options: o }) {
        check(o);
        const one = perSample(data);
        const intervals = constant(o.levels - 1);
        const { t, r } = gridPair(schedule, uniformIndex(draw.uniform('index', one), intervals), intervals);
        const place = draw.uniform('guidance', one);
        const scale = place.mul(o.guidanceHigh - o.guidanceLow).add(o.guidanceLow);
        const told = { ...condition, guidance: place };
        const xt = addNoise(data, t, draw.normal('eps', data));
        const teacher = guided(nets.teacher.denoise, scale);
        const xr = solverStep(o.solver, (x, sigma) => teacher(x, sigma, condition), xt, { t, r }, draw).stop();
        const given = nets.student.denoise(xt, t, told);
        const goal = nets.target.denoise(xr, r, told).stop();
        return { loss: (o.distance === 'huber' ? huberOfValues(given, goal, o.huber) : squares(given, goal)).mean() };
      },
    },
  },
});
