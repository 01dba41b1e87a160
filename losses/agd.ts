/**
 * @file AGD: a denoiser learns to give in one call what classifier-free guidance makes of two, at any scale that it is told, on states of the
 * teacher's guided trajectories. It stays a denoiser and is sampled as one. Jensen and Sadat 2025, arXiv:2503.07274.
 * With `train` adapter the network stays the teacher's but for the embedding of the scale; the paper's adapters are layers of their own. Trajectories are drawn anew on every step instead of stored, by Euler's
 * method with its levels shifted at random, and each sample is trained at one of their states.
 * Errors are counted in what the network itself says: that is the noise for the paper's networks, but not for EDM's, and counted in noise the
 * levels above the spread of the data would hardly weigh.
 * Without labels there is nothing to guide: the teacher itself is learnt, whatever scale is told.
 */
import '../engine/graph/fluent.ts';
import { equal, floor, reciprocal, where } from '../engine/graph/ops/elementwise.ts';
import { fill } from '../engine/graph/ops/movement.ts';
import type { Tensor } from '../engine/graph/tensor.ts';
import { defineLoss, type Scene } from '../engine/train/loss.ts';
import { type Condition, perSample } from '../engine/train/network.ts';
import { choice, OptionError, options, real, type Values, whole } from '../engine/train/options.ts';
import { guided } from '../samplers/guidance.ts';
import { edmWeight, weightedSquares } from './terms.ts';

const agdOptions = options({
  guidance: real(2, 'scale of guidance that the finished denoiser is told', { min: 0, max: 100 }),
  lowestGuidance: real(1, 'lowest scale of guidance that is drawn', { min: 0, max: 100 }),
  highestGuidance: real(6, 'highest scale of guidance that is drawn', { min: 0, max: 100 }),
  train: choice(['all', 'adapter'], 'all', 'what is trained: the whole network, or the embedding of the scale beside the frozen rest'),
  teacherSteps: whole(8, "steps of the teacher's trajectory; each takes two calls, and so does its start", { min: 1, max: 1000 }),
  weight: choice(['output', 'eps'], 'output', 'what errors are counted in: what the network itself says, or the noise'),
  sigmaData: real(0.5, 'standard deviation of the data, for the weight output', { min: 1e-3 }),
});
type AgdScene = Scene<'model' | 'teacher', never, Values<typeof agdOptions>>;

/** A state of a trajectory and what the guided teacher makes of it. */
interface State {
  readonly x: Tensor;
  /** [N,1,…]. */
  readonly sigma: Tensor;
  readonly denoised: Tensor;
}

/** One state of each sample's guided trajectory, its level spread evenly over the schedule. */
function visited({ nets, data, draw, schedule, options: { teacherSteps: n } }: AgdScene, condition: Condition, scale: Tensor): State {
  const teacher = Object.keys(condition).length === 0 ? nets.teacher.denoise : guided(nets.teacher.denoise, scale);
  const at = (x: Tensor, sigma: Tensor): State => ({ x, sigma, denoised: teacher(x, sigma, condition) });
  const below = ({ x, sigma, denoised }: State, next: Tensor): State => at(denoised.add(x.sub(denoised).mul(next.div(sigma))), next);
  const uniform = (name: string): Tensor => draw.uniform(name, perSample(data));
  const [shift, pick] = [uniform('shift'), floor(uniform('state').mul(n))];
  // From pure noise at the highest level; state i is at the fraction 1 − (i + shift)/n of the schedule.
  let state = at(draw.normal('z', data).mul(schedule.sigmaMax), fill(schedule.sigmaMax, perSample(data).shape));
  let picked = state;
  for (let i = 0; i < n; i++) {
    state = below(state, schedule.quantile(shift.mul(-1 / n).add(1 - i / n)));
    const here = equal(pick, i);
    const choose = (key: keyof State): Tensor => (i === 0 ? state[key] : where(here, state[key], picked[key]));
    picked = { x: choose('x'), sigma: choose('sigma'), denoised: choose('denoised') };
  }
  return picked;
}

export default defineLoss({
  name: 'agd',
  title: 'classifier-free guidance of any scale in one call, on guided trajectories',
  reference: '2503.07274',
  options: agdOptions,
  needsClasses: true,
  players: { model: { from: 'teacher', scalars: ['guidance'] }, teacher: 'teacher' },
  freezes: ({ train }) => (train === 'adapter' ? { model: (weight) => !weight.includes('told.guidance.') } : {}),
  form: ({ guidance }) => ({ kind: 'told', scalars: { guidance } }),
  phases: {
    model: {
      trains: ['model'],
      terms(scene) {
        const { nets, data, draw, options: o } = scene;
        if (o.lowestGuidance > o.highestGuidance)
          throw new OptionError(
            `agd: lowestGuidance ${o.lowestGuidance} is above highestGuidance ${o.highestGuidance}; it is the lower end of the range`,
          );
        const condition = draw.condition('generated');
        const range = o.highestGuidance - o.lowestGuidance;
        const guidance = draw.uniform('guidance', perSample(data)).mul(range).add(o.lowestGuidance);
        const { x, sigma, denoised } = visited(scene, condition, guidance);
        const ours = nets.model.denoise(x, sigma, { ...condition, guidance });
        // ε = (x − D)/σ, so that the squared error of ε is that of D over σ².
        const weight = o.weight === 'eps' ? reciprocal(sigma.square()) : edmWeight(sigma, o.sigmaData);
        return { loss: weightedSquares(ours, denoised, weight) };
      },
    },
  },
});
