/**
 * @file The ways in which a device runs training steps of the plain UNet: one by one, several in one go, with the state brought back after every step.
 * Steps of a tiny one show what calls cost beside what they compute.
 */
import type { Precision } from '../../engine/graph/precision.ts';
import { InputError } from '../../engine/io/errors.ts';
import { type DeviceName, deviceOf } from '../../engine/run/devices.ts';
import type { Runtime, RuntimeOptions } from '../../engine/run/runtime.ts';
import { tfjsRuntime } from '../../engine/run/tfjs.ts';
import { type PlainBackend, plainLibrary } from '../../engine/run/tfjs-library.ts';
import { optimizerOptions } from '../../engine/train/optimizer.ts';
import { resolve } from '../../engine/train/options.ts';
import { type Stage, trainedOf } from '../../engine/train/program.ts';
import { Trainer } from '../../engine/train/trainer.ts';
import { tinyBatch, tinyRun } from '../../losses/testing/tiny-runs.ts';
import { dmd2Stage, unetStage } from './stages.ts';
import { disturbed, fixedBatch } from './training.ts';

export interface DeviceWork {
  /** In a round. */
  readonly steps: number;
  round(): Promise<void>;
  close(): Promise<void>;
}
export interface DeviceWay {
  readonly device: DeviceName;
  readonly network: 'plain UNet' | 'tiny UNet';
  readonly name: string;
  open(options: RuntimeOptions): Promise<DeviceWork>;
}

/** Steps that run in one go. */
const TOGETHER = 4;

interface WaySettings extends RuntimeOptions {
  readonly stage?: Stage;
  readonly precision?: Precision;
}
const way = (
  device: DeviceName,
  name: string,
  together: number,
  { stage = unetStage, precision = 'float32', ...given }: WaySettings = {},
): DeviceWay => ({
  device,
  network: 'plain UNet',
  name,
  open: (options) => openWork(deviceOf(device).runtime({ ...options, ...given }), together, stage, precision),
});
/** Steps on CUDA by workload: one by one, and several in one ONNX Loop, which is what a run does between two lines of its log. */
export const cudaWays: Readonly<Record<'unet' | 'dmd2', readonly DeviceWay[]>> = {
  unet: [
    way('cuda', 'step by step', 1),
    way('cuda', '4 steps in one Loop', 4),
    way('cuda', '20 steps in one Loop', 20),
    way('cuda', '20 steps in one Loop, float16', 20, { precision: 'float16' }),
  ],
  // Four steps of the fake score and one of the student.
  dmd2: [way('cuda', 'step by step', 5, { stage: dmd2Stage, loop: false }), way('cuda', '20 steps in one Loop', 20, { stage: dmd2Stage })],
};
/** Steps in one go: inside one ONNX Loop on the CPU and on CUDA, handed over without waiting on WebGPU; TensorFlow.js gains nothing by it. */
const MORE: Readonly<Record<DeviceName, (device: DeviceName) => readonly DeviceWay[]>> = {
  cpu: (device) => [way(device, `${TOGETHER} steps in one Loop`, TOGETHER, { loop: true })],
  cuda: (device) => [way(device, `${TOGETHER} steps in one Loop`, TOGETHER, { loop: true })],
  webgpu: (device) => [
    way(device, `${TOGETHER} steps in one go`, TOGETHER),
    {
      device,
      network: 'plain UNet',
      name: 'state through main memory',
      open: (options) => openWork(roundTrips(deviceOf(device).runtime(options)), 1, unetStage, 'float32'),
    },
  ],
  tfjs: () => [],
};
export const deviceWays = (names: readonly DeviceName[]): readonly DeviceWay[] =>
  names.flatMap((device) => [way(device, 'step by step', 1), ...MORE[device](device), ...tinyWays(device)]);

/** Rounds of a tiny network take milliseconds: so many steps are one. */
const TINY_STEPS = 20;

/** TensorFlow.js on each backend of the package registry, other devices as they are. */
const tinyWays = (device: DeviceName): readonly DeviceWay[] => {
  const one = (name: string, runtime: (options: RuntimeOptions) => Runtime): DeviceWay => ({
    device,
    network: 'tiny UNet',
    name,
    open: (options) => openTiny(runtime(options)),
  });
  if (device !== 'tfjs') return [one('step by step', deviceOf(device).runtime)];
  const on = (backend: PlainBackend): Runtime =>
    tfjsRuntime(async () => {
      const library = await plainLibrary(backend);
      if (!library) throw new InputError(`tfjs: its backend ${backend} is not installed`);
      return library;
    });
  return (['wasm', 'cpu'] as const).map((backend) => one(`step by step, backend ${backend}`, () => on(backend)));
};

async function openTiny(runtime: Runtime): Promise<DeviceWork> {
  const { settings, weights } = await tinyRun('edm', 'song-unet', {}, Number.MAX_SAFE_INTEGER);
  const trainer = await Trainer.create(settings, runtime, weights);
  const batch = await tinyBatch(0);
  return {
    steps: TINY_STEPS,
    async round() {
      await trainer.run({ until: trainer.step + TINY_STEPS, batch: async () => batch, pauses: () => false });
    },
    close: () => trainer.close(),
  };
}

/** The runtime with every value of the state brought back and put there again after each run, as without buffers on the device. */
function roundTrips({ steps: _, ...runtime }: Runtime): Runtime {
  return {
    ...runtime,
    async compile(programs, state) {
      const compiled = await runtime.compile(programs, state);
      const through = async (): Promise<void> => {
        for (const name of state.names()) await state.write(name, await state.read(name));
      };
      return Object.fromEntries(
        Object.entries(compiled).map(([name, one]) => [
          name,
          {
            ...one,
            async run(feeds, hold) {
              const outputs = await one.run(feeds, hold);
              await through();
              return outputs;
            },
          } satisfies typeof one,
        ]),
      );
    },
  };
}

async function openWork(runtime: Runtime, together: number, stage: Stage, precision: Precision): Promise<DeviceWork> {
  const batch = fixedBatch(stage);
  const each = <T>(value: T): Record<string, T> => Object.fromEntries(trainedOf(stage.loss).map((player) => [player, value]));
  const players = [...Object.keys(stage.cast.networks), ...Object.keys(stage.cast.heads)];
  const trainer = await Trainer.create(
    {
      stage,
      parts: 1,
      seed: 1,
      optimizers: each(resolve('adam', optimizerOptions, { kind: 'adam', weightDecay: 0 })),
      rates: each(() => 1e-3),
      clip: {},
      averages: {},
      labels: null,
      precision,
      together,
    },
    runtime,
    Object.fromEntries(players.map((player) => [player, disturbed(player, stage)])),
  );
  return {
    steps: together,
    async round() {
      await trainer.run({ until: trainer.step + together, batch: async () => batch, pauses: () => false });
    },
    close: () => trainer.close(),
  };
}
