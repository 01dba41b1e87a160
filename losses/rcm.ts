/**
 * @file rCM: sCM with distribution matching as a regulariser. Consistency along the teacher's trajectories covers its modes, the matching
 * of the student's own samples (a fake score against the teacher) makes them sharp. Zheng et al. 2025, arXiv:2510.08431.
 * As in the paper no weight of the levels is learned. The reference code updates the student on one step in five and the fake score on the
 * others; here both are updated on every step, which suits short runs. Left out: samples of several steps in the matching term, and its
 * start after the warm-up only.
 */
import '../engine/graph/fluent.ts';
import type { Tensor } from '../engine/graph/tensor.ts';
import { defineLoss, type Scene } from '../engine/train/loss.ts';
import { perSample } from '../engine/train/network.ts';
import { choice, options, real, type Values, whole } from '../engine/train/options.ts';
import { guided } from '../samplers/guidance.ts';
import { startOrLogNormal } from './flow-terms.ts';
import { addNoise, edmWeight, matchingDirection, mse, oneStep, weightedSquares } from './terms.ts';
import { consistencyError, tangentShare } from './trigflow-terms.ts';

const rcmOptions = options({
  ratio: whole(1, 'steps for each update of the student; the fake score is updated on every step', {
    min: 1,
    max: 100,
  }),
  matchingWeight: real(0.01, 'weight of distribution matching beside consistency', { min: 0 }),
  guidance: real(1, 'scale of classifier-free guidance of the teacher; 1 is none', { min: 0, max: 100 }),
  sigmaData: real(0.5, 'standard deviation of the data', { min: 1e-3 }),
  studentLevel: real(80, 'noise level at which the student is called', { min: 1e-3 }),
  levelMean: real(0, 'mean of ln σ of the consistency term; the paper has ln σd − 0.8', { min: -10, max: 10 }),
  levelStd: real(2, 'standard deviation of ln σ of the consistency term; the paper has 1.6', { min: 0.01, max: 10 }),
  startShare: real(0, "share of samples of the consistency term at the student's own level", { min: 0, max: 1 }),
  scoreMean: real(-0.7, 'mean of ln σ of the matching term and the fake score; the paper has ln σd', { min: -10, max: 10 }),
  scoreStd: real(1.6, 'standard deviation of ln σ of the matching term and the fake score', { min: 0.01, max: 10 }),
  tangentWarmup: real(0.1, "share of the run over which the tangent's second part is brought in", { min: 0, max: 1 }),
  tamingConstant: real(0.1, 'added to the norm that a tangent is divided by', { min: 0 }),
  derivative: choice(['exact', 'difference'], 'exact', 'the derivative along the trajectory: exact, or by a central difference'),
  guard: real(1e-5, 'added to the denominator of the matching direction', { min: 0 }),
});
type RcmScene = Scene<'student' | 'teacher' | 'fake', never, Values<typeof rcmOptions>>;

/** Samples of the student with their condition, noised for a score. */
function noised(scene: RcmScene) {
  const { data, draw, options: o } = scene;
  const sigma = draw.normal('score level', perSample(data)).mul(o.scoreStd).add(o.scoreMean).exp();
  return { ...oneStep(scene), sigma, noise: draw.normal('score noise', data) };
}

/** Consistency: sCM's term by the teacher's trajectories. */
function consistency({ nets, data, condition, clock, draw, options: o }: RcmScene): Tensor {
  const sigma = startOrLogNormal(draw, data, o);
  const x = addNoise(data, sigma, draw.normal('eps', data));
  const point = { x, sigma, towards: guided(nets.teacher.denoise, o.guidance)(x, sigma, condition) };
  return consistencyError(nets.student, point, condition, clock['tangent']!, { ...o, taming: 'norm' }).error.mean();
}

const studentStep = (step: number, { ratio }: { readonly ratio: number }): boolean => step % ratio === 0;

export default defineLoss({
  name: 'rcm',
  title: 'consistency in continuous time, kept sharp by distribution matching',
  reference: '2510.08431',
  options: rcmOptions,
  recommended: { lr: 2e-4 },
  players: { student: 'teacher', teacher: 'teacher', fake: 'teacher' },
  simultaneous: true,
  clock: { tangent: tangentShare },
  phases: {
    student: {
      trains: ['student'],
      runs: studentStep,
      terms(scene) {
        const { nets, options: o } = scene;
        const consistent = consistency(scene);
        const { x, condition, sigma, noise } = noised(scene);
        const xt = addNoise(x, sigma, noise);
        const real = guided(nets.teacher.denoise, o.guidance)(xt, sigma, condition).stop();
        const fake = nets.fake.denoise(xt, sigma, condition).stop();
        const matching = mse(x, x.sub(matchingDirection(x, real, fake, o.guard)).stop());
        return { loss: consistent.add(matching.mul(o.matchingWeight)), consistent, matching };
      },
    },
    fake: {
      trains: ['fake'],
      terms(scene) {
        const { x, condition, sigma, noise } = noised(scene);
        const clean = x.stop();
        const denoised = scene.nets.fake.denoise(addNoise(clean, sigma, noise), sigma, condition);
        return { loss: weightedSquares(denoised, clean, edmWeight(sigma, scene.options.sigmaData)) };
      },
    },
  },
});
