/** @file The devices that programs run on, one entry each. */
import '../graph/fluent.ts';
import { input } from '../graph/ops/leaf.ts';
import { matmul } from '../graph/ops/linalg.ts';
import { reduceMean } from '../graph/ops/reduce.ts';
import { InputError } from '../io/errors.ts';
import { loadModel, ortRuntime } from './ort.ts';
import { webgpuRuntime } from './ort-webgpu.ts';
import { type Executable, float32, type Runtime, type RuntimeOptions } from './runtime.ts';
import { tfjsRuntime } from './tfjs.ts';
import { findLibrary } from './tfjs-library.ts';

export interface Device {
  /** As a person calls it. */
  readonly title: string;
  /** What must be there for it. */
  readonly needs: string;
  /** Adds what is missing, by operating system; none where no command does. */
  readonly command: Readonly<Partial<Record<NodeJS.Platform, string>>>;
  /** A device of its own, which `auto` may choose. */
  readonly accelerates: boolean;
  /** What it computes with on this machine, for people, where that is not the same everywhere. */
  readonly words?: () => Promise<string>;
  runtime(options: RuntimeOptions): Runtime;
  /** Loads a finished ONNX file. */
  load(model: string | Uint8Array, options: RuntimeOptions): Promise<Executable>;
}

/** Files are read by ONNX Runtime: TensorFlow.js computes graphs of ours. */
async function noFiles(): Promise<never> {
  throw new InputError('tfjs: runs models of a run folder, not finished ONNX files; take --device cpu, webgpu or cuda for those');
}

export const devices = {
  cpu: {
    title: 'CPU',
    needs: 'nothing beside ONNX Runtime',
    command: {},
    accelerates: false,
    runtime: ortRuntime,
    load: loadModel,
  },
  webgpu: {
    title: 'WebGPU',
    needs: 'a graphics driver: Vulkan on Linux, Direct3D 12 on Windows, Metal on macOS',
    command: { linux: 'apt-get install libvulkan1 mesa-vulkan-drivers' },
    accelerates: true,
    runtime: webgpuRuntime,
    load: (model, options) => loadModel(model, { ...options, provider: 'webgpu' }),
  },
  cuda: {
    title: 'CUDA',
    needs: "NVIDIA's driver, CUDA 12 or 13, cuDNN 9 and ONNX Runtime's libraries for them",
    command: { linux: 'node node_modules/onnxruntime-node/script/install --onnxruntime-node-install=cuda12' },
    accelerates: true,
    runtime: (options) => ortRuntime({ ...options, provider: 'cuda' }),
    load: (model, options) => loadModel(model, { ...options, provider: 'cuda' }),
  },
  tfjs: {
    title: 'TensorFlow.js',
    needs: '@tensorflow/tfjs-node-gpu or @tensorflow/tfjs-node, or @tensorflow/tfjs-core with @tensorflow/tfjs-backend-wasm',
    command: Object.fromEntries(
      (['linux', 'win32', 'darwin'] as const).map((system) => [
        system,
        `npm install @tensorflow/tfjs-node${system === 'darwin' ? '' : '-gpu'}`,
      ]),
    ),
    accelerates: false,
    words: async () => (await findLibrary()).words,
    runtime: () => tfjsRuntime(),
    load: noFiles,
  },
} as const satisfies Readonly<Record<string, Device>>;

export type DeviceName = keyof typeof devices;
export const deviceNames = Object.keys(devices) as DeviceName[];
export const deviceOf = (name: DeviceName = 'cpu'): Device => devices[name];

/** Where something computes. */
export interface Compute {
  /** Inside one operation; 0, the default, for all cores. */
  readonly threads?: number | undefined;
  readonly device?: DeviceName | undefined;
  /** See `RuntimeOptions`. */
  readonly keep?: boolean;
}
const optionsOf = ({ threads = 0, keep = true }: Compute): RuntimeOptions => ({ ...(threads > 0 ? { threads } : {}), keep });
export const runtimeFor = (compute: Compute = {}): Runtime => deviceOf(compute.device).runtime(optionsOf(compute));
/** Loads a finished ONNX file. */
export const loadFor = (model: string | Uint8Array, compute: Compute = {}): Promise<Executable> =>
  deviceOf(compute.device).load(model, optionsOf(compute));

/** Side of the matrices of the trial. */
const SIDE = 512;
const ROUNDS = 5;
/** After so many milliseconds a trial of at least two rounds ends: adapters in software are slow. */
const ENOUGH = 2000;

/** Milliseconds of four products of [512,512] matrices on a device, the best of five where that is quick. Errors: whatever keeps it from computing. */
export async function tryDevice(name: DeviceName): Promise<number> {
  const runtime = deviceOf(name).runtime({});
  const x = input('x', [SIDE, SIDE]);
  const mean = reduceMean(matmul(matmul(matmul(matmul(x, x), x), x), x), [0, 1]).reshape([]);
  const { trial } = await runtime.compile({ trial: { outputs: { mean }, updates: new Map() } }, runtime.state({}));
  const feeds = { x: float32(new Float32Array(SIDE * SIDE).fill(1 / SIDE), [SIDE, SIDE]) };
  const times: number[] = [];
  const begin = performance.now();
  for (let i = 0; i < ROUNDS && (i < 2 || performance.now() - begin < ENOUGH); i++) {
    const start = performance.now();
    const found = (await trial!.run(feeds))['mean']!.data[0];
    times.push(performance.now() - start);
    // A matrix of 1/n is a projection: its powers are itself.
    if (!(Math.abs(Number(found) * SIDE - 1) < 1e-3)) throw new Error(`it computes ${found} instead of ${1 / SIDE}`);
  }
  await trial!.close();
  return Math.min(...times);
}
