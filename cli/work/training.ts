/** @file A training run from start to end: data, trainer, checkpoints, logs, sample pictures and evaluations in one folder. Prints nothing. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { indexer, openBatches } from '../../data/batches.ts';
import { writeAtomic } from '../../engine/io/atomic.ts';
import { InputError } from '../../engine/io/errors.ts';
import { fileFailure } from '../../engine/io/failures.ts';
import { acquireLock } from '../../engine/io/lock.ts';
import { runtimeFor } from '../../engine/run/devices.ts';
import type { Runtime } from '../../engine/run/runtime.ts';
import { type LatestCheckpoint, latestCheckpoint, loadCheckpoint, loadWeights, readFacts } from '../../engine/train/checkpoint.ts';
import { openLogs } from '../../engine/train/logs.ts';
import { learnsFromPairs, originOf, scalarsOf, shadowsOf } from '../../engine/train/loss.ts';
import type { Network, SampleType, Scope } from '../../engine/train/network.ts';
import { trainedOf } from '../../engine/train/program.ts';
import { type Batch, Trainer } from '../../engine/train/trainer.ts';
import { checkWeights } from '../../engine/train/weights.ts';
import { discriminatorHead } from '../../models/discriminator.ts';
import { levelHead } from '../../models/level-head.ts';
import { karras } from '../../samplers/karras.ts';
import { checkTargets, withFreshAdapters } from './adapters.ts';
import { bestOf } from './best-checkpoint.ts';
import { BetweenSteps } from './between-steps.ts';
import { computeOf } from './device.ts';
import { copyParts } from './importing.ts';
import { checkTogether, fragility, unheeded } from './limits.ts';
import { keepsMemory } from './memory.ts';
import { builderOf, type CheckpointMeta, type Model, type ModelCard } from './model.ts';
import { openPairs } from './pairs.ts';
import { cutsOf, type RunOptions } from './plan.ts';
import { conditionsAt, openRows, withDropout } from './rows.ts';
import { cardOf, checkData, configOf, keptPlayers, type RunRequest, type RunResult } from './run.ts';

export type { RunEvent, RunRequest, RunResult } from './run.ts';

/** Compiles the trainer of a run; by default for ONNX Runtime. Errors: no teacher where the method needs one; a teacher that does not fit the data; settings that do not fit the network. */
export async function makeTrainer(request: RunRequest, runtime?: Runtime): Promise<Trainer> {
  checkData(request);
  const { plan, split, teacher, start } = request;
  const players = Object.keys(plan.loss.players);
  const starting = players.filter((player) => originOf(plan.loss, player) === 'teacher');
  if (starting.length > 0 && !teacher)
    throw new InputError(`${plan.loss.name}: needs a teacher; give one with --teacher (a run folder, a file or digit-teacher)`);
  await checkTogether(request);
  const card = cardOf(request, { step: 0, nimg: 0 });
  const cuts = cutsOf(plan.loss, plan.run);
  const moving = new Set([...trainedOf(plan.loss), ...Object.keys(shadowsOf(plan.loss))]);
  if (card.lora) checkTargets((start ?? teacher)?.source ?? card.network, card.lora, (start ?? teacher)?.weights ?? new Map());
  const { lora: _lora, ...whole } = card;
  const networks: Record<string, (scope: Scope) => Network> = Object.fromEntries(
    players.map((player) => {
      const own = moving.has(player) || !teacher ? card : { ...whole, ...networkOf(teacher) };
      return [player, builderOf(trainedAs(own, scalarsOf(plan.loss, player)))];
    }),
  );
  const heads = Object.fromEntries(
    (plan.loss.heads ?? []).map((name) => [
      name,
      (scope: Scope) => (plan.loss.levelHeads?.includes(name) ? levelHead(scope) : discriminatorHead(scope, { taps: plan.head.taps })),
    ]),
  );
  return Trainer.create(
    {
      stage: {
        loss: plan.loss,
        options: plan.options,
        cast: { networks, heads },
        sample: card.sample,
        schedule: karras(card.schedule),
        batch: plan.run.batch / cuts.parts,
        recompute: plan.run.recompute === 'blocks',
      },
      steps: plan.run.steps,
      ...cuts,
      seed: plan.run.seed,
      optimizers: plan.optimizers,
      rates: plan.rates,
      clip: plan.clip,
      averages: Object.fromEntries(keptPlayers(request).map((player) => [player, plan.averages])),
      labels: split.train.labels,
      together: togetherOf(plan.run, card.sample),
      precision: plan.run.precision,
      frozen: plan.run.frozenStorage,
      ...(request.texts ? { conditions: withDropout(request.texts, plan.run.textDropout) } : {}),
    },
    runtime ?? runtimeFor({ ...computeOf(plan.run), keep: keepsMemory(plan.run) }),
    Object.fromEntries(
      starting.map((player) => [
        player,
        moving.has(player) ? withFreshAdapters(card, (start ?? teacher!).weights, plan.run.seed, player) : teacher!.weights,
      ]),
    ),
  );
}

