/** @file The judge: a classifier that says which value each attribute of a picture has, by which text-to-image models are measured. */
import '../../engine/graph/fluent.ts';
import { constant, input } from '../../engine/graph/ops/leaf.ts';
import { split } from '../../engine/graph/ops/movement.ts';
import { logSoftmax } from '../../engine/graph/ops/reduce.ts';
import type { Tensor } from '../../engine/graph/tensor.ts';
import { fillUniform, streamKey } from '../../engine/random/philox.ts';
import { ortRuntime } from '../../engine/run/ort.ts';
import { float32 } from '../../engine/run/runtime.ts';
import { type SingleCheckpoints, type SingleTask, type SingleTraining, trainSingle } from '../../engine/train/single.ts';
import { constantScope, type Weights } from '../../engine/train/weights.ts';
import type { Attribute } from '../../eval/avatars/captions.ts';
import { type ClassifierOptions, classifier } from '../../models/classifier.ts';
import { type Drawings, floats, NAMES, PIXELS, SIZE, valuesOf } from './drawings.ts';

const COUNTS = NAMES.map((name) => valuesOf(name).length);
const NETWORK: ClassifierOptions = {
  channels: [16, 32, 64],
  narrow: 32,
  features: 64,
  classes: COUNTS.reduce((sum, n) => sum + n, 0),
  groups: 8,
};
export const JUDGE_TRAINING: SingleTraining = {
  ...{ steps: 2500, batch: 64, seed: 0, rate: 2e-3, warmup: 50 },
  ...{ average: 'constant:0.99', weightDecay: 0.02, threads: 2 },
};

/** Mean over attributes of the cross-entropies of their values. logits [N, all values], chosen [N, attributes] one-hot as logits. */
function attributeLoss(logits: Tensor, label: Tensor): Tensor {
  const targets = split(label, COUNTS, 1);
  const losses = split(logits, COUNTS, 1).map((part, i) => targets[i]!.mul(logSoftmax(part)).sum());
  return losses.reduce((sum, loss) => sum.add(loss)).mul(-1 / (NAMES.length * Number(logits.shape[0])));
}
function oneHot({ values }: Drawings, indices: ArrayLike<number>): Float32Array {
  const out = new Float32Array(indices.length * NETWORK.classes);
  for (let i = 0; i < indices.length; i++)
    for (let a = 0, from = i * NETWORK.classes; a < NAMES.length; from += COUNTS[a++]!)
      out[from + values[indices[i]! * NAMES.length + a]!] = 1;
  return out;
}
/** Indices of a batch, drawn with replacement. */
export function chosen(n: number, batch: number, seed: number, step: number, name: string): Int32Array {
  const chance = new Float32Array(batch);
  fillUniform(chance, streamKey(seed, step, name), 1);
  return Int32Array.from(chance, (u) => Math.floor(u * n));
}

export async function trainJudge(
  train: Drawings,
  training = JUDGE_TRAINING,
  onLoss?: (step: number, loss: number) => void,
  checkpoints?: SingleCheckpoints,
): Promise<Weights> {
  const task: SingleTask = {
    ...{ name: 'judge', title: 'cross-entropy of attributes', reference: '1512.00567' },
    ...{ shape: [3, SIZE, SIZE], beside: NETWORK.classes },
    build:
      (scope) =>
      ({ image }) =>
        classifier(scope, NETWORK)(image!).logits,
    terms: ({ head, data, condition }) => ({ loss: attributeLoss(head({ image: data }, constant(0)), condition['label']!) }),
  };
  const batchOf = (step: number) => {
    const indices = chosen(train.n, training.batch, training.seed, step, 'judge.batch');
    return { images: floats(train, indices), labels: oneHot(train, indices) };
  };
  return trainSingle(
    task,
    training,
    batchOf,
    ({ step, terms }) => onLoss?.(step, terms['judge/loss']!),
    checkpoints ? { checkpoints } : {},
  );
}

export interface Judge {
  /** Share of images [n,3,32,32] in −1…1 that show the value asked for, [n, attributes] values. */
  accuracy(images: Float32Array, values: ArrayLike<number>): Promise<Readonly<Record<Attribute, number>>>;
  close(): Promise<void>;
}
const AT_ONCE = 100;

export async function openJudge(weights: Weights, threads = 2): Promise<Judge> {
  const runtime = ortRuntime({ threads });
  const { logits } = classifier(constantScope(weights), NETWORK)(input('image', ['N', 3, SIZE, SIZE]));
  const { program } = await runtime.compile({ program: { outputs: { logits }, updates: new Map() } }, runtime.state({}));
  return {
    async accuracy(images, values) {
      const n = images.length / PIXELS;
      const right = NAMES.map(() => 0);
      for (let at = 0; at < n; at += AT_ONCE) {
        const count = Math.min(AT_ONCE, n - at);
        const found = (await program!.run({ image: float32(images.slice(at * PIXELS, (at + count) * PIXELS), [count, 3, SIZE, SIZE]) }))[
          'logits'
        ]!;
        for (let i = 0; i < count; i++)
          for (let a = 0, from = i * NETWORK.classes; a < NAMES.length; from += COUNTS[a++]!) {
            const scores = (found.data as Float32Array).subarray(from, from + COUNTS[a]!);
            if (scores.indexOf(Math.max(...scores)) === values[(at + i) * NAMES.length + a]) right[a]!++;
          }
      }
      return Object.fromEntries(NAMES.map((name, a) => [name, right[a]! / n])) as Record<Attribute, number>;
    },
    close: () => program!.close(),
  };
}
