/** @file The teacher: a latent UNet that sees captions, and the text encoder that is trained along with it. */
import '../../engine/graph/fluent.ts';
import { cast } from '../../engine/graph/ops/elementwise.ts';
import { constant, input } from '../../engine/graph/ops/leaf.ts';
import { reshape, split } from '../../engine/graph/ops/movement.ts';
import { fillUniform, streamKey } from '../../engine/random/philox.ts';
import { type Scope, within } from '../../engine/train/network.ts';
import { type SingleCheckpoints, type SingleTask, type SingleTraining, trainSingle } from '../../engine/train/single.ts';
import { initialise, recordingScope, type Weights } from '../../engine/train/weights.ts';
import { type Adapters, adaptedScope, isAdapter } from '../../models/adapters.ts';
import { clipTextEncoder } from '../../models/foreign/clip-text.ts';
import { unet2dCondition } from '../../models/foreign/diffusers/unet2d-condition.ts';
import { tokenBatch } from '../../models/foreign/tokenizer.ts';
import { LATENT } from './autoencoder.ts';
import { chosen } from './judge.ts';
import { CONTEXT, shares, TIMES, textConfig, tokenizer, unetConfig } from './networks.ts';

export const LATENT_SIZE = LATENT.channels * LATENT.side ** 2;
export const TEACHER_TRAINING: SingleTraining = {
  ...{ steps: 9000, batch: 16, seed: 0, rate: 1.5e-3, warmup: 200 },
  ...{ average: 'constant:0.999', weightDecay: 0.01, threads: 2 },
};
/** Numbers beside a latent: its time, α and σ of that, and the numbers of the caption's tokens, which are exact as floats. */
const BESIDE = 3 + CONTEXT;
/** Captions that are left out, so that the teacher can be guided. Ho & Salimans 2022, arXiv:2207.12598. */
const DROPPED = 0.1;

/** Latents as the pipeline scales them, [n, 4, 8, 8], with their captions. */
export interface Latents {
  readonly n: number;
  readonly values: Float32Array;
  readonly captions: readonly string[];
}

const networks = (unet: Scope, text: Scope) => ({
  unet: unet2dCondition(unet, unetConfig()),
  text: clipTextEncoder(text, textConfig(), { prefix: 'text_model.', projection: false }),
});
/** The same weights, which stay as they are. */
const frozen = (scope: Scope): Scope =>
  Object.assign(((name, shape, init) => scope.buffer(name, shape, init!)) as Scope, { buffer: scope.buffer });

/** Predicts v = α ε − σ x0 at a random time, told ids of the caption. Salimans & Ho 2022, arXiv:2202.00512, appendix D. */
const taskOf = (adapters?: Adapters): SingleTask => ({
  ...{ name: 'teacher', title: 'squared error of v', reference: '2202.00512' },
  shape: [LATENT.channels, LATENT.side, LATENT.side],
  beside: BESIDE,
  build(scope) {
    return ({ image, time, ids }) => {
      const [own, words] = [within(scope, 'unet.'), within(scope, 'text.')];
      const { unet, text } = adapters ? networks(adaptedScope(own, adapters), frozen(words)) : networks(own, words);
      return unet({ sample: image!, timestep: time!, encoder_hidden_states: text(ids!).lastHiddenState }).output;
    };
  },
  terms({ head, data, condition, draw }) {
    const n = data.shape[0]!;
    const [time, alpha, sigma, ids] = split(condition['label']!, [1, 1, 1, CONTEXT], 1);
    const eps = draw.normal('eps', data);
    const [a, s] = [reshape(alpha!, [n, 1, 1, 1]), reshape(sigma!, [n, 1, 1, 1])];
    const xt = data.mul(a).add(eps.mul(s));
    const v = eps.mul(a).sub(data.mul(s));
    const found = head({ image: xt, time: reshape(time!, [n]), ids: cast(ids!, 'int64') }, constant(0));
    return { loss: found.sub(v).square().mean() };
  },
});

export interface TeacherRun {
  readonly training: SingleTraining;
  readonly onLoss?: (step: number, loss: number) => void;
  readonly checkpoints?: SingleCheckpoints;
  /** A teacher whose weights stay, and the adapters that are trained on it. */
  readonly tuned?: { readonly teacher: Weights; readonly adapters: Adapters };
}
/** @returns the weights under `unet.` and `text.`, those of adapters among them */
export async function trainTeacher(latents: Latents, { training, onLoss, checkpoints, tuned }: TeacherRun): Promise<Weights> {
  const ids = tokenBatch(tokenizer(), [...latents.captions, ''], { length: CONTEXT }).ids;
  const batchOf = (step: number) => {
    const { batch, seed } = training;
    const indices = chosen(latents.n, batch, seed, step, 'teacher.batch');
    const chance = new Float32Array(2 * batch);
    fillUniform(chance, streamKey(seed, step, 'teacher.time'), 2);
    const images = new Float32Array(batch * LATENT_SIZE);
    const labels = new Float32Array(batch * BESIDE);
    indices.forEach((index, i) => {
      images.set(latents.values.subarray(index * LATENT_SIZE, (index + 1) * LATENT_SIZE), i * LATENT_SIZE);
      // Times are spread evenly over the batch, which makes its loss less noisy.
      const time = Math.min(TIMES - 1, Math.floor(((i + chance[2 * i]!) / batch) * TIMES));
      const row = chance[2 * i + 1]! < DROPPED ? latents.n : index;
      const alpha = shares[time]!;
      labels.set([time, alpha, Math.sqrt(1 - alpha * alpha)], i * BESIDE);
      labels.set(Float32Array.from(ids.subarray(row * CONTEXT, (row + 1) * CONTEXT), Number), i * BESIDE + 3);
    });
    return { images, labels };
  };
  const task = taskOf(tuned?.adapters);
  return trainSingle(task, training, batchOf, ({ step, terms }) => onLoss?.(step, terms['teacher/loss']!), {
    ...(checkpoints ? { checkpoints } : {}),
    ...(tuned ? { start: withAdapters(task, tuned.teacher, training.seed) } : {}),
  });
}

/** A teacher's weights with fresh adapters. */
function withAdapters(task: SingleTask, teacher: Weights, seed: number): Weights {
  const { scope, declared } = recordingScope(task.name);
  const like = (shape: readonly number[], type: 'float32' | 'int64' = 'float32') => input('x', shape, type);
  task.build(scope)({ image: like([1, ...task.shape]), time: like([1]), ids: like([1, CONTEXT], 'int64') }, constant(0));
  const adapters = [...declared.values()].filter(({ name }) => isAdapter(name));
  return new Map([...teacher, ...initialise(adapters, seed, task.name)]);
}
