/** @file The Fréchet distance at the 2,048 dimensions of Inception features, from means and covariances to the number. */
import { fillNormal, streamKey } from '../../engine/random/philox.ts';
import { frechetBetween, gaussianOfMoments } from '../../eval/gaussian.ts';
import { momentsFast } from '../../eval/moments-fast.ts';
import { type Shared, writeExchange } from '../exchange.ts';
import type { Work } from './training.ts';

const DIMENSIONS = 2048;
/** More than dimensions, so that covariances have full rank: the slowest case. */
const SAMPLES = 4096;

/** Rectified normals with a scale of their own in each dimension, as features are. */
function features(name: string, shift: number): Shared {
  const data = new Float32Array(SAMPLES * DIMENSIONS);
  fillNormal(data, streamKey(1, 0, `bench/frechet/${name}`), DIMENSIONS);
  for (let i = 0; i < data.length; i++) data[i] = Math.max(0, (data[i]! + shift) * (0.2 + (((i % DIMENSIONS) * 7919) % 101) / 100));
  return { shape: [SAMPLES, DIMENSIONS], data };
}

/** A round takes both covariances apart and gives one distance. */
export async function frechetWork(folder: string | null): Promise<Work> {
  const sets = { generated: features('generated', 0), reference: features('reference', 0.05) };
  if (folder) await writeExchange(folder, sets);
  const generated = await momentsFast(sets.generated.data, DIMENSIONS);
  const reference = await momentsFast(sets.reference.data, DIMENSIONS);
  return {
    facts: { dimensions: DIMENSIONS, samples: SAMPLES },
    round: async () => [await frechetBetween(await gaussianOfMoments(generated), await gaussianOfMoments(reference))],
  };
}
