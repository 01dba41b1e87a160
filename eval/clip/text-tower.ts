/** @file The text tower of a network in which tokens look back alone: texts that end early are computed up to there. */
import { int64 } from '../../engine/run/runtime.ts';
import type { TokenBatch } from '../../models/foreign/tokenizer.ts';
import { inBatches, type Tower } from './tower.ts';

export interface TextTower {
  /** [n, dimensions] for n texts. */
  run(batch: Pick<TokenBatch, 'ids' | 'mask' | 'length'>): Promise<Float32Array>;
  close(): Promise<void>;
}

/** Most captions have fewer tokens. */
const SHORT = 32;
/** Lengths for which a tower with so many positions is compiled, each when it is first needed. @param causal whether tokens look back alone */
export const textLengths = (context: number, causal: boolean): readonly number[] =>
  causal && context > SHORT ? [SHORT, context] : [context];

/** Texts in one run. */
const TEXTS = 32;

/** Tokens up to the first of those that a text is filled up with. */
function usedTokens(ids: BigInt64Array): number {
  let n = ids.length;
  while (n > 1 && ids[n - 2] === ids[n - 1]) n--;
  return n;
}

/** @param open a tower for texts of a length; @param lengths ascending, up to that of the batches */
export function textTower(open: (length: number) => Promise<Tower>, lengths: readonly number[]): TextTower {
  const opened = new Map<number, Promise<Tower>>();
  const towerFor = (length: number): Promise<Tower> => {
    const tower = opened.get(length) ?? open(length);
    opened.set(length, tower);
    return tower;
  };
  return {
    async run({ ids, mask, length }) {
      const n = ids.length / length;
      const rowsOf = (values: BigInt64Array, row: number): BigInt64Array => values.subarray(row * length, (row + 1) * length);
      const groups = new Map<number, number[]>(); // rows by the length that they are computed at
      for (let row = 0; row < n; row++) {
        const cut = lengths.find((each) => each >= usedTokens(rowsOf(ids, row))) ?? length;
        groups.set(cut, [...(groups.get(cut) ?? []), row]);
      }
      let out = new Float32Array(0);
      for (const [cut, rows] of groups) {
        const tower = await towerFor(cut);
        const part = (values: BigInt64Array, from: number, to: number) => {
          const tokens = new BigInt64Array((to - from) * cut);
          for (let i = from; i < to; i++) tokens.set(rowsOf(values, rows[i]!).subarray(0, cut), (i - from) * cut);
          return int64(tokens, [to - from, cut]);
        };
        const features = await inBatches(tower, rows.length, TEXTS, (from, to) => ({
          ids: part(ids, from, to),
          mask: part(mask, from, to),
        }));
        const d = tower.dimensions;
        if (out.length === 0) out = new Float32Array(n * d);
        for (const [i, row] of rows.entries()) out.set(features.subarray(i * d, (i + 1) * d), row * d);
      }
      return out;
    },
    async close() {
      for (const tower of opened.values()) await (await tower.catch(() => null))?.close();
    },
  };
}
