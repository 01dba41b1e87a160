/** @file What a run would take: builds and compiles everything, runs nothing. */
import { peakBytes } from '../../engine/graph/memory.ts';
import { leafOf } from '../../engine/graph/ops/leaf.ts';
import { type Tensor, topological } from '../../engine/graph/tensor.ts';
import { layoutSize } from '../../engine/train/weights.ts';
import { keepsMemory, memoryOf, totalOf, verdict } from './memory.ts';
import { cutsOf } from './plan.ts';
import { makeTrainer, type RunRequest } from './training.ts';

/**
 * Sizes of a run. Memory: training state in its two buffer sets, the weights that stay as they are, of which the program of every phase holds those that it
 * uses (those of fewer bits are there once for all), once however many players share them, the texts' features, and the most that one phase's intermediate values take at once. `peakMegabytes` is what
 * the process will hold at most, everything that it needs to run at all included.
 */
export async function dryRun(request: RunRequest): Promise<Readonly<Record<string, unknown>>> {
  const start = performance.now();
  const trainer = await makeTrainer(request);
  const seconds = (performance.now() - start) / 1000;
  const snapshot = await trainer.snapshot();
  const trained = Object.fromEntries(Object.entries(trainer.layouts).map(([player, layout]) => [player, layoutSize(layout)]));
  const vectors = Object.values(snapshot.vectors).reduce((n, v) => n + v.byteLength, 0);
  const cuts = cutsOf(request.plan.loss, request.plan.run);
  const { parts, beside } = cuts;
  const memory = await memoryOf(trainer.phases, cuts, vectors, keepsMemory(request.plan.run));
  const peak =
    beside *
    Math.max(
      ...trainer.phases.map(({ fused, part }) => {
        const { outputs, updates } = parts > 1 ? part : fused;
        return peakBytes([...Object.values(outputs), ...updates.values()]);
      }),
    );
  const frozen = trainer.phases.reduce(
    (sum, { fused }) => sum + constantBytes([...Object.values(fused.outputs), ...fused.updates.values()]),
    0,
  );
  const kept = frozen + trainer.heldBytes;
  const texts = textBytes(request);
  await trainer.close();
  const total = totalOf(memory) + texts;
  return {
    method: request.plan.loss.name,
    data: request.split.train.name,
    images: request.split.train.size,
    trainedParameters: trained,
    stepsPlanned: request.plan.run.steps,
    batch: request.plan.run.batch,
    stateMegabytes: megabytes(2 * vectors),
    frozenMegabytes: megabytes(kept),
    ...(texts > 0 ? { textMegabytes: megabytes(texts) } : {}),
    activationMegabytes: megabytes(peak),
    estimatedMegabytes: megabytes(2 * vectors + kept + texts + peak),
    peakMegabytes: Math.round(total / 1e6),
    fits: verdict(total, request.plan, request.command === 'distill'),
    buildSeconds: Math.round(seconds * 100) / 100,
  };
}

/** Bytes of the constants that a program holds, each counted once. */
function constantBytes(outputs: readonly Tensor[]): number {
  const leaves = topological(outputs).map((node) => leafOf(node.outputs[0]!));
  const values = new Set(leaves.flatMap((leaf) => (leaf?.kind === 'constant' && leaf.data ? [leaf.data] : [])));
  return [...values].reduce((sum, data) => sum + 4 * data.length, 0);
}
/** Bytes of the features of all texts. */
function textBytes({ teacher, prompts = 0 }: RunRequest): number {
  const shapes = Object.values(teacher?.card.sample.conditions ?? {});
  return 4 * prompts * shapes.reduce((sum, shape) => sum + shape.reduce((a, b) => a * b, 1), 0);
}

const megabytes = (bytes: number): number => Math.round(bytes / 1e4) / 100;
