/**
 * @file Gradients of the parts of a batch, side by side: the first part runs here, the others on threads of their own. One session with many
 * threads waits after every small operation, and some operations know one thread only; sessions side by side wait once a step.
 */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import * as ort from 'onnxruntime-node';
import { workerEntry } from '../io/threads.ts';
import { fedValue, fromOrt, type OrtState, type ProgramFile, programFile, toOrt } from './ort.ts';
import { sessionOptions } from './ort-options.ts';
import type { PartAnswer, PartJob, PartSetup, SharedValue } from './ort-sums.worker.ts';
import type { Feeds, HostTensor, Program, RuntimeOptions, Sums } from './runtime.ts';

type Outputs = Readonly<Record<string, HostTensor>>;

/** A session of its own for every program on every thread; `beside` threads in all, this one included. */
export async function compileSums(
  programs: Readonly<Record<string, Program>>,
  state: OrtState,
  beside: number,
  { threads, provider, keep = true }: RuntimeOptions,
): Promise<Record<string, Sums>> {
  const files: Record<string, ProgramFile> = {};
  for (const [name, program] of Object.entries(programs)) files[name] = await programFile(program, provider);
  const each = beside > 1 ? Math.max(1, Math.floor((threads || availableParallelism()) / beside)) : threads;
  const options = sessionOptions({ ...(each ? { threads: each } : {}), ...(provider ? { provider } : {}), keep });
  const sessions: Record<string, ort.InferenceSession> = {};
  const starting = beside > 1 ? startCrew(files, state, beside - 1, options) : null;
  for (const [name, { model }] of Object.entries(files)) sessions[name] = await ort.InferenceSession.create(model, options);
  const crew = await starting;
  let open = Object.keys(files).length;
  return Object.fromEntries(
    Object.entries(files).map(([name, file]) => [
      name,
      {
        run: (feeds) => runParts(name, file, sessions[name]!, state, crew, feeds),
        async close() {
          await sessions[name]!.release();
          open -= 1;
          if (open === 0) await crew?.close();
        },
      } satisfies Sums,
    ]),
  );
}

async function runParts(
  name: string,
  file: ProgramFile,
  session: ort.InferenceSession,
  state: OrtState,
  crew: Crew | null,
  feeds: readonly Feeds[],
): Promise<Outputs[]> {
  const outputs: Outputs[] = [];
  const beside = 1 + (crew?.size ?? 0);
  for (let first = 0; first < feeds.length; first += beside) {
    const [own, ...others] = feeds.slice(first, first + beside);
    const answers = crew?.start(name, others) ?? [];
    outputs.push(await runHere(name, file, session, state, own!, first === 0));
    for (const [i, answer] of (await Promise.all(answers)).entries()) {
      outputs.push(answer.outputs);
      for (const label of file.updates) addTo(state.target(label).data as Float32Array, crew!.result(i, label));
    }
  }
  for (const label of file.updates) state.swap(label);
  return outputs;
}

/** One part on this thread. The first one is written where the sum goes, a later one is added to it. */
async function runHere(
  name: string,
  { values, updates }: ProgramFile,
  session: ort.InferenceSession,
  state: OrtState,
  feeds: Feeds,
  isFirst: boolean,
): Promise<Outputs> {
  const states = new Set(state.names());
  const given = Object.fromEntries(
    session.inputNames.map((input) => [input, states.has(input) ? state.current(input) : toOrt(fedValue(name, input, feeds))]),
  );
  const fetches: Record<string, ort.Tensor | null> = Object.fromEntries(values.map((key) => [key, null]));
  for (const label of updates) fetches[`next/${label}`] = isFirst ? state.target(label) : null;
  const result = await session.run(given, fetches);
  if (!isFirst) for (const label of updates) addTo(state.target(label).data as Float32Array, result[`next/${label}`]!.data as Float32Array);
  return Object.fromEntries(values.map((key) => [key.slice('value/'.length), fromOrt(result[key]!)]));
}

function addTo(sum: Float32Array, part: Float32Array): void {
  for (let i = 0; i < sum.length; i++) sum[i]! += part[i]!;
}

/** Threads with the same sessions, which read copies of the state. */
interface Crew {
  readonly size: number;
  /** One answer a feed, at most `size`. */
  start(program: string, feeds: readonly Feeds[]): Promise<PartAnswer>[];
  /** What the i-th thread found for an update. */
  result(i: number, label: string): Float32Array;
  close(): Promise<void>;
}

/** Memory for a value of the same type and shape. */
function sharedLike({ type, dims, data }: ort.Tensor): SharedValue {
  const Kind = data.constructor as Float32ArrayConstructor;
  const memory = new SharedArrayBuffer(Kind.BYTES_PER_ELEMENT * data.length);
  return { dtype: type as HostTensor['dtype'], shape: dims, data: new Kind(memory as unknown as ArrayBuffer) };
}

async function startCrew(
  files: Readonly<Record<string, ProgramFile>>,
  state: OrtState,
  size: number,
  options: ort.InferenceSession.SessionOptions,
): Promise<Crew> {
  const written = new Set(Object.values(files).flatMap(({ updates }) => updates));
  const read = Object.fromEntries(
    state
      .names()
      .filter((name) => !written.has(name))
      .map((name) => [name, sharedLike(state.current(name))]),
  );
  const results = Array.from({ length: size }, () =>
    Object.fromEntries([...written].map((name) => [name, sharedLike(state.current(name)) as SharedValue<Float32Array>])),
  );
  const { url, execArgv } = workerEntry(import.meta.url, 'ort-sums.worker');
  const threads = results.map((own) => new Worker(url, { execArgv, workerData: { files, read, own, options } satisfies PartSetup }));
  const needed = new Set((await Promise.all(threads.map((thread) => next<readonly string[]>(thread)))).flat());
  for (const thread of threads) thread.unref();
  const copied = new Map<string, number>();
  return {
    size,
    start(program, feeds) {
      for (const name of needed) {
        if (copied.get(name) === state.version(name)) continue;
        (read[name]!.data as Float32Array).set(state.current(name).data as Float32Array);
        copied.set(name, state.version(name));
      }
      const job: Omit<PartJob, 'feeds'> = { program, versions: Object.fromEntries(copied) };
      return feeds.map((feed, i) => {
        const answer = next<PartAnswer>(threads[i]!);
        threads[i]!.postMessage({ ...job, feeds: feed } satisfies PartJob);
        return answer;
      });
    },
    result: (i, label) => results[i]![label]!.data,
    async close() {
      await Promise.all(threads.map((thread) => thread.terminate()));
    },
  };
}

/** The next message of a thread; the process stays up until it comes. Errors: those of the thread. */
function next<T>(thread: Worker): Promise<T> {
  return new Promise((resolve, reject) => {
    thread.ref();
    const settle = (): void => {
      thread.unref();
      thread.off('message', heard).off('error', failed).off('exit', ended);
    };
    const heard = (message: T): void => {
      settle();
      resolve(message);
    };
    const failed = (error: Error): void => {
      settle();
      reject(error);
    };
    const ended = (): void => failed(new Error('internal: a thread that computes gradients has ended'));
    thread.on('message', heard).on('error', failed).on('exit', ended);
  });
}
