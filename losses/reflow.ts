/**
 * @file SlimFlow in two runs, on stored pairs of noise and the teacher's sample. Stage `reflow` learns the flow along straight lines between them;
 * the noise of a pair is mixed with fresh noise, less and less of it, so that training begins as that of an ordinary flow (annealing reflow).
 * Stage `distil`, with that flow as teacher, makes one step of it: the student learns the pairs' samples, and from fresh noise where two steps
 * lead, the second of them the teacher's (flow-guided distillation). Zhu et al. 2024, arXiv:2407.12718; reflow: Liu et al. 2022, arXiv:2209.03003.
 * The flow's x_t = t x + (1 − t) z, t from 0 (noise) to 1, is our x + σ z times t, with σ = (1 − t)/t. The velocity is D − (x_t/t − D)/σ, that of a
 * line is x − z, and one step from x_t to the end is D. Left out: LPIPS, and students that are smaller than the teacher.
 */
import '../engine/graph/fluent.ts';
import { less, where } from '../engine/graph/ops/elementwise.ts';
import { constant } from '../engine/graph/ops/leaf.ts';
import { flip } from '../engine/graph/ops/movement.ts';
import type { Tensor } from '../engine/graph/tensor.ts';
import { defineLoss, type Moment, type Pair, type Scene } from '../engine/train/loss.ts';
import { perSample } from '../engine/train/network.ts';
import { choice, flag, OptionError, options, real, type Values } from '../engine/train/options.ts';
import { annealed, distanceOf, distanceOptions } from './regression-terms.ts';
import { addNoise, called } from './terms.ts';

const reflowOptions = options({
  stage: choice(['reflow', 'distil'], 'reflow', 'straighten the flow, or make one step of a flow that is straight already'),
  annealing: choice(['linear', 'cosine', 'exponential'], 'linear', 'how the share of fresh noise falls'),
  annealedAfter: real(0.5, 'share of the run after which no fresh noise is left (exponential: after which 1/e is); with 0 there is none', {
    min: 0,
    max: 1,
  }),
  startShare: real(0.1, 'share of the pairs that are trained at the noise itself, t = 0, where one step starts; 0 in the paper', {
    min: 0,
    max: 1,
  }),
  mirror: flag(false, 'mirrors half of the pairs left to right, noise and sample alike; only for images without a left and a right'),
  guideWeight: real(1, 'distil: weight of the two steps; with 0 pairs alone are learnt', { min: 0 }),
  guideFrom: real(0.2, 'distil: lowest time t at which the two steps meet; 0 is noise', { min: 0.001, max: 0.999 }),
  guideTo: real(0.8, 'distil: highest time t at which the two steps meet; 1 is clean', { min: 0.001, max: 0.999 }),
  firstStep: choice(['student', 'teacher'], 'student', "distil: whose the first of the two steps is; the teacher's takes one call more"),
  ...distanceOptions.shape,
  studentLevel: real(80, 'noise level at which the student is called', { min: 1e-3 }),
});
type Options = Values<typeof reflowOptions>;
type ReflowScene = Scene<'student' | 'teacher', never, Options>;

const falling: Readonly<Record<Options['annealing'], (progress: number) => number>> = {
  linear: (progress) => Math.max(0, 1 - progress),
  cosine: (progress) => (1 + Math.cos(Math.PI * Math.min(1, progress))) / 2,
  exponential: (progress) => Math.exp(-progress),
};
/** β, the share of fresh noise: from 1 towards 0. */
const freshShare = ({ step, steps }: Moment, { annealing, annealedAfter }: Options): number =>
  annealedAfter === 0 ? 0 : falling[annealing](step / (annealedAfter * steps));

/** The level of a flow's time in (0, 1]. */
const levelAt = (t: Tensor): Tensor => t.neg().add(1).div(t);
/** Times that are even between two, u in [0, 1). */
const between = (u: Tensor, from: number, to: number): Tensor => u.mul(to - from).add(from);

/** The pair, or both members of it mirrored. */
function pairOf({ pair, draw, options: o }: ReflowScene): Pair {
  const given = pair();
  if (!o.mirror) return given;
  const mirrored = less(draw.uniform('mirror', perSample(given.noise)), 0.5);
  const turn = (x: Tensor): Tensor => where(mirrored, flip(x, [x.shape.length - 1]), x);
  return { ...given, noise: turn(given.noise), sample: turn(given.sample) };
}

/** Where a first step from the noise to time t and the teacher's from there to the end lead. */
function twoSteps({ nets, draw, options: o }: ReflowScene, noise: Tensor, student: Tensor, condition: Pair['condition']): Tensor {
  const sigma = levelAt(between(draw.uniform('meeting', perSample(noise)), o.guideFrom, o.guideTo));
  const level = constant(o.studentLevel);
  const first = o.firstStep === 'student' ? student : nets.teacher.denoise(noise.mul(o.studentLevel), level, condition);
  // z + t (first − z), over t.
  return nets.teacher.denoise(addNoise(first, sigma, noise), sigma, condition).stop();
}

function distilled(scene: ReflowScene) {
  const { draw, options: o } = scene;
  if (o.guideFrom > o.guideTo)
    throw new OptionError(`reflow: guideFrom ${o.guideFrom} is above guideTo ${o.guideTo}; it is the earlier time`);
  const { noise, sample, condition } = pairOf(scene);
  const regression = distanceOf(called(scene, noise, condition), sample, o);
  const fresh = draw.normal('fresh', noise);
  const own = draw.condition('generated');
  const student = called(scene, fresh, own);
  const guide = distanceOf(student, twoSteps(scene, fresh, student.stop(), own), o);
  return { loss: regression.add(guide.mul(o.guideWeight)), regression, guide };
}

function straightened(scene: ReflowScene) {
  const { nets, draw, schedule, clock, options: o } = scene;
  const { noise, sample, condition } = pairOf(scene);
  const z = o.annealedAfter === 0 ? noise : annealed(noise, draw.normal('fresh', noise), clock['fresh']!);
  const starting = less(draw.uniform('start', perSample(noise)), o.startShare);
  // The times of the highest level and of the lowest.
  const time = between(draw.uniform('time', perSample(noise)), 1 / (1 + o.studentLevel), 1 / (1 + schedule.sigmaMin));
  const sigma = where(starting, o.studentLevel, levelAt(time));
  const x = addNoise(where(starting, 0, sample), sigma, z);
  nets.teacher.denoise(x, sigma, condition); // not part of the loss: a player that is never called would have no weights to start from
  const towards = (clean: Tensor): Tensor => clean.sub(x.sub(clean).div(sigma)); // x − z of the line, for its own sample
  return { loss: distanceOf(towards(nets.student.denoise(x, sigma, condition)), towards(sample), o) };
}

export default defineLoss({
  name: 'reflow',
  title: 'a straightened flow, annealed from an ordinary one, and its distillation to one step',
  reference: '2407.12718',
  options: reflowOptions,
  pairs: true,
  players: { student: 'teacher', teacher: 'teacher' },
  clock: { fresh: freshShare },
  phases: {
    student: { trains: ['student'], terms: (scene) => (scene.options.stage === 'reflow' ? straightened(scene) : distilled(scene)) },
  },
});
