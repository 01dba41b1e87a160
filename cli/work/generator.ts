/** @file Draws samples of a model, batch by batch. */
import { InputError } from '../../engine/io/errors.ts';
import type { Model } from './model.ts';
import { type SolverOptions, solverOf } from './solver.ts';
import { evaluationsOf, openTrajectories, type Span } from './trajectory.ts';

export { sampleNoise } from './feeds.ts';

export interface GeneratorOptions extends SolverOptions {
  readonly guidance?: number;
  /** Bound of the denoised sample at every step; 0 for none. */
  readonly clip?: number;
  readonly batch?: number;
  readonly threads?: number;
}
export interface SampleRequest {
  /** Class of each sample; null without classes. */
  readonly labels: ArrayLike<number> | null;
  readonly n: number;
  readonly seed: number;
  /** Called after each batch with the number done. */
  readonly onProgress?: (done: number) => void;
}
export interface Generator {
  /** Network evaluations per sample. */
  readonly nfe: number;
  readonly sampler: string;
  /** Samples [n, …sample]; sample i depends on (seed, i) alone, not on the batch size. */
  generate(request: SampleRequest): Promise<Float32Array>;
  close(): Promise<void>;
}

/** Prepares sampling. Errors: those of `solverOf`, or guidance without classes. */
export function openGenerator(model: Model, options: GeneratorOptions = {}): Generator {
  const { guidance = 1, batch = 100 } = options;
  const { name, sampler, levels } = solverOf(model, options);
  if (guidance !== 1 && model.card.sample.classes === 0)
    throw new InputError(`sample: guidance ${guidance} needs a model with classes, which ${model.source} does not have; leave it out`);
  const trajectories = openTrajectories(model, sampler, options);
  return {
    nfe: evaluationsOf(sampler, levels, 0, guidance),
    sampler: name,
    generate: (request) => inBatches(request, batch, model, async (piece) => (await trajectories.walk({ ...piece, levels })).x),
    close: () => trajectories.close(),
  };
}

/** Samples [n, …sample], drawn piece by piece. */
export async function inBatches(
  { labels, n, seed, onProgress }: SampleRequest,
  batch: number,
  { card }: Model,
  draw: (piece: Pick<Span, 'labels' | 'seed' | 'first' | 'count'>) => Promise<Float32Array>,
): Promise<Float32Array> {
  const size = card.sample.shape.reduce((a, b) => a * b, 1);
  const out = new Float32Array(n * size);
  for (let first = 0; first < n; first += batch) {
    const count = Math.min(batch, n - first);
    out.set(await draw({ labels, seed, first, count }), first * size);
    onProgress?.(first + count);
    await new Promise((resolve) => setImmediate(resolve)); // a run blocks the event loop: let signals through
  }
  return out;
}
