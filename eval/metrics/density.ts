/** @file Density: how many real balls hold a sample, over k; unlike precision it is not fooled by single real outliers. Naeem et al. 2020, arXiv:2002.09797. */
import { options } from '../../engine/train/options.ts';
import { ofMean } from '../intervals.ts';
import { prdcOfSets } from '../manifold/prdc.ts';
import { defineMetric } from '../metric.ts';
import { fewNeighbours, meanOfAll, NEAREST } from './settings.ts';

export const density = defineMetric({
  id: 'density',
  label: 'density',
  source: 'Naeem et al. 2020, arXiv:2002.09797',
  better: 'higher',
  needs: { generated: ['features'], reference: ['features'] },
  settings: options(NEAREST),
  async compute(generated, reference, { k }) {
    const { density } = await prdcOfSets('density', generated, reference, k);
    const value = meanOfAll(density);
    return { value, ...ofMean(density), warnings: fewNeighbours('density', generated, reference!) };
  },
});
