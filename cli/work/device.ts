/** @file Which device a command computes on: tried in a process of its own, chosen by what was measured. */
import { execFile } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { platform } from 'node:os';
import { fileURLToPath } from 'node:url';
import { InputError } from '../../engine/io/errors.ts';
import { workerEntry } from '../../engine/io/threads.ts';
import { type DeviceName, deviceNames, deviceOf } from '../../engine/run/devices.ts';

export interface Tried {
  readonly name: DeviceName;
  /** Null where it computes here, else why not. */
  readonly failure: string | null;
  /** Of the trial; null where it failed. */
  readonly milliseconds: number | null;
  /** It computes on the CPU all the same. */
  readonly software: boolean;
  /** What it computes with, where that is not the same on every machine. */
  readonly words: string | null;
  /** Adds what is missing; null where no command does. */
  readonly command: string | null;
}

/** What the process that tries devices says of each. */
type Answer = Pick<Tried, 'name' | 'failure' | 'milliseconds' | 'words'>;

const PROBE_MILLISECONDS = 120_000;

/** A device that was settled. @throws Error for `auto`, which a command settles before it computes */
export function deviceNamed(word: DeviceName | 'auto'): DeviceName {
  if (word === 'auto') throw new InputError('device: auto is chosen by commands with --device; name a device here');
  return word;
}

/** Threads and device of a run. Errors as in `deviceNamed`. */
export const computeOf = ({ threads, device }: { readonly threads: number; readonly device: DeviceName | 'auto' }) => ({
  threads,
  device: deviceNamed(device),
});

/** Tries devices. Takes a few seconds. */
export async function tryDevices(names: readonly DeviceName[] = deviceNames): Promise<readonly Tried[]> {
  const { url, execArgv } = workerEntry(import.meta.url, 'probe');
  const { output, complaints, late } = await new Promise<{ readonly output: string; readonly complaints: string; readonly late: boolean }>(
    (resolve) => {
      execFile(process.execPath, [...execArgv, fileURLToPath(url), ...names], { timeout: PROBE_MILLISECONDS }, (error, stdout, stderr) =>
        resolve({ output: stdout, complaints: stderr, late: error?.killed === true }),
      );
    },
  );
  const found = output.split('\n').flatMap((line) => (line ? [JSON.parse(line) as Answer] : []));
  return names.map((name) => {
    const { failure, milliseconds, words } = found.find((one) => one.name === name) ?? {
      failure: late ? `nothing came of it within ${PROBE_MILLISECONDS / 1000} s` : 'the process that tried it crashed',
      milliseconds: null,
      words: null,
    };
    return {
      name,
      failure: failure && withLibrary(wordsOf(failure), complaints),
      milliseconds,
      software: name === 'webgpu' && failure === null && isSoftware(),
      words,
      command: failure === null ? null : (deviceOf(name).command[platform()] ?? null),
    };
  });
}

/** What a native message says, without the place in the source where it arose. */
const wordsOf = (message: string): string =>
  message
    .replace(/^webgpu: the device failed while \w+ \w+: /, '')
    .replace(/; checkpoints are as they were.*$/, '')
    .replace(/^\/\S+ .* was false\. /, '')
    .replace(/^\w+: /, '');

/** ONNX Runtime says on stderr alone which library it could not load. */
export function withLibrary(failure: string, complaints: string): string {
  const [, library] = /with error: (?:.*\/)?([\w.+-]+): cannot open shared object file/.exec(complaints) ?? [];
  return library && /shared library/.test(failure) ? `${failure}: ${library} is not found` : failure;
}

/** On Linux a GPU has a device file; and drivers that compute on the CPU may be named by the environment. */
export function isSoftware(environment: NodeJS.ProcessEnv = process.env, system = platform(), files = deviceFiles()): boolean {
  const named = `${environment['VK_ICD_FILENAMES'] ?? ''}:${environment['VK_DRIVER_FILES'] ?? ''}`;
  if (/swiftshader|lvp|lavapipe/i.test(named)) return true;
  return system === 'linux' && !files.some((file) => /^(renderD\d+|nvidia\d+|dxg)$/.test(file));
}
const filesIn = (folder: string): readonly string[] => (existsSync(folder) ? readdirSync(folder) : []);
const deviceFiles = (): readonly string[] => [...filesIn('/dev'), ...filesIn('/dev/dri')];

export interface Choice {
  readonly device: DeviceName;
  readonly why: string;
}

/** How much faster than the CPU a device must be: fetching and feeding eat up a small gain. */
const WORTH = 1.5;

/** The fastest accelerator that is worth it, else the CPU. */
export function chooseDevice(tried: readonly Tried[]): Choice {
  const cpu = tried.find(({ name }) => name === 'cpu')?.milliseconds ?? Number.POSITIVE_INFINITY;
  const shown = (ms: number): string => `${Number(ms.toPrecision(3))} ms`;
  const [best] = tried
    .filter((one) => deviceOf(one.name).accelerates && one.milliseconds !== null && !one.software && one.milliseconds * WORTH < cpu)
    .sort((a, b) => a.milliseconds! - b.milliseconds!);
  if (best) return { device: best.name, why: `a trial took ${shown(best.milliseconds!)} there and ${shown(cpu)} on the CPU` };
  const reasons = tried
    .filter(({ name }) => deviceOf(name).accelerates)
    .map(({ name, failure, software, milliseconds }) => {
      const { title } = deviceOf(name);
      if (failure !== null) return `${title} does not work here (${failure})`;
      if (software) return `${title} has an adapter in software only`;
      return `${title} took ${shown(milliseconds!)} for a trial, the CPU ${shown(cpu)}`;
    });
  return { device: 'cpu', why: reasons.join('; ') };
}

/**
 * The device that a word asks for.
 * @throws InputError where it does not work here
 */
export async function settleDevice(word: DeviceName | 'auto'): Promise<Choice> {
  if (word === 'auto') return chooseDevice(await tryDevices());
  const [tried] = await tryDevices([word]);
  const { failure, command, software, words } = tried!;
  const { title, needs } = deviceOf(word);
  if (failure !== null)
    throw new InputError(
      `device: ${title} does not work here: ${failure}; it needs ${needs}${command ? ` (${command})` : ''}; or take --device cpu`,
    );
  const more = software ? 'its adapter is in software, slower than the CPU' : words;
  return { device: word, why: more ? `as asked for; ${more}` : 'as asked for' };
}
