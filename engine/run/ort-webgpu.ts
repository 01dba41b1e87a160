/**
 * @file Runs programs on ONNX Runtime's WebGPU provider. The state stays on the device: what a step writes is fed to the next one, and only
 * scalars come back.
 */
import * as ort from 'onnxruntime-node';
import { type DType, sizeOf } from '../graph/tensor.ts';
import { InputError } from '../io/errors.ts';
import { fedValue, fromOrt, type ProgramFile, programFile, toOrt } from './ort.ts';
import { type Carrier, openCarrier, type Resident, resident } from './ort-resident.ts';
import type { Executable, Feeds, HostTensor, Outputs, Program, Runtime, RuntimeOptions, State, Steps, Turn } from './runtime.ts';

const PROVIDER = 'webgpu';

/** ONNX Runtime on WebGPU. Errors of its own, such as a lost adapter or memory that ran out, are one line each. */
export function webgpuRuntime(options: RuntimeOptions = {}): Runtime {
  ort.env.logLevel = 'fatal'; // what fails is thrown too, and told in one line
  const own = (state: State): WebgpuState => {
    if (state instanceof WebgpuState) return state;
    throw new TypeError('compile: the state belongs to another runtime; make it with runtime.state()');
  };
  const compiled = async (programs: Readonly<Record<string, Program>>, state: State): Promise<Record<string, Compiled>> => {
    const made: Record<string, Compiled> = {};
    for (const [name, program] of Object.entries(programs)) made[name] = await compileProgram(name, program, own(state), options);
    return made;
  };
  return {
    state: (initial) => new WebgpuState(initial),
    async compile(programs, state) {
      return compiled(programs, state);
    },
    async compileSums(programs, state) {
      const made = await compiled(programs, state);
      return Object.fromEntries(Object.entries(made).map(([name, one]) => [name, sumsOf(one, own(state))]));
    },
    steps: (executables, state) => stepsOf(executables as Readonly<Record<string, Compiled>>, own(state)),
  };
}

/** What went wrong on the device, as a user reads it. */
export function deviceFailure(doing: string, error: unknown): InputError {
  const words = (error as Error).message.split('\n')[0]!;
  if (/requires f16/.test(words)) return new InputError(`${PROVIDER}: the adapter has no float16 (shader-f16); leave --precision out`);
  return new InputError(
    `${PROVIDER}: the device failed while ${doing}: ${words}; checkpoints are as they were: take a smaller batch, resume, or use --device cpu`,
  );
}
const onDevice = async <T>(doing: string, work: () => Promise<T>): Promise<T> => {
  try {
    return await work();
  } catch (error) {
    if (error instanceof InputError || error instanceof TypeError) throw error;
    throw deviceFailure(doing, error);
  }
};

/** Values on the device; each is uploaded when it is first needed and brought back only where somebody reads it. */
export class WebgpuState implements State {
  private readonly values = new Map<string, { readonly dtype: DType; readonly shape: readonly number[]; now: Resident | HostTensor }>();
  private readonly carrier: Carrier = openCarrier(PROVIDER);

