/** @file Draws samples of a model, batch by batch. */
import { InputError } from '../../engine/io/errors.ts';
import type { DeviceName } from '../../engine/run/devices.ts';
import type { ConditionTable } from '../../engine/train/conditions.ts';
import type { SampleType } from '../../engine/train/network.ts';
import { imageShape, type Latents, openLatents } from './latents.ts';
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
  readonly device?: DeviceName;
  /** Of a latent model: gives the latents themselves instead of their images. */
  readonly latents?: boolean;
}
export interface SampleRequest {
  /** Class of each sample; null without classes. */
  readonly labels: ArrayLike<number> | null;
  /** What else samples are conditioned on, taken in turn; absent: the null condition. */
  readonly conditions?: ConditionTable;
  readonly n: number;
  readonly seed: number;
  /** Called after each batch with the number done. */
  readonly onProgress?: (done: number) => void;
}
export interface Generator {
  /** Network evaluations per sample. */
  readonly nfe: number;
  readonly sampler: string;
  /** Samples [n, …sample], of a latent model their images; sample i depends on (seed, i) alone, not on the batch size. */
  generate(request: SampleRequest): Promise<Float32Array>;
  close(): Promise<void>;
}

/** Prepares sampling. Errors: those of `solverOf`, or guidance without classes. */
export function openGenerator(model: Model, options: GeneratorOptions = {}): Generator {
  const { guidance = 1, batch = 100 } = options;
  const { name, sampler, levels } = solverOf(model, options);
  if (guidance !== 1 && !mayGuide(model.card.sample))
    throw new InputError(
      `sample: guidance ${guidance} needs a model with classes or texts, which ${model.source} does not have; leave it out`,
    );
  const trajectories = openTrajectories(model, sampler, options);
  const latents = model.card.image && !options.latents ? openLatents(model, options) : null;
  return {
    nfe: evaluationsOf(sampler, levels, 0, guidance),
    sampler: name,
    generate: (request) => inBatches(request, batch, model, async (piece) => (await trajectories.walk({ ...piece, levels })).x, latents),
    async close() {
      await trajectories.close();
      await latents?.close();
    },
  };
}

/** Whether there is something that guidance can leave out. */
export const mayGuide = ({ classes, conditions = {} }: SampleType): boolean => classes > 0 || Object.keys(conditions).length > 0;

/** Samples [n, …sample], drawn piece by piece; with an autoencoder their images. */
export async function inBatches(
  { labels, conditions, n, seed, onProgress }: SampleRequest,
  batch: number,
  { card }: Model,
  draw: (piece: Pick<Span, 'labels' | 'conditions' | 'seed' | 'first' | 'count'>) => Promise<Float32Array>,
  latents: Pick<Latents, 'decode'> | null = null,
): Promise<Float32Array> {
  const size = (latents ? imageShape(card) : card.sample.shape).reduce((a, b) => a * b, 1);
  const out = new Float32Array(n * size);
  for (let first = 0; first < n; first += batch) {
    const count = Math.min(batch, n - first);
    const drawn = await draw({ labels, ...(conditions ? { conditions } : {}), seed, first, count });
    out.set(latents ? await latents.decode(drawn) : drawn, first * size);
    onProgress?.(first + count);
    await new Promise((resolve) => setImmediate(resolve)); // a run blocks the event loop: let signals through
  }
  return out;
}
