/** @file Precision and recall by worker threads: the rows of a set are cut into blocks, and each thread compares some of them with all of the other set. */
import { Piscina } from 'piscina';
import { InputError } from '../../engine/io/errors.ts';
import { workerEntry } from '../../engine/io/threads.ts';
import type { Features } from '../moments.ts';
import type { Rows, Spread } from './precision-recall.ts';
import type { SpreadAnswer, SpreadTask } from './worker.ts';

/** Rows of one task: small enough that threads end together. */
const ROWS = 250;

/** Starts threads as they are needed; the numbers are those of `here`. Close it when done. Throws an InputError for fewer than 1 thread. */
export function openSpread({ threads }: { readonly threads: number }): Spread & { close(): Promise<void> } {
  if (!Number.isInteger(threads) || threads < 1) throw new InputError(`spread: ${threads} threads; a whole number of at least 1 expected`);
  const { url, execArgv } = workerEntry(import.meta.url, 'worker');
  const pool = new Piscina<SpreadTask, SpreadAnswer>({
    filename: url.href,
    name: 'work',
    execArgv,
    minThreads: 0,
    maxThreads: threads,
    idleTimeout: 60_000,
  });
  const over = ({ from, to }: Rows, task: (rows: Rows) => SpreadTask): Promise<SpreadAnswer[]> =>
    Promise.all(blocksOf(from, to).map((rows) => pool.run(task(rows))));
  return {
    async radii(task) {
      const features = shared(task.features);
      const parts = await over(task, (rows) => ({ kind: 'radii', ...task, ...rows, features }));
      return Float64Array.from(parts.flatMap((part) => Array.from(part as Float64Array)));
    },
    async inside({ features, manifold, ...rows }) {
      const [own, centres, radii] = [shared(features), shared(manifold.features), shared(manifold.radii)];
      const parts = await over(rows, (block) => ({
        kind: 'inside',
        features: own,
        manifold: { ...manifold, features: centres, radii: radii as Float64Array },
        ...block,
      }));
      return parts.reduce<number>((sum, part) => sum + (part as number), 0);
    },
    close: () => pool.destroy(),
  };
}

const blocksOf = (from: number, to: number): readonly Rows[] =>
  Array.from({ length: Math.ceil((to - from) / ROWS) }, (_, i) => ({ from: from + i * ROWS, to: Math.min(to, from + (i + 1) * ROWS) }));

/** The same values in memory that threads read without a copy. */
function shared(values: Features): Features {
  if (values.buffer instanceof SharedArrayBuffer) return values;
  const memory = new SharedArrayBuffer(values.byteLength);
  const copy = values instanceof Float32Array ? new Float32Array(memory) : new Float64Array(memory);
  copy.set(values);
  return copy;
}
