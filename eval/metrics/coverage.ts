/** @file Coverage: the share of real samples with a generated one nearer than their k-th real neighbour. Naeem et al. 2020, arXiv:2002.09797. */
import { options } from '../../engine/train/options.ts';
import { ofShare } from '../intervals.ts';
import { prdcOfSets } from '../manifold/prdc.ts';
import { defineMetric } from '../metric.ts';
import { fewNeighbours, meanOfAll, NEAREST } from './settings.ts';

export const coverage = defineMetric({
  id: 'coverage',
  label: 'coverage',
  source: 'Naeem et al. 2020, arXiv:2002.09797',
  better: 'higher',
  needs: { generated: ['features'], reference: ['features'] },
  settings: options(NEAREST),
  async compute(generated, reference, { k }) {
    const { covered } = await prdcOfSets('coverage', generated, reference, k);
    const value = meanOfAll(covered);
    return { value, ...ofShare(value, covered.length), warnings: fewNeighbours('coverage', generated, reference!) };
  },
});