  constructor(initial: Readonly<Record<string, HostTensor>>) {
    for (const [name, { dtype, shape, data }] of Object.entries(initial))
      this.values.set(name, { dtype, shape, now: { dtype, shape, data: data.slice() as HostTensor['data'] } });
  }
  names(): readonly string[] {
    return [...this.values.keys()];
  }
  async read(name: string): Promise<HostTensor> {
    const { now } = this.slot(name);
    if ('data' in now) return { ...now, data: now.data.slice() as HostTensor['data'] };
    return onDevice(`reading ${name}`, () => this.carrier.download(now));
  }
  async write(name: string, { data }: HostTensor): Promise<void> {
    const slot = this.slot(name);
    const { dtype, shape } = slot;
    if (data.length !== sizeOf(shape)) throw new TypeError(`state: ${name} holds ${sizeOf(shape)} values, got ${data.length}`);
    this.set(name, { dtype, shape, data: data.slice() as HostTensor['data'] });
  }
  /** The value on the device. */
  async current(name: string): Promise<Resident> {
    const slot = this.slot(name);
    if ('data' in slot.now) slot.now = await this.carrier.upload(slot.now);
    return slot.now;
  }
  /** Takes a value over and frees the one before. */
  set(name: string, value: Resident | HostTensor): void {
    const slot = this.slot(name);
    if (!('data' in slot.now)) slot.now.free();
    slot.now = value;
  }
  /** Puts a value in place without freeing the one before, which the caller keeps. */
  exchange(name: string, value: Resident): Resident | HostTensor {
    const slot = this.slot(name);
    const before = slot.now;
    slot.now = value;
    return before;
  }
  download(value: Resident): Promise<HostTensor> {
    return this.carrier.download(value);
  }
  private slot(name: string) {
    const slot = this.values.get(name);
    if (!slot) throw new TypeError(`state: there is no ${name}; there are ${this.names().join(', ')}`);
    return slot;
  }
}

/** What a run left on the device. */
interface Left {
  /** Outputs: on the device as one vector of scalars, or here. */
  readonly values: Resident | Outputs;
  readonly next: ReadonlyMap<string, Resident>;
}
interface Compiled extends Executable {
  readonly name: string;
  /** Runs without waiting for anything to come back. */
  leave(feeds: Feeds): Promise<Left>;
  outputsOf(values: Left['values']): Promise<Outputs>;
}

const committed = (outputs: Outputs): boolean => !outputs['commit'] || Number(outputs['commit'].data[0]) !== 0;
const freeAll = (values: Iterable<Resident | HostTensor>): void => {
  for (const value of values) if (!('data' in value)) value.free();
};

async function compileProgram(name: string, program: Program, state: WebgpuState, options: RuntimeOptions): Promise<Compiled> {
  const file = await programFile(program, PROVIDER);
  const session = await onDevice(`compiling ${name}`, () => ort.InferenceSession.create(file.model, sessionSettings(name, file, options)));
  const states = new Set(state.names());
  let waiting: ReadonlyMap<string, Resident> = new Map();
  const release = (): void => {
    for (const [label, value] of waiting) state.set(label, value);
    waiting = new Map();
  };
  const leave = (feeds: Feeds): Promise<Left> =>
    onDevice(`running ${name}`, async () => {
      const given: Record<string, ort.Tensor> = {};
      for (const input of session.inputNames)
        given[input] = states.has(input) ? (await state.current(input)).feed() : toOrt(fedValue(name, input, feeds));
      const result = await session.run(given);
      const next = new Map(file.updates.map((label) => [label, resident(result[`next/${label}`]!)]));
      return { values: file.packed ? resident(result[file.packed.output]!) : namedOutputs(file, result), next };
    });
  const outputsOf = async (values: Left['values']): Promise<Outputs> => {
    if (!('free' in values)) return values as Outputs;
    const one = values as Resident;
    const { data } = await onDevice(`reading what ${name} gave`, () => state.download(one));
    one.free();
    return Object.fromEntries(
      file.packed!.names.map((key, i) => [key, { dtype: 'float32', shape: [], data: Float32Array.of(Number(data[i])) }]),
    );
  };
  return {
    name,
    inputs: session.inputMetadata
      .filter((m) => !states.has(m.name))
      .map((m) => ({ name: m.name, dtype: (m.isTensor ? m.type : 'float32') as DType })),
    leave,
    outputsOf,
    async run(feeds, hold = false) {
      const { values, next } = await leave(feeds);
      const outputs = await outputsOf(values);
      if (committed(outputs)) waiting = next;
      else freeAll(next.values());
      if (!hold) release();
      return outputs;
    },
    release,
    async close() {
      freeAll(waiting.values());
      waiting = new Map();
      if (options.profile) session.endProfiling();
      await session.release();
    },
  };
}

