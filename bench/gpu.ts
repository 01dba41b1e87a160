/** @file `npm run bench -- gpu`: what training steps give on an NVIDIA GPU beside the CPU, and their time and memory beside PyTorch's, kept in docs/results/gpu. */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { tryDevices } from '../cli/work/device.ts';
import { methodNames } from '../cli/work/methods.ts';
import { writeAtomic } from '../engine/io/atomic.ts';
import { type Curve, differences } from '../losses/testing/tiny-runs.ts';
import { stepTimes } from './devices.ts';
import { median, round } from './measure.ts';
import { ours, peer, torchVersion } from './process.ts';
import { cudaWays } from './work/devices.ts';

const RESULTS = fileURLToPath(new URL('../docs/results/gpu/', import.meta.url));
/** Rounds that are not counted. */
const WARMUP = 3;

export interface Gpu {
  readonly name: string;
  readonly driver: string;
  /** Megabytes that are in use on the whole device. */
  readonly used: number;
}
/** A line of nvidia-smi's table; null for anything else. */
export function readGpu(line: string): Gpu | null {
  const [name, driver, used] = line.split(',').map((word) => word.trim());
  const megabytes = Number(used);
  return name && driver && used && Number.isFinite(megabytes) ? { name, driver, used: megabytes } : null;
}
/** The first GPU; null where nvidia-smi tells of none. */
async function gpu(): Promise<Gpu | null> {
  const query = ['--query-gpu=name,driver_version,memory.used', '--format=csv,noheader,nounits'];
  const { stdout } = await promisify(execFile)('nvidia-smi', query).catch(() => ({ stdout: '' }));
  return readGpu(stdout.split('\n')[0]!);
}

/** What some work took at most beside what was used before it, in megabytes: the driver is asked several times a second. */
async function watched<T>(before: number, work: () => Promise<T>): Promise<{ readonly value: T; readonly peak: number }> {
  let peak = 0;
  const timer = setInterval(async () => {
    peak = Math.max(peak, ((await gpu())?.used ?? 0) - before);
  }, 200);
  try {
    return { value: await work(), peak };
  } finally {
    clearInterval(timer);
  }
}

/** A file name of a device's name. */
export const slug = (name: string): string =>
  name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '');

/** Workloads: ours, what a peer repeats, and steps in one of its rounds. */
const WORKLOADS = {
  unet: { work: 'unet-step', script: 'unet.py', steps: 1 },
  dmd2: { work: 'dmd2-cycle', script: 'dmd2.py', steps: 5 },
} as const;
type Workload = keyof typeof WORKLOADS;

/** PyTorch's milliseconds a step on the GPU, from the same weights and data. */
async function torchStep(workload: Workload, mode: string, runs: number): Promise<readonly number[]> {
  const { work, script, steps } = WORKLOADS[workload];
  const folder = await mkdtemp(join(tmpdir(), 'onestep-bench-'));
  try {
    await (await ours(work, 0, folder)).close();
    process.env['ONESTEP_TORCH_DEVICE'] = 'cuda';
    const side = await peer(`PyTorch ${mode}`, script, [folder, '0', mode]);
    const times: number[] = [];
    for (let i = 0; i < WARMUP + runs; i++) {
      const { wall } = await side.round();
      if (i >= WARMUP) times.push(wall / steps);
    }
    await side.close();
    return times;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const PARITY = fileURLToPath(new URL('../losses/testing/parity.ts', import.meta.url));
/** More than one round of the methods that train the student on every fifth step. */
const STEPS = 7;

/** What a step of a method on a tiny network gives there, in whole float32, beside the CPU. */
async function values(method: string): Promise<object> {
  try {
    const env = { ...process.env, NVIDIA_TF32_OVERRIDE: '0' };
    const args = [...process.execArgv, PARITY, method, 'small-unet', String(STEPS), '{}', 'cuda'];
    const { stdout } = await promisify(execFile)(process.execPath, args, { env, maxBuffer: 2 ** 30 });
    const { cpu, device } = JSON.parse(stdout) as Readonly<Record<'cpu' | 'device', Curve>>;
    const { terms, weights, moments } = differences(cpu, device);
    const record = { terms: digits(terms.largest), weights: digits(weights.largest), moments: digits(moments.largest) };
    return { name: 'gpu-values', method, steps: STEPS, ...record, furthest: terms.where, skipped: [cpu.skipped, device.skipped] };
  } catch (error) {
    const { message, stderr = '' } = error as Error & { readonly stderr?: string };
    return { name: 'gpu-values', method, failed: stderr.trim().split('\n').slice(-6).join(' | ') || message };
  }
}
const digits = (value: number): number => Number(value.toPrecision(2));

/** All methods, several at a time. */
async function* allValues(): AsyncIterable<object> {
  const methods = await methodNames();
  const beside = Math.max(1, Math.floor(availableParallelism() / 2));
  for (let i = 0; i < methods.length; i += beside) yield* await Promise.all(methods.slice(i, i + beside).map(values));
}

/** Ours, then PyTorch's, of both workloads. */
async function* speeds(used: number, threads: number, runs: number, compile: boolean): AsyncIterable<object> {
  const torch = await torchVersion();
  const modes = torch ? ['eager', ...(compile ? ['compile'] : [])] : [];
  for (const workload of Object.keys(WORKLOADS) as Workload[]) {
    const ways = [
      ...cudaWays[workload].map((way) => ({ way: way.name, measure: () => stepTimes(way, threads, runs) })),
      ...modes.map((mode) => ({ way: `PyTorch ${torch} ${mode}`, measure: () => torchStep(workload, mode, runs) })),
    ];
    for (const { way, measure } of ways) {
      const name = `gpu-${workload}-step`;
      try {
        const { value, peak } = await watched(used, measure);
        yield { name, way, unit: 'ms', step: round(median(value)), peakMegabytes: peak };
      } catch (error) {
        yield { name, way, failed: (error as Error).message.split('\n')[0] };
      }
    }
  }
}

/** What steps give on CUDA beside the CPU, and how long they take beside PyTorch; all of it goes into a file named after the device. */
export async function* gpuRecords(settings: { threads: number; runs: number; compile: boolean }): AsyncIterable<object> {
  const device = await gpu();
  const failure = device ? (await tryDevices()).find(({ name }) => name === 'cuda')!.failure : 'nvidia-smi tells of no GPU';
  if (!device || failure !== null) return yield { name: 'gpu-step', skipped: failure };
  const records: object[] = [];
  const parts = [() => speeds(device.used, settings.threads, settings.runs, settings.compile), allValues];
  for (const part of parts)
    for await (const record of part()) {
      records.push(record);
      yield record;
    }
  const path = join(RESULTS, `${slug(device.name)}.json`);
  await mkdir(RESULTS, { recursive: true });
  const facts = { device: device.name, driver: device.driver, platform: `${process.platform} ${process.arch}`, node: process.version };
  await writeAtomic(path, `${JSON.stringify({ ...facts, command: 'npm run bench -- gpu', records }, null, 2)}\n`);
  yield { name: 'gpu-results', path };
}
