/**
 * @file Consistency distillation: the student says the same at both ends of one step of the teacher's solver. Song et al. 2023,
 * arXiv:2303.01469, algorithm 2. FastGen's way (Euler's step, log-normal levels and ECT's gap, no average, weight 1/(t − r), EDM's scalings)
 * is there as options. The perceptual distance LPIPS is left out.
 */
import '../engine/graph/fluent.ts';
import { constant } from '../engine/graph/ops/leaf.ts';
import { defineLoss, type Moment, type Scene } from '../engine/train/loss.ts';
import { type Network, perSample } from '../engine/train/network.ts';
import { choice, options, real, type Values, whole } from '../engine/train/options.ts';
import { boundary } from '../samplers/forms.ts';
import { guided } from '../samplers/guidance.ts';
import {
  checkIdentity,
  closerLevel,
  gapAt,
  gridPair,
  type LevelPair,
  lognormalLevel,
  pseudoHuber,
  solverStep,
  squares,
  uniformIndex,
  weightings,
} from './consistency-terms.ts';
import { addNoise } from './terms.ts';

const cdOptions = options({
  solver: choice(['heun', 'euler'], 'heun', "the teacher's step from t to r"),
  guidance: real(1, "scale of classifier-free guidance in the teacher's step; 1 is none", { min: 0, max: 100 }),
  pairing: choice(
    ['grid', 'gap'],
    'grid',
    "pairs t > r: neighbours among the schedule's levels, or log-normal t with ECT's closing gap (FastGen)",
  ),
  levels: whole(40, 'levels of the grid (18 for CIFAR-10)', { min: 2, max: 10_000 }),
  levelMean: real(-1.1, 'mean of ln t of log-normal pairs', { min: -10, max: 10 }),
  levelStd: real(2, 'standard deviation of ln t of log-normal pairs', { min: 0.01, max: 10 }),
  factor: real(2, 'what the gap of log-normal pairs is divided by from stage to stage', { min: 1.001, max: 1e4 }),
  stages: whole(8, 'stages of log-normal pairs in the whole run', { min: 1, max: 1000 }),
  stageKimg: real(0, 'thousands of images of such a stage; 0 to spread them over the run', { min: 0 }),
  smallestGap: real(1e-3, 'gap at which the stages end', { min: 1e-6, max: 1 }),
  decay: real(0.95, 'decay of the average that says the target; 0 for the student itself', { min: 0, max: 0.9999 }),
  distance: choice(['squares', 'huber'], 'squares', 'distance: mean square or pseudo-Huber'),
  huber: real(0, 'constant of the pseudo-Huber distance; 0 for the norm', { min: 0 }),
  weight: choice(Object.keys(weightings) as [keyof typeof weightings], 'one', 'weight of a pair'),
  sigmaMin: real(0.002, "where the student is the identity: the schedule's lowest level, or 0 for EDM's scalings", { min: 0 }),
  sigmaData: real(0.5, 'standard deviation of the data', { min: 1e-3 }),
  studentLevel: real(80, 'noise level at which the student is called', { min: 1e-3 }),
});
type Options = Values<typeof cdOptions>;

/** A pair for each sample. */
function pairOf({ data, clock, schedule, draw, options: o }: Scene<string, string, Options>): LevelPair {
  if (o.pairing === 'grid') {
    const intervals = constant(o.levels - 1);
    return gridPair(schedule, uniformIndex(draw.uniform('index', perSample(data)), intervals), intervals);
  }
  const law = { mean: o.levelMean, std: o.levelStd, low: schedule.sigmaMin, high: schedule.sigmaMax };
  const t = lognormalLevel(draw.uniform('level', perSample(data)), law);
  return { t, r: closerLevel(t, clock['gap']!, { lowest: schedule.sigmaMin }) };
}

const functionOf = (network: Network, { sigmaMin, sigmaData }: Options) => boundary(network, { sigmaMin, sigmaData }).denoise;

export default defineLoss({
  name: 'cd',
  title: "consistency between the ends of one step of the teacher's solver",
  reference: '2303.01469',
  options: cdOptions,
  recommended: { optimizer: 'radam', weightDecay: 0, lr: 4e-4 },
  players: { student: 'teacher', teacher: 'teacher', target: { follows: 'student', beta: (_: Moment, o: Options) => o.decay } },
  clock: { gap: gapAt },
  form: ({ sigmaMin, sigmaData }) => ({ kind: 'boundary', sigmaMin, sigmaData }),
  phases: {
    student: {
      trains: ['student'],
      terms(scene) {
        const { nets, data, condition, schedule, draw, options: o } = scene;
        checkIdentity('cd', o.sigmaMin, schedule);
        const { t, r } = pairOf(scene);
        const xt = addNoise(data, t, draw.normal('eps', data));
        const teacher = guided(nets.teacher.denoise, o.guidance);
        const xr = solverStep(o.solver, (x, sigma) => teacher(x, sigma, condition), xt, { t, r }, draw).stop();
        const given = functionOf(nets.student, o)(xt, t, condition);
        const goal = functionOf(nets.target, o)(xr, r, condition).stop();
        const distance = o.distance === 'squares' ? squares(given, goal) : pseudoHuber(given, goal, o.huber);
        return { loss: distance.mul(weightings[o.weight]({ t, r }, o.sigmaData)).mean(), distance: distance.mean() };
      },
    },
  },
});
