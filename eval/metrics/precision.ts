/** @file Precision: the share of samples that lie among the real ones. Kynkäänniemi et al. 2019, arXiv:1904.06991. */
import { options } from '../../engine/train/options.ts';
import { ofShare } from '../intervals.ts';
import { prdcOfSets } from '../manifold/prdc.ts';
import { defineMetric } from '../metric.ts';
import { fewNeighbours, meanOfAll, NEAREST } from './settings.ts';

export const precision = defineMetric({
  id: 'precision',
  label: 'precision',
  source: 'Kynkäänniemi et al. 2019, arXiv:1904.06991',
  better: 'higher',
  needs: { generated: ['features'], reference: ['features'] },
  settings: options(NEAREST),
  async compute(generated, reference, { k }) {
    const { precise } = await prdcOfSets('precision', generated, reference, k);
    const value = meanOfAll(precise);
    return { value, ...ofShare(value, precise.length), warnings: fewNeighbours('precision', generated, reference!) };
  },
});
