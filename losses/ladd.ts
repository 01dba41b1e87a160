/**
 * @file LADD: an adversarial student; heads on the frozen teacher's hidden maps tell noised real samples from noised generated ones, and the level
 * of that noise says whether shape or detail is judged. Sauer et al. 2024, arXiv:2403.12015. Hinge loss and the kinds of levels are those of the
 * adversarial half of SANA-Sprint, Chen et al. 2025, arXiv:2503.09641: a logit-normal angle tan t = σ/σ_d is a log-normal level.
 * Alone, one step is best trained on pure noise: nothing tells the heads which samples come of noised data, so that those make up for the faults of
 * the others. The penalty R1 keeps the heads smooth; momentum makes the two circle until the samples collapse: beta1 is 0.
 * Left out: synthetic data instead of real ones, and real samples with a wrong text as further fakes.
 */
import { defineLoss, type Scene } from '../engine/train/loss.ts';
import type { Values } from '../engine/train/options.ts';
import { hingeGeneratorLoss, penalised, unpenalised, withoutPenalty, withPenalty } from './adversarial-terms.ts';
import { judge, laddOptions, ofNoiseOrData, told } from './ladd-terms.ts';

const own = laddOptions({ pure: 1, judgeMean: -1.2, r1: 1 });
type LaddScene = Scene<'student' | 'teacher', 'discriminator', Values<typeof own>>;

/** Samples of the student, of the conditions of the data. The phases follow each other and draw their own. */
const generate = (scene: LaddScene, phase: string) =>
  ofNoiseOrData(scene, (x, sigma) => scene.nets.student.denoise(x, sigma, scene.condition), phase);
const judged = (scene: LaddScene) => told(scene, generate(scene, 'discriminator'));

export default defineLoss({
  name: 'ladd',
  title: "adversarial distillation with heads on the frozen teacher's hidden maps",
  reference: '2403.12015',
  options: own,
  recommended: { beta1: 0, beta2: 0.99, lr: 1e-4 },
  players: { student: 'teacher', teacher: 'teacher' },
  heads: ['discriminator'],
  phases: {
    student: { trains: ['student'], terms: (scene) => ({ loss: hingeGeneratorLoss(judge(scene, generate(scene, 'student'), 'student')) }) },
    discriminator: { trains: ['discriminator'], runs: unpenalised, terms: (scene) => withoutPenalty(judged(scene)) },
    penalised: { trains: ['discriminator'], runs: penalised, terms: (scene) => withPenalty(judged(scene), scene.data, scene.options) },
  },
});
