/**
 * @file ECT, easy consistency tuning: a diffusion model is tuned into a consistency model by shrinking, stage by stage, the gap between the
 * two levels of a pair that shares its noise. Geng et al. 2024, arXiv:2406.14548. There is no teacher beside the start and no average
 * as target. What the paper's networks add, dropout with the same mask for both levels, is left out: ours have none.
 */
import '../engine/graph/fluent.ts';
import { greater, maximum, where } from '../engine/graph/ops/elementwise.ts';
import { defineLoss } from '../engine/train/loss.ts';
import { perSample } from '../engine/train/network.ts';
import { choice, options, real, whole } from '../engine/train/options.ts';
import { closerLevel, gapAt, lognormalLevel, pseudoHuber, weightings } from './consistency-terms.ts';
import { addNoise } from './terms.ts';

export default defineLoss({
  name: 'ect',
  title: 'consistency tuning of a diffusion model, the two levels of a pair coming closer from stage to stage',
  reference: '2406.14548',
  options: options({
    levelMean: real(-1.1, 'mean of ln t', { min: -10, max: 10 }),
    levelStd: real(2, 'standard deviation of ln t', { min: 0.01, max: 10 }),
    factor: real(2, 'what the relative gap between t and r is divided by from stage to stage (q)', { min: 1.001, max: 1e4 }),
    stages: whole(8, 'stages of the whole run', { min: 1, max: 1000 }),
    stageKimg: real(0, 'thousands of images of a stage; 0 to spread the stages over the run', { min: 0 }),
    smallestGap: real(1e-3, 'gap at which the stages end', { min: 1e-6, max: 1 }),
    gapRise: real(8, 'how much wider the gap is at low levels (k)', { min: 0 }),
    gapFall: real(1, 'how fast that extra fades with the level (b)', { min: 0 }),
    lowest: real(
      0,
      'lowest level of t and r, beside the highest of the schedule for t (FastGen: 0.002); 0 for no limits: where r is 0, the target is the clean sample',
      { min: 0, max: 1 },
    ),
    huber: real(0, 'constant c of the pseudo-Huber distance; 0 for the norm (CIFAR-10), 0.06 for 64 by 64', { min: 0 }),
    weight: choice(
      Object.keys(weightings) as [keyof typeof weightings],
      'gap',
      'weight of a pair: 1/(t − r), with 1/c_out² beside it (ImageNet), or others of FastGen',
    ),
    sigmaData: real(0.5, 'standard deviation of the data', { min: 1e-3 }),
    studentLevel: real(80, 'noise level at which the student is called', { min: 1e-3 }),
  }),
  recommended: { optimizer: 'radam', weightDecay: 0, lr: 4e-4 },
  fragile: true,
  players: { student: 'teacher' },
  clock: { gap: gapAt },
  phases: {
    student: {
      trains: ['student'],
      terms({ nets: { student }, data, condition, clock, schedule, draw, options: o }) {
        const law = { mean: o.levelMean, std: o.levelStd, low: o.lowest, high: schedule.sigmaMax };
        const t =
          o.lowest > 0
            ? lognormalLevel(draw.uniform('level', perSample(data)), law)
            : draw.normal('level', perSample(data)).mul(o.levelStd).add(o.levelMean).exp();
        const r = closerLevel(t, clock['gap']!, { k: o.gapRise, b: o.gapFall, lowest: o.lowest });
        const eps = draw.normal('eps', data);
        // The network cannot be asked at r = 0, where it is the identity.
        const near = student.denoise(addNoise(data, r, eps), maximum(r, 1e-6), condition);
        const goal = where(greater(r, 0), near, data).stop();
        const distance = pseudoHuber(student.denoise(addNoise(data, t, eps), t, condition), goal, o.huber);
        return { loss: distance.mul(weightings[o.weight]({ t, r }, o.sigmaData)).mean(), distance: distance.mean() };
      },
    },
  },
});
