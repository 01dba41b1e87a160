/**
 * @file KD: one call of the student learns the sample that the teacher's sampler makes of the same noise, from pairs that are stored beforehand.
 * Luhman and Luhman 2021, arXiv:2101.02388. A perceptual distance, which later work takes instead, is left out.
 */
import { defineLoss } from '../engine/train/loss.ts';
import { options, real } from '../engine/train/options.ts';
import { distanceOf, distanceOptions } from './regression-terms.ts';
import { called } from './terms.ts';

export default defineLoss({
  name: 'kd',
  title: "regression onto the teacher's samples of stored noise",
  reference: '2101.02388',
  options: options({
    ...distanceOptions.shape,
    studentLevel: real(80, 'noise level at which the student is called', { min: 1e-3 }),
  }),
  pairs: true,
  players: { student: 'teacher' },
  phases: {
    student: {
      trains: ['student'],
      terms(scene) {
        const { noise, sample, condition } = scene.pair();
        return { loss: distanceOf(called(scene, noise, condition), sample, scene.options) };
      },
    },
  },
});
