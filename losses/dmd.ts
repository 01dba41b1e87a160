/**
 * @file DMD: the student follows the difference of the teacher's score and a fake score, which is trained on the student's samples as
 * often as the student; and it learns the teacher's own samples of stored noise, which keeps modes that the scores alone would lose. Yin et al. 2024,
 * arXiv:2311.18828.
 * The regression needs pairs, so that it is off unless `regressionWeight` asks for it; the paper has 0.25. Its distance is LPIPS in the paper. Here
 * it is squared, or, in the manner of LPIPS, taken in the frozen teacher's hidden maps of both samples under the same light noise, without learned
 * weights of their channels: no published number holds for that.
 */
import type { Tensor } from '../engine/graph/tensor.ts';
import { defineLoss, type Scene } from '../engine/train/loss.ts';
import { perSample } from '../engine/train/network.ts';
import { choice, options, real, type Values, whole } from '../engine/train/options.ts';
import { guided } from '../samplers/guidance.ts';
import { matchingTerm } from './matching-terms.ts';
import { mapOptions, mapsUnderNoise, perceptualDistance } from './perceptual-terms.ts';
import { addNoise, called, edmWeight, indexedLevel, mse, oneStep, weightedSquares } from './terms.ts';

const dmdOptions = options({
  guidance: real(1, "scale of classifier-free guidance in the teacher's score; 1 is none", { min: 0, max: 100 }),
  regressionWeight: real(0, "weight of the regression onto the teacher's samples of stored noise, which needs pairs; the paper has 0.25", {
    min: 0,
  }),
  distance: choice(['l2', 'features'], 'l2', "distance of the regression: squared, or in the teacher's hidden maps"),
  ...mapOptions.shape,
  sigmaData: real(0.5, 'standard deviation of the data', { min: 1e-3 }),
  studentLevel: real(80, 'noise level at which the student is called', { min: 1e-3 }),
  levels: whole(1000, 'noise levels from which those of the scores are drawn', { min: 2, max: 1_000_000 }),
  lowest: real(0.02, 'lowest level of the matching term, as a fraction of the list', { min: 0, max: 1 }),
  highest: real(0.98, 'highest level of the matching term, as a fraction of the list', { min: 0, max: 1 }),
  guard: real(1e-6, 'added to the denominator of the matching direction', { min: 0 }),
});
type DmdScene = Scene<'student' | 'teacher' | 'fake', never, Values<typeof dmdOptions>>;

const anyLevel = ({ draw, schedule, data, options: o }: DmdScene, name: string, from?: number, to?: number): Tensor =>
  indexedLevel(schedule, draw.uniform(name, perSample(data)), o.levels, from, to);

/** The distance of the student's samples from the teacher's, of the same noise. Section 3.3. */
function regression(scene: DmdScene): Tensor {
  const { noise, sample, condition } = scene.pair();
  const x = called(scene, noise, condition);
  if (scene.options.distance === 'l2') return mse(x, sample);
  const maps = (clean: Tensor) => mapsUnderNoise('dmd', scene, clean, condition, 'pair');
  return perceptualDistance(maps(x), maps(sample)).mean();
}

export default defineLoss({
  name: 'dmd',
  title: 'distribution matching with a fake score, with or without regression on pairs',
  reference: '2311.18828',
  options: dmdOptions,
  pairs: ({ regressionWeight }) => regressionWeight > 0,
  players: { student: 'teacher', teacher: 'teacher', fake: 'teacher' },
  simultaneous: true,
  phases: {
    student: {
      trains: ['student'],
      terms(scene) {
        const { nets, draw, options: o } = scene;
        const { x, condition } = oneStep(scene); // both phases see the same samples
        const sigma = anyLevel(scene, 'matching level', o.lowest, o.highest);
        const samples = { x, condition, sigma, xt: addNoise(x, sigma, draw.normal('matching noise', x)) };
        const matching = matchingTerm(samples, guided(nets.teacher.denoise, o.guidance), nets.fake.denoise, o.guard); // eq. 7 and 8
        if (o.regressionWeight === 0) return { loss: matching, matching };
        const distance = regression(scene);
        return { loss: matching.add(distance.mul(o.regressionWeight)), matching, regression: distance };
      },
    },
    fake: {
      trains: ['fake'],
      terms(scene) {
        const { nets, draw, options: o } = scene;
        const generated = oneStep(scene);
        const [x, condition] = [generated.x.stop(), generated.condition];
        const sigma = anyLevel(scene, 'score level');
        const denoised = nets.fake.denoise(addNoise(x, sigma, draw.normal('score noise', x)), sigma, condition);
        return { loss: weightedSquares(denoised, x, edmWeight(sigma, o.sigmaData)) }; // eq. 6
      },
    },
  },
});
