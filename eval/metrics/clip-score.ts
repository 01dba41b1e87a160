/** @file CLIP score: how well images fit their captions, by the cosine of their features, in the conventions that papers quote. */
import { choice, options } from '../../engine/train/options.ts';
import { CLIP_SCORE_NAMES, CLIP_SCORES, type ClipScoreName, pairCosines, type ScoreConvention } from '../clip/score.ts';
import { around } from '../intervals.ts';
import { defineMetric } from '../metric.ts';
import { atLeast, featuresOf, missing } from '../rows.ts';

export const clipScoreSettings = options({
  clipConvention: choice(
    CLIP_SCORE_NAMES as readonly [ClipScoreName, ...ClipScoreName[]],
    'clip-score',
    CLIP_SCORE_NAMES.map((name) => `${name}: ${CLIP_SCORES[name].meaning}`).join('; '),
  ),
});

export const clipScoreMetric = defineMetric({
  id: 'clip-score',
  label: 'CLIP score',
  source: 'Hessel et al. 2021, arXiv:2104.08718',
  better: 'higher',
  needs: { generated: ['features', 'pairs'], reference: [] },
  settings: clipScoreSettings,
  async compute(generated, _, { clipConvention }) {
    if (!generated.pairs) throw missing('clip-score', generated, 'pairs');
    atLeast('clip-score', generated, 1);
    const { score }: ScoreConvention = CLIP_SCORES[clipConvention];
    const cosines = pairCosines(
      Float32Array.from(featuresOf('clip-score', generated)),
      Float32Array.from(generated.pairs),
      generated.dimensions,
    );
    const value = score(cosines);
    // Each convention is a mean over the pairs, up to a clamp.
    const each = Float64Array.from(cosines, (cosine) => score(Float64Array.of(cosine)));
    const mean = each.reduce((sum, one) => sum + one, 0) / each.length;
    const spread = Math.sqrt(each.reduce((sum, one) => sum + (one - mean) ** 2, 0) / (each.length - 1));
    const warnings = each.length < 100 ? [`clip-score: ${each.length} pairs; the mean of few captions says little of others`] : [];
    return { value, ...around(value, spread / Math.sqrt(each.length)), warnings };
  },
});
