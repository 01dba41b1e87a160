/**
 * @file SANA-Sprint: sCM along the teacher's trajectories and LADD on the same student. Consistency keeps all modes, the heads on the frozen teacher's
 * hidden maps make samples sharp. The student is told the scale of the teacher's guidance. Chen et al. 2025, arXiv:2503.09641.
 * A teacher of rectified flow becomes one of TrigFlow by an exact map, which here is the one from any network to the clean sample it says: the student
 * may be parametrised in any way. Its changes to the network (time told without the factor 1000, normalised queries and keys) are the network's matter.
 * Student and heads are both updated on every step, instead of in turn. As in `ladd` the heads are kept smooth by the penalty R1, and as in the paper
 * half of the judged samples are made of pure noise; its other levels suit students of several steps. Left out: real samples with a wrong text as
 * further fakes.
 */
import '../engine/graph/fluent.ts';
import { reciprocal } from '../engine/graph/ops/elementwise.ts';
import { constant } from '../engine/graph/ops/leaf.ts';
import type { Tensor } from '../engine/graph/tensor.ts';
import { defineLoss, type Scene } from '../engine/train/loss.ts';
import { type Condition, perSample } from '../engine/train/network.ts';
import { choice, flag, OptionError, options, real, reals, type Values } from '../engine/train/options.ts';
import { guided } from '../samplers/guidance.ts';
import { hingeGeneratorLoss, penalised, unpenalised, withoutPenalty, withPenalty } from './adversarial-terms.ts';
import { lookUp, uniformIndex } from './consistency-terms.ts';
import { startOrLogNormal } from './flow-terms.ts';
import { judge, laddOptions, ofNoiseOrData, told } from './ladd-terms.ts';
import { addNoise } from './terms.ts';
import { adaptively, consistencyError, tangentShare } from './trigflow-terms.ts';

const sanaOptions = options({
  guidances: reals([1, 1.5, 2], 'scales of classifier-free guidance, one of which is drawn for each sample; the paper has 4, 4.5 and 5', {
    min: 0,
    max: 100,
  }),
  guidance: real(1.5, 'scale that the finished student is told', { min: 0, max: 100 }),
  consistencyWeight: real(1, 'weight of the consistency term', { min: 0 }),
  ganWeight: real(0.5, "weight of the adversarial term in the student's loss", { min: 0 }),
  ...laddOptions({ pure: 0.5, judgeMean: -0.6, r1: 1 }).shape,
  sigmaData: real(0.5, 'standard deviation of the data', { min: 1e-3 }),
  tangentWarmup: real(0.2, "share of the run over which the tangent's second part is brought in; 4000 of 20,000 steps in the paper", {
    min: 0,
    max: 1,
  }),
  tamingConstant: real(0.1, 'added to the norm that a tangent is divided by', { min: 0 }),
  priorWeight: flag(true, 'whether errors are weighted by 1/σ before the learned weight'),
  derivative: choice(['exact', 'difference'], 'exact', 'the derivative along the trajectory: exact, or by a central difference'),
});
type Options = Values<typeof sanaOptions>;
type SanaScene = Scene<'student' | 'teacher', 'variance' | 'discriminator', Options>;

/** What the student is told of a scale: where it lies between the lowest and the highest, 0 to 1. */
const placeOf = (scale: number, { guidances }: Options): number => {
  const [low, high] = [Math.min(...guidances), Math.max(...guidances)];
  return high > low ? (scale - low) / (high - low) : 0;
};

/** A scale for each sample [N,1,…], and the condition that tells it to the student. Errors: none to draw from, or the finished student's outside. */
function drawnScale(
  { data, condition, draw, options: o }: SanaScene,
  name: string,
): { readonly scale: Tensor; readonly student: Condition } {
  const { guidances, guidance } = o;
  if (guidances.length === 0 || guidance < Math.min(...guidances) || guidance > Math.max(...guidances))
    throw new OptionError(
      `sana-sprint.guidance: ${guidance} is not between those of guidances [${guidances}]; only scales between them are learnt`,
    );
  const index = uniformIndex(draw.uniform(name, perSample(data)), constant(guidances.length));
  const place = lookUp(
    guidances.map((scale) => placeOf(scale, o)),
    index,
  );
  return { scale: lookUp(guidances, index), student: { ...condition, guidance: place } };
}

/** sCM's term on data at log-normal levels, along the trajectories of the guided teacher. */
function consistency(scene: SanaScene): Tensor {
  const { nets, heads, data, condition, clock, draw, options: o } = scene;
  const { scale, student } = drawnScale(scene, 'guidance');
  const sigma = startOrLogNormal(draw, data, { ...o, startShare: 0 });
  const x = addNoise(data, sigma, draw.normal('eps', data));
  const point = { x, sigma, towards: guided(nets.teacher.denoise, scale)(x, sigma, condition) };
  const { error } = consistencyError(nets.student, point, student, clock['tangent']!, { ...o, taming: 'norm' });
  return adaptively(error, o.priorWeight ? reciprocal(sigma) : null, heads.variance({}, sigma));
}

/** Samples that are judged. The phases follow each other and draw their own. */
function generate(scene: SanaScene, phase: string): Tensor {
  const { student } = drawnScale(scene, `${phase} guidance`);
  return ofNoiseOrData(scene, (x, sigma) => scene.nets.student.denoise(x, sigma, student), phase);
}
const judged = (scene: SanaScene) => told(scene, generate(scene, 'discriminator'));

export default defineLoss({
  name: 'sana-sprint',
  title: "consistency in continuous time, made sharp by heads on the frozen teacher's hidden maps",
  reference: '2503.09641',
  options: sanaOptions,
  recommended: { lr: 2e-4, beta1: 0, beta2: 0.99 },
  needsClasses: true,
  players: { student: { from: 'teacher', scalars: ['guidance'] }, teacher: 'teacher' },
  heads: ['variance', 'discriminator'],
  levelHeads: ['variance'],
  clock: { tangent: tangentShare },
  form: (o) => ({ kind: 'told', scalars: { guidance: placeOf(o.guidance, o) } }),
  phases: {
    student: {
      trains: ['student', 'variance'],
      terms(scene) {
        const { consistencyWeight, ganWeight } = scene.options;
        const consistent = consistency(scene);
        const gan = hingeGeneratorLoss(judge(scene, generate(scene, 'student'), 'student'));
        return { loss: consistent.mul(consistencyWeight).add(gan.mul(ganWeight)), consistent, gan };
      },
    },
    discriminator: { trains: ['discriminator'], runs: unpenalised, terms: (scene) => withoutPenalty(judged(scene)) },
    penalised: { trains: ['discriminator'], runs: penalised, terms: (scene) => withPenalty(judged(scene), scene.data, scene.options) },
  },
});
