/**
 * @file GDD: the teacher's weights are tuned into a one-step generator by a discriminator alone; there is no target to regress to and no score to
 * match. Zheng and Yang 2024, arXiv:2405.20750.
 * The paper's discriminator sees clean images through frozen classifiers of ImageNet. Here its eyes are the frozen teacher, on images that are
 * lightly noised. The penalty is of the mean loss; the reference code's 1e-4 on every 16th step is of a sum over the batch. Momentum makes the two
 * circle until the samples collapse: beta1 is 0.
 * With `freeze` convolutions (GDD-I) those inside the residual blocks and the outputs of attention stay the teacher's.
 * Left out: the regression on perceptual distance, and the shift of the preconditioning to the identity at 0.002, which changes nothing at level 80.
 */
import '../engine/graph/fluent.ts';
import { fill } from '../engine/graph/ops/movement.ts';
import type { Tensor } from '../engine/graph/tensor.ts';
import { defineLoss, type Scene } from '../engine/train/loss.ts';
import { type Condition, perSample } from '../engine/train/network.ts';
import { choice, options, real, type Values } from '../engine/train/options.ts';
import { hiddenMaps, type Judged, penalised, penaltyOptions, unpenalised, withoutPenalty, withPenalty } from './adversarial-terms.ts';
import { addNoise, discriminatorLoss, generatorLoss, oneStep } from './terms.ts';

const gddOptions = options({
  studentLevel: real(80, 'noise level at which the student is called', { min: 1e-3 }),
  judgeLevel: real(0.1, 'noise level under which the teacher sees samples', { min: 1e-3 }),
  freeze: choice(['none', 'convolutions'], 'none', 'weights that stay the teacher’s: those of convolutions inside blocks (GDD-I)'),
  ...penaltyOptions(0.01).shape,
});
/** Names in EDM's networks; the first and last convolution, skips, norms and embeddings are trained. */
const INSIDE = /\.(conv0|conv1|proj)\.(weight|bias)$/;
type GddScene = Scene<'student' | 'teacher', 'discriminator', Values<typeof gddOptions>>;

/** Logits of samples under light noise. */
function judge({ nets, heads, draw, options: { judgeLevel } }: GddScene, x: Tensor, condition: Condition, name: string): Tensor {
  const sigma = fill(judgeLevel, perSample(x).shape);
  const xt = addNoise(x, sigma, draw.normal(`${name} noise`, x));
  return heads.discriminator(hiddenMaps(nets.teacher, xt, sigma, condition), sigma);
}

/** The discriminator's loss, with the logits of real samples. */
function told(scene: GddScene): Judged {
  const { x, condition } = oneStep(scene, 'discriminator');
  const fake = judge(scene, x.stop(), condition, 'fake');
  const real = judge(scene, scene.data, scene.condition, 'real');
  return { loss: discriminatorLoss(real, fake), real, fake };
}

export default defineLoss({
  name: 'gdd',
  title: 'a discriminator alone turns the teacher into a one-step generator',
  reference: '2405.20750',
  options: gddOptions,
  recommended: { beta1: 0, beta2: 0.99, lr: 1e-4 },
  players: { student: 'teacher', teacher: 'teacher' },
  heads: ['discriminator'],
  freezes: ({ freeze }) => (freeze === 'convolutions' ? { student: (weight) => INSIDE.test(weight) } : {}),
  phases: {
    student: {
      trains: ['student'],
      terms(scene) {
        const { x, condition } = oneStep(scene, 'student');
        return { loss: generatorLoss(judge(scene, x, condition, 'student')) };
      },
    },
    discriminator: { trains: ['discriminator'], runs: unpenalised, terms: (scene) => withoutPenalty(told(scene)) },
    penalised: { trains: ['discriminator'], runs: penalised, terms: (scene) => withPenalty(told(scene), scene.data, scene.options) },
  },
});
