/** @file Images and texts through towers of the shape of CLIP ViT-B/32, on formula weights. */
import { availableParallelism } from 'node:os';
import { input } from '../../engine/graph/ops/leaf.ts';
import { fillNormal, streamKey } from '../../engine/random/philox.ts';
import { float32 } from '../../engine/run/runtime.ts';
import { textLengths, textTower } from '../../eval/clip/text-tower.ts';
import { declaredBy, openTower, type TowerGraph } from '../../eval/clip/tower.ts';
import { clip, readClip } from '../../models/foreign/clip.ts';
import { formulaWeights } from '../../models/foreign/testing/formula-weights.ts';
import { writeExchange } from '../exchange.ts';
import type { Work } from './training.ts';

/** Images and texts of a round. */
export const BATCH = 32;
const [SIDE, CONTEXT] = [224, 77];
/** The first token of a text and its last. */
const [START, END] = [49406, 49407];

/** Captions of 5 to 36 tokens, filled up with the last as the tokenizer does. */
function tokens(): Float32Array {
  const ids = new Float32Array(BATCH * CONTEXT).fill(END);
  for (let i = 0; i < BATCH; i++) {
    ids[i * CONTEXT] = START;
    for (let t = 1; t < 5 + i; t++) ids[i * CONTEXT + t] = 320 + ((i * 7919 + t * 104729) % 40_000);
  }
  return ids;
}

/** A round runs both towers once. The peer finds weights, pixels and tokens in `folder`. */
export async function clipWork(threads: number, folder: string | null): Promise<Work> {
  const config = readClip('ViT-B/32', { model_type: 'clip', text_config: {}, vision_config: {} });
  const image: TowerGraph = (scope) => clip(scope, config).image(input('pixels', ['N', 3, SIDE, SIDE])).features;
  const textOf =
    (length: number): TowerGraph =>
    (scope) =>
      clip(scope, config).text(input('ids', ['N', length], 'int64')).features;
  const weightsOf = (graph: TowerGraph) => formulaWeights(declaredBy(graph).values());
  const weights = { image: weightsOf(image), text: weightsOf(textOf(CONTEXT)) };
  const pixels = new Float32Array(BATCH * 3 * SIDE * SIDE);
  fillNormal(pixels, streamKey(1, 0, 'bench/clip'), 3 * SIDE * SIDE);
  const ids = tokens();
  if (folder)
    await writeExchange(folder, {
      ...Object.fromEntries([...weights.image, ...weights.text].map(([name, w]) => [`weights/${name}`, w])),
      pixels: { shape: [BATCH, 3, SIDE, SIDE], data: pixels },
      ids: { shape: [BATCH, CONTEXT], data: ids },
    });
  const cores = threads || availableParallelism();
  const towers = {
    image: await openTower('image', image, weights.image, cores),
    text: textTower((length) => openTower('text', textOf(length), weights.text, cores), textLengths(CONTEXT, true)),
  };
  const texts = { ids: BigInt64Array.from(ids, (v) => BigInt(v)), mask: new BigInt64Array(ids.length).fill(1n), length: CONTEXT };
  return {
    facts: { images: BATCH, texts: BATCH, threads: cores },
    async round() {
      const a = await towers.image.run({ pixels: float32(pixels, [BATCH, 3, SIDE, SIDE]) });
      const b = await towers.text.run(texts);
      return [...a.subarray(0, 8), ...b.subarray(0, 8)];
    },
    async close() {
      await towers.image.close();
      await towers.text.close();
    },
  };
}
