/**
 * @file sCM: consistency in continuous time. The student's output follows the tangent of its own consistency function along a trajectory:
 * the teacher's (sCD) or that of data and noise (sCT). Lu and Song 2025, arXiv:2410.11081.
 * Levels are drawn wider than in the paper (ln σ of mean −1 and deviation 1.4 for CIFAR-10), which hardly ever trains the one level that a
 * one-step student is called at. A share of samples at just that level is SANA-Sprint's, arXiv:2503.09641. FastGen weights errors by 1/σ
 * before the learned weight, and divides them by the number of values twice; here it is once, as in the paper. Dropout is left out.
 */
import '../engine/graph/fluent.ts';
import { reciprocal } from '../engine/graph/ops/elementwise.ts';
import { defineLoss } from '../engine/train/loss.ts';
import { choice, flag, options, real } from '../engine/train/options.ts';
import { guided } from '../samplers/guidance.ts';
import { startOrLogNormal } from './flow-terms.ts';
import { addNoise } from './terms.ts';
import { adaptively, consistencyError, tangentShare } from './trigflow-terms.ts';

export default defineLoss({
  name: 'scm',
  title: 'consistency in continuous time, by the tangent along trajectories of the teacher or of data',
  reference: '2410.11081',
  options: options({
    trajectory: choice(['teacher', 'data'], 'teacher', "trajectories: the teacher's (sCD) or straight ones between data and noise (sCT)"),
    guidance: real(1, 'scale of classifier-free guidance of the teacher; 1 is none', { min: 0, max: 100 }),
    sigmaData: real(0.5, 'standard deviation of the data', { min: 1e-3 }),
    studentLevel: real(80, 'noise level at which the student is called', { min: 1e-3 }),
    levelMean: real(-0.5, 'mean of ln σ', { min: -10, max: 10 }),
    levelStd: real(2.2, 'standard deviation of ln σ', { min: 0.01, max: 10 }),
    startShare: real(0, "share of samples at the student's own level; the paper has 0, SANA-Sprint 0.5", { min: 0, max: 1 }),
    tangentWarmup: real(0.1, "share of the run over which the tangent's second part is brought in", { min: 0, max: 1 }),
    taming: choice(
      ['norm', 'rms', 'clip', 'none'],
      'norm',
      'how tangents are kept small: by their norm, their root mean square (FastGen), clipped to ±1, or not',
    ),
    tamingConstant: real(0.1, 'added to the norm that a tangent is divided by', { min: 0 }),
    priorWeight: flag(false, 'whether errors are weighted by 1/σ before the learned weight (FastGen)'),
    adaptive: flag(true, 'whether a weight for each level is learned'),
    derivative: choice(['exact', 'difference'], 'exact', 'the derivative along the trajectory: exact, or by a central difference'),
  }),
  recommended: { lr: 2e-4 },
  players: { student: 'teacher', teacher: 'teacher' },
  heads: ['variance'],
  levelHeads: ['variance'],
  clock: { tangent: tangentShare },
  phases: {
    student: {
      trains: ['student', 'variance'],
      terms({ nets, heads, data, condition, clock, draw, options: o }) {
        const sigma = startOrLogNormal(draw, data, o);
        const x = addNoise(data, sigma, draw.normal('eps', data));
        const towards = o.trajectory === 'data' ? data : guided(nets.teacher.denoise, o.guidance)(x, sigma, condition);
        const point = { x, sigma, towards };
        const { error, tangent } = consistencyError(nets.student, point, condition, clock['tangent']!, o);
        const logVariance = o.adaptive ? heads.variance({}, sigma) : null;
        return {
          loss: adaptively(error, o.priorWeight ? reciprocal(sigma) : null, logVariance),
          error: error.mean(),
          tangent: tangent.square().mean().sqrt(),
        };
      },
    },
  },
});
