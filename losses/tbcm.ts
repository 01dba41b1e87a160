/**
 * @file TBCM: consistency in continuous time on the states of the teacher's own trajectories, from noise to sample, without data. One
 * evaluation of the teacher is both the step to the next state and the direction of the trajectory there. Tang et al. 2025, arXiv:2511.20410.
 * All states of a trajectory are trained at once, so that a step counts batch × states samples. Left out: a learned weight of the levels,
 * taking the tangent's second part back towards the end of the run, and filtering the teacher's samples.
 */
import '../engine/graph/fluent.ts';
import { constant } from '../engine/graph/ops/leaf.ts';
import { concat } from '../engine/graph/ops/movement.ts';
import type { Tensor } from '../engine/graph/tensor.ts';
import { defineLoss } from '../engine/train/loss.ts';
import { type Denoiser, perSample } from '../engine/train/network.ts';
import { choice, options, real, whole } from '../engine/train/options.ts';
import { guided } from '../samplers/guidance.ts';
import { alongSlope } from '../samplers/steps.ts';
import type { Point } from './flow-terms.ts';
import { consistencyError, tangentShare } from './trigflow-terms.ts';

/** The states of the trajectory from `start` at the given levels. The straight step to the next level is the paper's rotation in TrigFlow's time. */
function trajectory(denoise: Denoiser, start: Tensor, from: Tensor, levels: readonly Tensor[]): readonly Point[] {
  let [x, sigma, towards] = [start, from, denoise(start, from).stop()];
  return levels.map((next) => {
    x = alongSlope(x, towards, sigma, next);
    sigma = next;
    towards = denoise(x, sigma).stop();
    return { x, sigma, towards };
  });
}

export default defineLoss({
  name: 'tbcm',
  title: "consistency in continuous time on the teacher's own trajectories, without data",
  reference: '2511.20410',
  options: options({
    states: whole(16, "states of each of the teacher's trajectories, one in each of as many intervals", { min: 1, max: 1000 }),
    shift: real(2.5, 'how far the levels of the states crowd towards noise: σ = shift σd u/(1 − u)', { min: 0.01, max: 1000 }),
    guidance: real(1, 'scale of classifier-free guidance of the teacher; 1 is none', { min: 0, max: 100 }),
    sigmaData: real(0.5, 'standard deviation of the data', { min: 1e-3 }),
    studentLevel: real(80, 'noise level at which the student is called, and at which trajectories start', { min: 1e-3 }),
    tangentWarmup: real(0.1, "share of the run over which the tangent's second part is brought in", { min: 0, max: 1 }),
    tamingConstant: real(0.1, 'added to the norm that a tangent is divided by', { min: 0 }),
    derivative: choice(['exact', 'difference'], 'exact', 'the derivative along the trajectory: exact, or by a central difference'),
  }),
  recommended: { lr: 2e-4, batch: 8 },
  players: { student: 'teacher', teacher: 'teacher' },
  clock: { tangent: tangentShare },
  phases: {
    student: {
      trains: ['student'],
      terms({ nets, data, clock, draw, schedule, options: o }) {
        const condition = draw.condition('generated');
        const teacher: Denoiser = (x, sigma) => guided(nets.teacher.denoise, o.guidance)(x, sigma, condition);
        const levels = Array.from({ length: o.states }, (_, i) => {
          const below = draw.uniform(`level ${i}`, perSample(data)).add(i).div(o.states); // 1 − u
          return below
            .neg()
            .add(1)
            .div(below.add(1e-6))
            .mul(o.shift * o.sigmaData)
            .clamp(schedule.sigmaMin, o.studentLevel);
        });
        const states = trajectory(teacher, draw.normal('z', data).mul(o.studentLevel), constant(o.studentLevel), levels);
        const all = (part: keyof Point): Tensor =>
          concat(
            states.map((state) => state[part]),
            0,
          ); // [states·N, …]
        const point = { x: all('x'), sigma: all('sigma'), towards: all('towards') };
        const each = Object.fromEntries(
          Object.entries(condition).map(([name, value]) => [
            name,
            concat(
              states.map(() => value),
              0,
            ),
          ]),
        );
        const { error } = consistencyError(nets.student, point, each, clock['tangent']!, { ...o, taming: 'norm' }); // [states·N, 1, …]
        return { loss: error.mean() };
      },
    },
  },
});
