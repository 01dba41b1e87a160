/**
 * @file Teacher-Feature Drifting: generated samples drift towards real ones in the hidden maps of the frozen teacher at light noise, each map by
 * itself, and each real sample wants some generated ones nearby. arXiv:2605.07327.
 * Generated, real and anchor samples are the batch's, each under noise of its own; anchors are the same samples as the real ones. The level of the
 * noise is fixed, which did best in the paper's comparison; the reference code draws it from a log-normal cut off there.
 */
import '../engine/graph/fluent.ts';
import { fixed, type Tensor } from '../engine/graph/tensor.ts';
import { defineLoss, type Scene } from '../engine/train/loss.ts';
import { OptionError, options, real, reals, texts, type Values, whole } from '../engine/train/options.ts';
import { anchorLoss, driftLoss, pooled, sameClass } from './drift-terms.ts';
import { mapOptions, mapsUnderNoise } from './perceptual-terms.ts';
import { called } from './terms.ts';

const teacherDriftOptions = options({
  maps: texts(['bottleneck'], 'hidden maps of the teacher in which samples drift; several are better than the bottleneck alone'),
  cells: whole(4, 'maps are averaged down to so many rows and columns', { min: 1, max: 64 }),
  mapLevel: mapOptions.shape.mapLevel,
  radii: reals([0.02, 0.05, 0.1, 0.2], 'widths of the kernel, as fractions of the mean distance', { min: 1e-3, max: 100 }),
  anchorWeight: real(1, 'weight of the term that keeps generated samples near every real one', { min: 0 }),
  studentLevel: real(80, 'noise level at which the student is called', { min: 1e-3 }),
});
type DriftScene = Scene<'student' | 'teacher', never, Values<typeof teacherDriftOptions>>;

/** The chosen maps of noised samples, each as rows [N, S]. */
const seen = (scene: DriftScene, x: Tensor, name: string): Tensor[] =>
  mapsUnderNoise('teacher-drift', scene, x, scene.condition, name).map((map) => pooled(map, scene.options.cells));

export default defineLoss({
  name: 'teacher-drift',
  title: "samples drift towards real ones in the teacher's hidden maps",
  reference: '2605.07327',
  options: teacherDriftOptions,
  recommended: { clip: 10 },
  coupled: true, // generated samples are pushed apart and pulled to the batch's real ones
  players: { student: 'teacher', teacher: 'teacher' },
  phases: {
    student: {
      trains: ['student'],
      terms(scene) {
        const { data, condition, draw, options: o } = scene;
        if (o.maps.length === 0 || o.radii.length === 0)
          throw new OptionError('teacher-drift: no maps or no radii; give at least one of both');
        // As many generated as real samples of every class.
        const x = called(scene, draw.normal('z', data), condition);
        const same = sameClass(fixed('teacher-drift', data.shape[0]), condition['label']);
        const [generated, positives, anchors] = [seen(scene, x, 'generated'), seen(scene, data, 'positive'), seen(scene, data, 'anchor')];
        const drifting = { radii: o.radii, affinity: 'both', apart: 1e6 } as const;
        const each = generated.map((rows, i) => driftLoss({ generated: rows, positives: positives[i]!, towards: same, same }, drifting));
        const drift = each.map(({ loss }) => loss).reduce((sum, l) => sum.add(l));
        const power = each
          .flatMap(({ powers }) => powers)
          .reduce((sum, p) => sum.add(p))
          .mul(1 / (o.maps.length * o.radii.length));
        const anchor = generated.map((rows, i) => anchorLoss(rows, anchors[i]!, same, same)).reduce((sum, l) => sum.add(l));
        return { loss: drift.add(anchor.mul(o.anchorWeight)), drift, anchor, power };
      },
    },
  },
});