const networkOf = ({ card: { network, networkOptions } }: Model): Pick<ModelCard, 'network' | 'networkOptions'> => ({
  network,
  networkOptions,
});

/** The card of a network as it is trained, not as it is used once it is finished. */
const trainedAs = ({ form: _form, experts: _experts, ...card }: ModelCard, scalars: readonly string[]): ModelCard => ({
  ...card,
  sample: { ...card.sample, scalars },
});

/** Runs a plan in a folder, which it locks. Errors: the folder is in use or holds another run; whatever is wrong with data or settings. */
export async function runTraining(request: RunRequest): Promise<RunResult> {
  const { folder } = request;
  await mkdir(folder, { recursive: true }).catch((error: unknown) => {
    throw fileFailure('write', folder, error);
  });
  const release = await acquireLock(folder);
  try {
    return await locked(request);
  } finally {
    await release();
  }
}

async function locked(request: RunRequest): Promise<RunResult> {
  const { folder, resume } = request;
  const before = await latestCheckpoint(folder);
  if (before && !resume) throw new InputError(`out: ${folder} already holds a run; continue it with --resume or choose another folder`);
  if (before) await checkMethod(before.path, request);
  tellOfData(request);
  for (const note of [await unheeded(request), fragility(request)]) if (note) request.onEvent?.({ kind: 'note', text: note });
  const trainer = await makeTrainer(request);
  try {
    if (before) await restore(trainer, before, request);
    if (request.teacher) await copyParts(request.teacher, folder);
    await writeAtomic(join(folder, 'config.json'), `${JSON.stringify(configOf(request), null, 2)}\n`);
    return await run(request, trainer);
  } finally {
    await trainer.close();
  }
}

/** What steps that run in one go may be fed at once. */
const MOST_BYTES = 256e6;
/** Data and draws of a step, in samples of a batch. */
const FED = 8;

/** Steps between lines of the log run in one go on other devices than the CPU. */
function togetherOf({ device, logEvery, batch }: RunOptions, { shape }: SampleType): number {
  if (device === 'cpu') return 1;
  const bytes = 4 * FED * batch * shape.reduce((n, d) => n * d, 1);
  return Math.max(1, Math.min(logEvery, Math.floor(MOST_BYTES / bytes)));
}

/** Whether weights are looked at after a step. */
const pausesAt = ({ checkpointEvery, sampleEvery, evaluateEvery, steps }: RunOptions, step: number): boolean =>
  step === steps || [checkpointEvery, sampleEvery, evaluateEvery].some((every) => every > 0 && step % every === 0);

