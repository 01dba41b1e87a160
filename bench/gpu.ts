/** @file `npm run bench -- gpu`: training steps on an NVIDIA GPU beside PyTorch's, with device, driver and memory, kept in docs/results/gpu. */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { tryDevices } from '../cli/work/device.ts';
import { writeAtomic } from '../engine/io/atomic.ts';
import { stepTimes } from './devices.ts';
import { median, round } from './measure.ts';
import { ours, peer, torchVersion } from './process.ts';
import { deviceWays } from './work/devices.ts';

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

/** PyTorch's step on the GPU, from the same weights and data. */
async function torchStep(runs: number): Promise<readonly number[]> {
  const folder = await mkdtemp(join(tmpdir(), 'onestep-bench-'));
  try {
    await (await ours('unet-step', 0, folder)).close();
    process.env['ONESTEP_TORCH_DEVICE'] = 'cuda';
    const side = await peer('PyTorch eager', 'unet.py', [folder, '0', 'eager']);
    const times: number[] = [];
    for (let i = 0; i < WARMUP + runs; i++) {
      const { wall } = await side.round();
      if (i >= WARMUP) times.push(wall);
    }
    await side.close();
    return times;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** One record a way of running, PyTorch's last; all of them go into a file named after the device. */
export async function* gpuRecords({ threads, runs }: { threads: number; runs: number }): AsyncIterable<object> {
  const device = await gpu();
  const failure = device ? (await tryDevices()).find(({ name }) => name === 'cuda')!.failure : 'nvidia-smi tells of no GPU';
  if (!device || failure !== null) return yield { name: 'gpu-step', skipped: failure };
  const records: object[] = [];
  for (const way of deviceWays(['cuda'])) {
    const { value, peak } = await watched(device.used, () => stepTimes(way, threads, runs));
    const record = { name: 'gpu-step', way: way.name, unit: 'ms', step: round(median(value)), peakMegabytes: peak };
    records.push(record);
    yield record;
  }
  const torch = await torchVersion();
  if (torch) {
    const { value, peak } = await watched(device.used, () => torchStep(runs));
    const record = { name: 'gpu-step', way: `PyTorch ${torch} eager`, unit: 'ms', step: round(median(value)), peakMegabytes: peak };
    records.push(record);
    yield record;
  }
  const path = join(RESULTS, `${slug(device.name)}.json`);
  await mkdir(RESULTS, { recursive: true });
  const facts = { device: device.name, driver: device.driver, platform: `${process.platform} ${process.arch}`, node: process.version };
  await writeAtomic(path, `${JSON.stringify({ ...facts, command: 'npm run bench -- gpu', records }, null, 2)}\n`);
  yield { name: 'gpu-results', path };
}
