/** @file Draws samples at a measured pace. */
import { InputError } from '../../engine/io/errors.ts';
import type { ConditionTable } from '../../engine/train/conditions.ts';
import { labelsInTurn } from '../../student/labels.ts';
import type { Source } from './source.ts';

export interface Drawn {
  /** [n, …sample], about [-1, 1]. */
  readonly images: Float32Array;
  readonly labels: Int32Array | null;
  readonly n: number;
  readonly seconds: number;
  /** Pace after the first batch, which compiles; of the whole where there is only one. */
  readonly imagesPerSecond: number;
}
export interface Pace {
  readonly done: number;
  readonly n: number;
  readonly imagesPerSecond: number;
  readonly secondsLeft: number;
}

/** Classes of n samples: the given ones in turn; every class in turn where none are given. Errors: classes that the model does not have. */
export const labelsFor = (
  { name, sample: { classes } }: Pick<Source, 'name' | 'sample'>,
  given: readonly number[],
  n: number,
): Int32Array | null => labelsInTurn(name, classes, given, n);

/** The conditions of prompts, which samples take in turn; none without prompts. Errors: a model that takes no texts. */
export async function promptsFor(
  { name, texts }: Pick<Source, 'name' | 'texts'>,
  prompts: readonly string[],
  onNote: (text: string) => void,
): Promise<{ readonly conditions?: ConditionTable }> {
  if (prompts.length === 0) return {};
  if (!texts) throw new InputError(`prompt: ${name} takes no texts; leave prompts out`);
  return { conditions: await texts(prompts, onNote) };
}

/** Draws n samples and tells how it goes on. */
export async function drawSamples(
  { generator }: Pick<Source, 'generator'>,
  { n, seed, labels, conditions }: Pick<Drawn, 'n' | 'labels'> & { readonly seed: number; readonly conditions?: ConditionTable },
  onPace?: (pace: Pace) => void,
): Promise<Drawn> {
  const start = performance.now();
  const since = (from: number): number => (performance.now() - from) / 1000;
  let first: { readonly at: number; readonly done: number } | null = null;
  const rate = (done: number): number => (first && done > first.done ? (done - first.done) / since(first.at) : done / since(start));
  const images = await generator.generate({
    labels,
    ...(conditions ? { conditions } : {}),
    n,
    seed,
    onProgress(done) {
      const imagesPerSecond = rate(done);
      first ??= { at: performance.now(), done };
      onPace?.({ done, n, imagesPerSecond, secondsLeft: (n - done) / imagesPerSecond });
    },
  });
  return { images, labels, n, seconds: since(start), imagesPerSecond: rate(n) };
}
