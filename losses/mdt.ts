/**
 * @file MDT: the student learns the transport from any level to the sample, so that the velocity that belongs to it is the teacher's. On data
 * (velocity matching) that is a regression; on the student's own samples (velocity distillation) the difference of the two velocities is the
 * direction in which samples move, as a difference of scores is, without a fake score. Zhou et al. 2025, arXiv:2509.04406.
 * The student's φ(x, t) = (x − D)/σ − D transports by −t φ; the velocity that belongs to it is u = φ + t dφ/dt. The reference code takes
 * dφ/dt by a backward difference of 0.01 in time and divides it by its norm unless told otherwise; here it is exact and not divided, so that
 * the teacher's transport is what is learnt. In our levels the factor t of dφ/dt is large near pure noise, so both terms have the weight of
 * each sample that MeanFlow has, and the second counts less; `--power 0 --distillation-weight 1` is the paper. Left out: the plain consistency
 * loss and several phases.
 */
import '../engine/graph/fluent.ts';
import { minimum } from '../engine/graph/ops/elementwise.ts';
import type { Tensor } from '../engine/graph/tensor.ts';
import { defineLoss, type Scene } from '../engine/train/loss.ts';
import { type Condition, perSample } from '../engine/train/network.ts';
import { choice, flag, options, real, type Values } from '../engine/train/options.ts';
import { guided } from '../samplers/guidance.ts';
import { alongTrajectory, flowRate, flowVelocity, meanVelocityTarget, softSquares } from './flow-terms.ts';
import { addNoise, oneStep } from './terms.ts';
import { tamed } from './trigflow-terms.ts';

const mdtOptions = options({
  matchingWeight: real(1, 'weight of velocity matching, on data', { min: 0 }),
  distillationWeight: real(0.1, "weight of velocity distillation, on the student's samples; the paper has 1", { min: 0 }),
  power: real(0.5, 'power of the weight 1/(‖u − v‖² + 0.001)^power of each sample; the paper has 0', { min: 0, max: 4 }),
  guidance: real(1, "scale of classifier-free guidance in the teacher's velocity on data; 1 is none", { min: 0, max: 1000 }),
  ownGuidance: real(1, "the same on the student's samples", { min: 0, max: 1000 }),
  studentLevel: real(80, 'noise level at which the student is called', { min: 1e-3 }),
  levelMean: real(0, 'mean of ln σ, which is the logit of the time', { min: -10, max: 10 }),
  levelStd: real(2, 'standard deviation of ln σ', { min: 0.01, max: 10 }),
  derivative: choice(['exact', 'difference'], 'exact', 'the derivative along the flow: exact, or by a central difference'),
  normalise: flag(false, 'whether the derivative is divided by its norm + 0.1 (the reference code)'),
});
type MdtScene = Scene<'student' | 'teacher', never, Values<typeof mdtOptions>>;

/** φ of samples under noise, and its target v − t dφ/dt: their difference is u − v. */
function transport({ nets, draw, options: o }: MdtScene, clean: Tensor, condition: Condition, guidance: number) {
  const sigma = minimum(draw.normal('level', perSample(clean)).mul(o.levelStd).add(o.levelMean).exp(), o.studentLevel);
  const x = addNoise(clean, sigma, draw.normal('eps', clean));
  const point = { x, sigma, towards: guided(nets.teacher.denoise, guidance)(x, sigma, condition) };
  const phi = (at: Tensor, level: Tensor): Tensor => flowVelocity(at, nets.student.denoise(at, level, condition), level);
  const { value, slope } = alongTrajectory(phi, point, o.derivative);
  const rate = flowRate(sigma);
  return { value, target: meanVelocityTarget(point, 0, o.normalise ? tamed(slope.mul(rate), 'norm', 0.1).div(rate) : slope) };
}

export default defineLoss({
  name: 'mdt',
  title: "a transport to the sample whose velocity is the teacher's, on data and on its own samples",
  reference: '2509.04406',
  options: mdtOptions,
  recommended: { lr: 1e-4 },
  players: { student: 'teacher', teacher: 'teacher' },
  phases: {
    student: {
      trains: ['student'],
      terms(scene) {
        const { data, options: o } = scene;
        const soft = (difference: Tensor): Tensor => softSquares(difference, o.power, 1e-3, 'square').loss;
        const onData = transport(scene, data, scene.condition, o.guidance);
        const matching = soft(onData.value.sub(onData.target));
        const { x, condition } = oneStep(scene);
        const own = transport(scene, x.stop(), condition, o.ownGuidance);
        // A sample is its noise less φ: what moves φ by 2 (u − v) moves the sample by 2 (v − u).
        const distillation = soft(x.sub(x.sub(own.target.sub(own.value)).stop()));
        return { loss: matching.mul(o.matchingWeight).add(distillation.mul(o.distillationWeight)), matching, distillation };
      },
    },
  },
});
