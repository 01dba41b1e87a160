/**
 * @file MeanFlow: the student says the mean velocity u of the flow between two times, which obeys u = v − (t − r) du/dt. One step from
 * noise is then ε − u. Geng et al. 2025, arXiv:2505.13447.
 * u is made of the denoiser that is told the lower time r: u = (x − D)/σ − D, so that a student that starts as the teacher says its velocity
 * at first, and D told 0 is the sample. v is the teacher's velocity, or ε − x0 as in the paper, which trains without a teacher.
 * Both times are logit-normal, which is a log-normal σ; the paper's means and deviations (−2 and 2 for CIFAR-10) hardly reach the level at
 * which the student is called. FastGen weights by the norm instead of its square. Left out: guidance within the field of the data.
 */
import '../engine/graph/fluent.ts';
import { less, maximum, minimum, where } from '../engine/graph/ops/elementwise.ts';
import { defineLoss } from '../engine/train/loss.ts';
import { perSample } from '../engine/train/network.ts';
import { choice, options, real } from '../engine/train/options.ts';
import { guided } from '../samplers/guidance.ts';
import { alongTrajectory, flowTime, flowVelocity, meanVelocityTarget, softSquares, startOrLogNormal } from './flow-terms.ts';
import { addNoise } from './terms.ts';

export default defineLoss({
  name: 'meanflow',
  title: "the mean velocity between two times of the teacher's or the data's flow",
  reference: '2505.13447',
  options: options({
    velocity: choice(['teacher', 'data'], 'teacher', "whose velocity the flow has: the teacher's, or that of data and noise (the paper)"),
    guidance: real(1, "scale of classifier-free guidance in the teacher's velocity; 1 is none", { min: 0, max: 100 }),
    studentLevel: real(80, 'noise level at which the student is called', { min: 1e-3 }),
    levelMean: real(0, 'mean of ln σ, which is the logit of the time', { min: -10, max: 10 }),
    levelStd: real(2, 'standard deviation of ln σ', { min: 0.01, max: 10 }),
    startShare: real(0, "share of samples whose upper time is that of the student's own level", { min: 0, max: 1 }),
    apart: real(0.75, 'share of samples whose two times differ; the others learn the velocity itself', { min: 0, max: 1 }),
    power: real(0.75, 'power of the weight 1/(‖Δ‖² + c)^power of each sample', { min: 0, max: 4 }),
    weightConstant: real(1e-3, 'the constant c of the weight', { min: 0 }),
    weighting: choice(['square', 'norm'], 'square', 'what the weight is made of: ‖Δ‖² or ‖Δ‖ (FastGen)'),
    tangentWarmup: real(0, 'share of the run over which the derivative is brought in', { min: 0, max: 1 }),
    derivative: choice(['exact', 'difference'], 'exact', 'the derivative along the flow: exact, or by a central difference'),
  }),
  recommended: { lr: 2e-4 },
  players: { student: { from: 'teacher', scalars: ['toward'] }, teacher: 'teacher' },
  clock: { tangent: ({ step, steps }, { tangentWarmup }) => (tangentWarmup === 0 ? 1 : Math.min(1, step / (tangentWarmup * steps))) },
  form: () => ({ kind: 'told', scalars: { toward: 0 } }),
  phases: {
    student: {
      trains: ['student'],
      terms({ nets, data, condition, clock, draw, options: o }) {
        const one = startOrLogNormal(draw, data, o);
        const other = draw.normal('lower level', perSample(data)).mul(o.levelStd).add(o.levelMean).exp();
        const sigma = maximum(one, other);
        const apart = less(draw.uniform('apart', perSample(data)), o.apart);
        const lower = where(apart, minimum(one, other), sigma);
        const x = addNoise(data, sigma, draw.normal('eps', data));
        const towards = o.velocity === 'data' ? data : guided(nets.teacher.denoise, o.guidance)(x, sigma, condition);
        const told = { ...condition, toward: flowTime(lower) };
        const u = (at: typeof x, level: typeof x) => flowVelocity(at, nets.student.denoise(at, level, told), level);
        const { value, slope } = alongTrajectory(u, { x, sigma, towards }, o.derivative);
        const target = meanVelocityTarget({ x, sigma, towards }, lower, slope.mul(clock['tangent']!)); // eq. 10
        const { loss, squares } = softSquares(value.sub(target), o.power, o.weightConstant, o.weighting);
        return { loss, error: squares.mean() };
      },
    },
  },
});
