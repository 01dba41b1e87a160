/** @file One method on one small network: every phase is timed by itself, in one process that holds them all, as in training. */
import { availableParallelism } from 'node:os';
import { method } from '../../cli/work/methods.ts';
import { ortRuntime } from '../../engine/run/ort.ts';
import { arranged, type Loss, learnsFromPairs, mainPlayers, scalarsOf, shadowsOf } from '../../engine/train/loss.ts';
import { optimizerOptions } from '../../engine/train/optimizer.ts';
import { type Options, resolve } from '../../engine/train/options.ts';
import { type Stage, trainedOf } from '../../engine/train/program.ts';
import { type Batch, Trainer } from '../../engine/train/trainer.ts';
import { discriminatorHead } from '../../models/discriminator.ts';
import { levelHead } from '../../models/level-head.ts';
import { songUNetFamily } from '../../models/song-unet.ts';
import { karras } from '../../samplers/karras.ts';
import { disturbed, fixedBatch, type Work } from './training.ts';

/** That of the bundled teacher of digits. */
const network = resolve('song-unet', songUNetFamily.options, { channels: 32, multipliers: [1, 2], blocks: 1, attention: [7], patch: 2 });
const sample = { shape: [1, 28, 28], classes: 10 };
const BATCH = 16;
/** The command line's batch: a method that recommends less of it takes the same part of ours. */
const USUAL = 64;
/** Steps of which it is counted how often each phase runs. */
const CYCLE = 100;

/** Which phases run on each step of a short run. */
function turnsOf(loss: Loss, options: Readonly<Record<string, unknown>>): readonly (readonly string[])[] {
  const runs = (phase: string, step: number): boolean => loss.phases[phase]!.runs?.(step, options as never, CYCLE) ?? true;
  return Array.from({ length: CYCLE }, (_, step) => Object.keys(loss.phases).filter((phase) => runs(phase, step)));
}

function stageOf(loss: Loss, options: Stage['options'], batch: number): Stage {
  const built = (player: string) => (scope: Parameters<typeof songUNetFamily.build>[0]) =>
    songUNetFamily.build(scope, network, { ...sample, scalars: scalarsOf(loss, player) });
  const head = (name: string): Stage['cast']['heads'][string] =>
    loss.levelHeads?.includes(name) ? levelHead : (scope) => discriminatorHead(scope);
  return {
    loss,
    options,
    cast: {
      networks: Object.fromEntries(Object.keys(loss.players).map((player) => [player, built(player)])),
      heads: Object.fromEntries((loss.heads ?? []).map((name) => [name, head(name)])),
    },
    sample,
    schedule: karras(),
    batch,
  };
}

/** Where pairs are asked for, noise and sample are the same values: nobody looks at what is learnt. */
const withPairs = (batch: Batch, wanted: boolean): Batch =>
  wanted ? { ...batch, pairs: { noise: batch.images, samples: batch.images, labels: batch.labels } } : batch;

/** A round runs each phase once; its values are the milliseconds of each, in the order of `facts.phases`. */
export async function methodWork(name: string, threads: number): Promise<Work> {
  const given = await method(name);
  const options = resolve(name, given.options as Options, {});
  const loss = arranged(given, options);
  const batch = Math.max(1, Math.round((BATCH * Number(loss.recommended?.['batch'] ?? USUAL)) / USUAL));
  const turns = turnsOf(loss, options);
  const phases = Object.keys(loss.phases).filter((phase) => turns.some((turn) => turn.includes(phase)));
  let now = '';
  const one = (phase: string) => ({ ...loss.phases[phase]!, runs: () => phase === now });
  const timed: Loss = { ...loss, phases: Object.fromEntries(phases.map((phase) => [phase, one(phase)])) };
  const wanted = threads || availableParallelism();
  const parts = loss.coupled || batch % wanted > 0 ? 1 : wanted;
  const stage = stageOf(timed, options, batch / parts);
  const each = <T>(value: T): Record<string, T> => Object.fromEntries(trainedOf(timed).map((player) => [player, value]));
  const shadows = shadowsOf(timed);
  const players = [...Object.keys(stage.cast.networks), ...Object.keys(stage.cast.heads)].filter((player) => !shadows[player]);
  const trainer = await Trainer.create(
    {
      stage,
      parts,
      beside: parts,
      seed: 1,
      steps: CYCLE,
      optimizers: each(resolve('adam', optimizerOptions, {})),
      rates: each(() => 1e-6), // next to nothing, so that no method diverges here
      clip: {},
      averages: {},
      labels: null,
    },
    ortRuntime({ threads }),
    Object.fromEntries(players.map((player) => [player, disturbed(player, stage)])),
  );
  const data = withPairs(fixedBatch({ ...stage, batch }), learnsFromPairs(loss, options));
  const main = mainPlayers(loss, options, sample.classes);
  const students = phases.filter((phase) => (loss.phases[phase]!.trains as readonly string[]).some((player) => main.includes(player)));
  return {
    facts: { batch, phases, students, turns: turns.map((turn) => turn.map((phase) => phases.indexOf(phase))) },
    async round() {
      const times: number[] = [];
      for (const phase of phases) {
        now = phase;
        const start = performance.now();
        await trainer.run({ until: trainer.step + 1, batch: async () => data });
        times.push(performance.now() - start);
      }
      return times;
    },
    close: () => trainer.close(),
  };
}
