/** @file LPIPS diversity: how far images of one condition are from each other, by a learned perceptual distance with the user's weights. */
import { InputError } from '../../engine/io/errors.ts';
import { fillIndex, streamKey } from '../../engine/random/philox.ts';
import { choice, options, texts, whole } from '../../engine/train/options.ts';
import { LPIPS_NETS, type LpipsNet } from '../../models/foreign/lpips.ts';
import { openLpips } from '../features/lpips.ts';
import { around, jackknifeError } from '../intervals.ts';
import { defineMetric, type FeatureSet } from '../metric.ts';
import { missing } from '../rows.ts';
import { SEED } from './settings.ts';

const ID = 'lpips-diversity';
export const lpipsSettings = options({
  lpipsWeights: texts(
    [],
    'files with the weights of LPIPS: the trunk as torchvision has it, the heads as its authors do; or one with both',
  ),
  lpipsNet: choice(LPIPS_NETS as readonly [LpipsNet, ...LpipsNet[]], 'alex', 'its trunk'),
  lpipsPairs: whole(100, 'pairs of images of each condition whose distance is taken; 0 for all pairs', { min: 0, max: 10_000_000 }),
  ...SEED,
});

/** Places of two images. */
export type Pair = readonly [number, number];

/** All pairs of the members, or some of them picked at random, none twice. */
export function pairsOf(members: readonly number[], wanted: number, seed: number, name: string): readonly Pair[] {
  const n = members.length;
  const total = (n * (n - 1)) / 2;
  if (wanted === 0 || total <= wanted) return members.flatMap((first, i) => members.slice(i + 1).map((second): Pair => [first, second]));
  const picked = new Map<string, Pair>();
  const drawn = new Int32Array(2 * wanted);
  for (let round = 0; picked.size < wanted; round++) {
    fillIndex(drawn, streamKey(seed, round, name), 2, n);
    for (let at = 0; at < drawn.length && picked.size < wanted; at += 2) {
      const [i, j] = [drawn[at]!, drawn[at + 1]!].sort((a, b) => a - b) as [number, number];
      if (i !== j) picked.set(`${i},${j}`, [members[i]!, members[j]!]);
    }
  }
  return [...picked.values()];
}

const meanOf = (values: readonly number[]): number => values.reduce((sum, v) => sum + v, 0) / values.length;

/** The mean distance of one condition, and its standard error: each image is left out in turn, with the pairs that it is in. */
export function meanDistance(pairs: readonly Pair[], distances: ArrayLike<number>): { readonly value: number; readonly error: number } {
  const total = pairs.reduce((sum, _, i) => sum + distances[i]!, 0);
  const own = new Map<number, { sum: number; count: number }>();
  for (const [i, pair] of pairs.entries())
    for (const image of pair) {
      const { sum, count } = own.get(image) ?? { sum: 0, count: 0 };
      own.set(image, { sum: sum + distances[i]!, count: count + 1 });
    }
  const without = [...own.values()].flatMap(({ sum, count }) => (count < pairs.length ? [(total - sum) / (pairs.length - count)] : []));
  return { value: total / pairs.length, error: without.length === own.size ? jackknifeError(without) : Number.NaN };
}

/** Places of the images by what they were asked for. */
function membersOf({ conditions, labels, images }: FeatureSet): readonly (readonly number[])[] {
  const n = images!.pixels.length / images!.shape.reduce((a, b) => a * b, 1);
  const kinds = conditions ?? labels;
  const members = new Map<number, number[]>();
  for (let i = 0; i < n; i++) {
    const kind = kinds ? kinds[i]! : 0;
    const found = members.get(kind);
    if (found) found.push(i);
    else members.set(kind, [i]);
  }
  return [...members].sort(([a], [b]) => a - b).map(([, places]) => places);
}

export const lpipsDiversity = defineMetric({
  id: ID,
  label: 'LPIPS diversity',
  source: 'Zhang et al. 2018, arXiv:1801.03924; within conditions as Zhu et al. 2017, arXiv:1711.11586',
  better: 'higher',
  needs: { generated: ['images'], reference: [] },
  settings: lpipsSettings,
  async compute(generated, _, { lpipsWeights, lpipsNet, lpipsPairs, seed }) {
    const { images, labels, conditions, name } = generated;
    if (!images) throw missing(ID, generated, 'images');
    const all = membersOf(generated);
    const groups = all.filter(({ length }) => length > 1);
    if (groups.length === 0)
      throw new InputError(`${ID}: ${name} has no two images of one condition; at least 2 of a class or caption are needed`);
    const network = await openLpips({ weights: lpipsWeights, net: lpipsNet, shape: images.shape });
    try {
      const found: { value: number; error: number; pairs: number }[] = [];
      for (const [g, members] of groups.entries()) {
        const pairs = pairsOf(members, lpipsPairs, seed, `${ID}/${g}`);
        found.push({ ...meanDistance(pairs, await network.distances(images.pixels, pairs)), pairs: pairs.length });
      }
      const value = meanOf(found.map((one) => one.value));
      const error = Math.sqrt(found.reduce((sum, one) => sum + one.error ** 2, 0)) / found.length;
      const pairs = found.reduce((sum, one) => sum + one.pairs, 0);
      const alone = all.length - groups.length;
      const warnings = [
        ...(labels || conditions
          ? []
          : [`${ID}: ${name} has no classes or captions; the distances are of all images, not within conditions`]),
        ...(alone > 0 ? [`${ID}: ${alone} conditions with one image are left out`] : []),
      ];
      return { value, ...around(value, error), warnings, details: { conditions: groups.length, pairs } };
    } finally {
      await network.close();
    }
  },
});