/** Steps until the end or the signal. What was opened is closed again whatever happens. */
async function run(request: RunRequest, trainer: Trainer): Promise<RunResult> {
  const { plan, folder } = request;
  const { batch, seed, steps } = plan.run;
  const logs = await openLogs(folder, { fromStep: trainer.step });
  const batches = await openSamples(request, trainer);
  const pairs = learnsFromPairs(plan.loss, plan.options) ? await openPairs(plan.run.pairs, cardOf(request, trainer).sample, seed) : null;
  const between = new BetweenSteps(request, trainer, logs, await bestOf(folder));
  const start = performance.now();
  try {
    await between.catchUp();
    await trainer.run({
      until: steps,
      ...(request.signal ? { signal: request.signal } : {}),
      async batch(step) {
        return {
          ...(await batches.next(step)),
          ...(pairs ? { pairs: pairs.at(step, batch) } : {}),
        };
      },
      onStep: (report) => between.after(report),
      pauses: (step) => pausesAt(plan.run, step),
    });
    await between.finish();
    const { best } = between;
    if (best) request.onEvent?.({ kind: 'note', text: `best: step ${best.step}, distance ${best.distance.toPrecision(4)}, ${best.path}` });
    return {
      folder,
      best,
      model: await between.model(),
      step: trainer.step,
      seconds: (performance.now() - start) / 1000,
      finished: trainer.step >= steps,
    };
  } finally {
    await between.close();
    await logs.close();
    await batches.close();
  }
}

interface Samples {
  next(step: number): Batch | Promise<Batch>;
  close(): Promise<void>;
}
/** The batches of a run: bytes of the data set, or rows that are made of it or of the teacher. */
async function openSamples(request: RunRequest, trainer: Trainer): Promise<Samples> {
  const { plan, split, onRows } = request;
  const { batch, seed } = plan.run;
  if (onRows) return { ...(await openRows(request, trainer)), close: async () => {} };
  const { classes } = cardOf(request, trainer).sample;
  const batches = openBatches(split.train, { batchSize: batch, seed, flip: split.train.mayFlip });
  const { texts, teacher } = request;
  const at = indexer(split.train.size, batch, seed);
  const dropout = plan.run.textDropout;
  return {
    async next(step) {
      const { images, labels } = await batches.next(step);
      return {
        images,
        labels: labels && classes > 0 ? oneHotRows(labels, classes) : null,
        ...(texts
          ? { conditions: conditionsAt(texts, teacher!.card.sample, at(step), texts.images ?? null, { seed, step, dropout }) }
          : {}),
      };
    },
    close: () => batches.close(),
  };
}

function tellOfData({ split: { train, heldOut }, onEvent }: RunRequest): void {
  const skipped = (train.skipped ?? 0) + (heldOut.skipped ?? 0);
  if (skipped > 0) onEvent?.({ kind: 'note', text: `${skipped} images of ${train.name} cannot be read and are left out` });
}

/** Errors: the checkpoint is of another method. */
async function checkMethod(path: string, { folder, plan }: RunRequest): Promise<void> {
  const { card } = (await readFacts(path)).meta as Partial<CheckpointMeta>;
  const method = card?.method ?? plan.loss.name;
  if (method !== plan.loss.name)
    throw new InputError(
      `resume: ${folder} is a run of ${method}, not of ${plan.loss.name}; continue it with ${method}, or choose another folder`,
    );
}

async function restore(trainer: Trainer, { path, skipped }: LatestCheckpoint, { folder, onEvent }: RunRequest): Promise<void> {
  for (const damaged of skipped) onEvent?.({ kind: 'note', text: `passed over a damaged checkpoint: ${damaged.reason}` });
  const { snapshot } = await loadCheckpoint(path, trainer.layouts).catch(async (error: unknown) => {
    await checkPlayers(trainer, path);
    throw error;
  });
  await trainer.restore(snapshot);
  onEvent?.({ kind: 'note', text: `continuing ${folder} at step ${trainer.step}` });
}

/** Errors: stored weights that do not fit, the first three of a player named. */
async function checkPlayers({ declarations }: Trainer, path: string): Promise<void> {
  for (const player of Object.keys((await readFacts(path)).players)) {
    checkWeights(`resume: ${path}: ${player}`, declarations[player] ?? [], await loadWeights(path, player));
  }
}

function oneHotRows(labels: BigInt64Array, classes: number): Float32Array {
  const rows = new Float32Array(labels.length * classes);
  labels.forEach((label, i) => {
    rows[i * classes + Number(label)] = 1;
  });
  return rows;
}
