/**
 * @file Drifting: on every step generated samples are asked to be a little closer to real ones and further from each other, so that the student's
 * samples drift until both pulls cancel. No teacher, no discriminator. Deng et al. 2026, arXiv:2602.04770.
 * Distances are those of samples as they are, which tells points and small images apart; in large images all distances are alike, and the paper's
 * features of a masked autoencoder, left out here, are needed (teacher-drift has the teacher's). Also left out: guidance drawn anew for each sample and
 * told to the student, queues of samples, and random style codes. The student starts from the teacher, not afresh.
 * The loss is no measure of progress: each radius has size 1 also where nothing is left to learn. `power` is its mean square before.
 */
import '../engine/graph/fluent.ts';
import { fixed, type Tensor } from '../engine/graph/tensor.ts';
import { defineLoss } from '../engine/train/loss.ts';
import { choice, OptionError, options, real, reals } from '../engine/train/options.ts';
import { driftLoss, guidanceWeight, sameClass } from './drift-terms.ts';
import { called } from './terms.ts';

/** Samples as rows. */
const flat = (x: Tensor): Tensor => x.reshape([x.shape[0]!, -1]);

export default defineLoss({
  name: 'drift',
  title: 'samples drift towards real ones and away from each other',
  reference: '2602.04770',
  options: options({
    radii: reals([0.2, 0.05, 0.02], 'widths of the kernel, as fractions of the mean distance', { min: 1e-3, max: 100 }),
    affinity: choice(
      ['both', 'rows'],
      'both',
      'who pulls whom: compared among targets and among generated samples (reference code), or among targets of one kind (the plain field)',
    ),
    guidance: real(1, 'scale of guidance: real samples of all classes repel as well; 1 is none', { min: 1, max: 100 }),
    studentLevel: real(80, 'noise level at which the student is called', { min: 1e-3 }),
  }),
  recommended: { beta2: 0.95, clip: 2 },
  coupled: true, // generated samples are pushed apart and pulled to the batch's real ones
  players: { student: 'teacher' },
  phases: {
    student: {
      trains: ['student'],
      terms(scene) {
        const { data, condition, draw, options: o } = scene;
        if (o.radii.length === 0) throw new OptionError('drift.radii: none is given; give at least one');
        const n = fixed('drift', data.shape[0]);
        // As many generated as real samples of every class.
        const x = called(scene, draw.normal('z', data), condition);
        const same = sameClass(n, condition['label']);
        const real = flat(data);
        const unconditional = o.guidance > 1 ? { negatives: { points: real, weight: guidanceWeight(o.guidance, same, n) } } : {};
        const crowd = { generated: flat(x), positives: real, towards: same, same, ...unconditional };
        const { loss, powers } = driftLoss(crowd, { radii: o.radii, affinity: o.affinity, apart: 100 });
        return { loss, ...Object.fromEntries(powers.map((power, i) => [`power${o.radii[i]}`, power])) };
      },
    },
  },
});
