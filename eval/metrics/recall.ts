/** @file Recall: the share of real samples that lie among the generated ones. Kynkäänniemi et al. 2019, arXiv:1904.06991. */
import { options } from '../../engine/train/options.ts';
import { ofShare } from '../intervals.ts';
import { prdcOfSets } from '../manifold/prdc.ts';
import { defineMetric } from '../metric.ts';
import { fewNeighbours, meanOfAll, NEAREST } from './settings.ts';

export const recall = defineMetric({
  id: 'recall',
  label: 'recall',
  source: 'Kynkäänniemi et al. 2019, arXiv:1904.06991',
  better: 'higher',
  needs: { generated: ['features'], reference: ['features'] },
  settings: options(NEAREST),
  async compute(generated, reference, { k }) {
    const { recalled } = await prdcOfSets('recall', generated, reference, k);
    const value = meanOfAll(recalled);
    return { value, ...ofShare(value, recalled.length), warnings: fewNeighbours('recall', generated, reference!) };
  },
});