function sessionSettings(
  name: string,
  { values, updates, packed }: ProgramFile,
  { profile }: RuntimeOptions,
): ort.InferenceSession.SessionOptions {
  const stays = [...updates.map((label) => `next/${label}`), ...(packed ? [packed.output] : [])];
  const leaves = packed ? [] : values;
  return {
    executionProviders: [{ name: PROVIDER, preferredLayout: 'NCHW' }],
    graphOptimizationLevel: 'all',
    enableMemPattern: false,
    logSeverityLevel: 4,
    preferredOutputLocation: Object.fromEntries([
      ...stays.map((output) => [output, 'gpu-buffer'] as const),
      ...leaves.map((output) => [output, 'cpu'] as const),
    ]),
    ...(profile ? { enableProfiling: true, profileFilePrefix: `${profile}-${name}` } : {}),
  };
}

const namedOutputs = ({ values }: ProgramFile, result: ort.InferenceSession.OnnxValueMapType): Outputs =>
  Object.fromEntries(values.map((key) => [key.slice('value/'.length), fromOrt(result[key]!)]));

/** Sums over parts: each part's gradients come back and are added up here in float32, in the order of the feeds, as on the CPU. */
const sumsOf = (one: Compiled, state: WebgpuState) => ({
  async run(feeds: readonly Feeds[]): Promise<readonly Outputs[]> {
    const outputs: Outputs[] = [];
    const sums = new Map<string, { readonly shape: readonly number[]; readonly data: Float32Array }>();
    for (const feed of feeds) {
      const { values, next } = await one.leave(feed);
      outputs.push(await one.outputsOf(values));
      for (const [label, value] of next) {
        const { shape, data } = await onDevice(`reading gradients of ${one.name}`, () => state.download(value));
        value.free();
        const sum = sums.get(label);
        if (sum) addTo(sum.data, data as Float32Array);
        else sums.set(label, { shape, data: Float32Array.from(data as Float32Array) });
      }
    }
    for (const [label, { shape, data }] of sums) await state.write(label, { dtype: 'float32', shape, data });
    return outputs;
  },
  close: () => one.close(),
});

function addTo(sum: Float32Array, part: Float32Array): void {
  for (let i = 0; i < sum.length; i++) sum[i]! += part[i]!;
}

/** Steps one after the other, of which nothing comes back before the last one was handed over. */
function stepsOf(executables: Readonly<Record<string, Compiled>>, state: WebgpuState): Steps {
  const attempt = async (turns: readonly Turn[]) => {
    const base = new Map<string, Resident | HostTensor>();
    const left: (readonly [Compiled, Left['values']])[][] = [];
    const adopt = (next: Left['next']): void => {
      for (const [label, value] of next) {
        const before = state.exchange(label, value);
        if (!base.has(label)) base.set(label, before);
        else freeAll([before]);
      }
    };
    for (const { runs, hold } of turns) {
      const given: (readonly [Compiled, Left['values']])[] = [];
      const held: Left['next'][] = [];
      for (const { program, feeds } of runs) {
        const { values, next } = await executables[program]!.leave(feeds);
        given.push([executables[program]!, values]);
        if (hold) held.push(next);
        else adopt(next);
      }
      held.forEach(adopt);
      left.push(given);
    }
    return { base, left };
  };
  const run = async (turns: readonly Turn[]): Promise<readonly (readonly Outputs[])[]> => {
    if (turns.length === 0) return [];
    const { base, left } = await attempt(turns);
    const outputs: Outputs[][] = [];
    for (const given of left) outputs.push(await Promise.all(given.map(([one, values]) => one.outputsOf(values))));
    const bad = outputs.findIndex((step) => !step.every(committed));
    if (bad < 0) {
      freeAll(base.values());
      return outputs;
    }
    // From the state before, only what went well: the same steps give the same values.
    for (const [label, value] of base) state.set(label, value);
    return run(turns.slice(0, bad));
  };
  return { run, async close() {} };
}
