/** @file What this machine has: versions, cores, memory, and which providers of ONNX Runtime work here. */
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { arch, availableParallelism, cpus, freemem, platform, release, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { decodeRaw, encodePng } from '../../data/image.ts';
import { deviceOf } from '../../engine/run/devices.ts';
import { ortFacts } from '../../engine/run/ort.ts';
import { chooseDevice, type Tried, tryDevices } from './device.ts';

export interface Diagnosis {
  readonly node: string;
  readonly platform: string;
  readonly processor: string;
  readonly cores: number;
  readonly memoryMegabytes: { readonly total: number; readonly free: number };
  readonly onnxruntime: { readonly version: string; readonly backends: readonly string[] };
  readonly sharp: { readonly version: string | null; readonly failure: string | null };
  /** What each device can do here, and what is missing for the others. */
  readonly devices: readonly DeviceFacts[];
  /** What --device auto would take, and why. */
  readonly auto: { readonly device: string; readonly why: string };
}
export interface DeviceFacts extends Tried {
  readonly title: string;
  readonly needs: string;
}

const failureOf = (error: unknown): string => (error as Error).message.split('\n')[0]!;
const megabytes = (bytes: number): number => Math.round(bytes / 1e6);

/** Looks at everything; takes a few seconds. */
export async function diagnose(): Promise<Diagnosis> {
  const facts = ortFacts();
  const devices = await tryDevices();
  return {
    node: process.versions.node,
    platform: `${platform()} ${arch()} ${release()}`,
    processor: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    memoryMegabytes: { total: megabytes(totalmem()), free: megabytes(freemem()) },
    onnxruntime: facts,
    sharp: await sharpFacts(),
    devices: devices.map((tried) => ({ ...tried, title: deviceOf(tried.name).title, needs: deviceOf(tried.name).needs })),
    auto: chooseDevice(devices),
  };
}

/** Sharp works where a pixel comes back as it was. */
async function sharpFacts(): Promise<Diagnosis['sharp']> {
  const version = versionOf('sharp');
  try {
    const { data } = await decodeRaw(await encodePng(Uint8Array.of(7), 1, 1, 1), 1);
    return { version, failure: data[0] === 7 ? null : `a pixel of 7 came back as ${data[0]}` };
  } catch (error) {
    return { version, failure: failureOf(error) };
  }
}

/** Version of an installed package: of the first package.json above what its name resolves to. */
function versionOf(name: string): string | null {
  const require = createRequire(import.meta.url);
  const entry = resolved(require, name);
  if (entry === null) return null;
  for (let folder = dirname(entry); folder !== dirname(folder); folder = dirname(folder)) {
    const path = join(folder, 'package.json');
    const found = existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as { name?: string; version?: string }) : {};
    if (found.name === name) return found.version ?? null;
  }
  return null;
}
function resolved(require: NodeJS.Require, name: string): string | null {
  try {
    return require.resolve(name);
  } catch {
    return null;
  }
}
