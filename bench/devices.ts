/** @file `npm run bench -- devices`: step time of the plain UNet on each device that computes here, and the share of it outside kernels. */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { tryDevices } from '../cli/work/device.ts';
import type { DeviceName } from '../engine/run/devices.ts';
import { median, round } from './measure.ts';
import { type DeviceWay, deviceWays } from './work/devices.ts';

/** Rounds that are not counted: shaders are compiled and buffers made. */
const WARMUP = 2;

/** Steps of one way in turn with nothing: a device is measured by itself, because two would share the machine. */
export async function stepTimes(way: DeviceWay, threads: number, runs: number, profile?: string): Promise<readonly number[]> {
  const work = await way.open({ threads, ...(profile ? { profile } : {}) });
  const times: number[] = [];
  for (let i = 0; i < WARMUP + runs; i++) {
    const start = performance.now();
    await work.round();
    if (i >= WARMUP) times.push((performance.now() - start) / work.steps);
  }
  await work.close();
  return times;
}

interface Traced {
  readonly cat: string;
  readonly name: string;
  /** Microseconds. */
  readonly ts: number;
  readonly dur: number;
}
/** Milliseconds that kernels took in a run of one session, the mean of the last `runs` of its trace. */
async function kernelTime(folder: string, runs: number): Promise<number> {
  const events: Traced[] = [];
  for (const file of await readdir(folder)) events.push(...(JSON.parse(await readFile(join(folder, file), 'utf8')) as Traced[]));
  const began = events
    .filter(({ name }) => name === 'model_run')
    .map(({ ts }) => ts)
    .sort((a, b) => a - b)
    .at(-runs)!;
  const kernels = events.filter(({ cat, name, ts }) => cat === 'Node' && name.endsWith('_kernel_time') && ts >= began);
  return kernels.reduce((sum, { dur }) => sum + dur / 1000, 0) / runs;
}

/** The share of a step on the CPU that is not inside kernels: feeding, fetching, copying, the loop. One session, so that nothing runs side by side. */
async function outsideKernels(runs: number): Promise<object> {
  const folder = await mkdtemp(join(tmpdir(), 'onestep-trace-'));
  try {
    const [way] = deviceWays(['cpu']);
    const times = await stepTimes(way!, 1, runs, join(folder, 'trace'));
    const inside = await kernelTime(folder, times.length);
    const step = times.reduce((a, b) => a + b, 0) / times.length;
    return { step: round(step), kernels: round(inside), outside: round(1 - inside / step), mustReach: 0.1 };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** One record a way of running, then the share outside kernels. */
export async function* deviceRecords({ threads, runs }: { threads: number; runs: number }, only?: string): AsyncIterable<object> {
  const wanted = (await tryDevices()).filter(({ name }) => only === undefined || name === only);
  for (const { name, failure } of wanted) if (failure !== null) yield { name: 'device-step', device: name, skipped: failure };
  const usable = wanted.flatMap(({ name, failure }) => (failure === null ? [name as DeviceName] : []));
  for (const way of deviceWays(usable)) {
    const times = await stepTimes(way, threads, runs);
    const { software = false, words = null } = wanted.find(({ name }) => name === way.device) ?? {};
    yield {
      name: 'device-step',
      device: way.device,
      network: way.network,
      way: way.name,
      unit: 'ms',
      step: round(median(times)),
      ...(software ? { adapter: 'in software' } : {}),
      ...(words && way.network === 'plain UNet' ? { with: words } : {}),
      processor: cpus()[0]?.model ?? '',
      threads,
    };
  }
  if (usable.includes('cpu')) yield { name: 'outside-kernels', device: 'cpu', unit: 'ms', threads: 1, ...(await outsideKernels(runs)) };
}
