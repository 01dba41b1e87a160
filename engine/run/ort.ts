/** @file Runs programs on ONNX Runtime. The only file that knows it. */
import * as ort from 'onnxruntime-node';
import { toOnnx } from '../graph/onnx.ts';
import { cast } from '../graph/ops/elementwise.ts';
import { leafOf } from '../graph/ops/leaf.ts';
import { concat, reshape } from '../graph/ops/movement.ts';
import { simplify } from '../graph/simplify.ts';
import { type DType, sizeOf, type Target, type Tensor } from '../graph/tensor.ts';
import { channelBlock } from './ort-block.ts';
import { loopSteps } from './ort-loop.ts';
import { sessionOptions } from './ort-options.ts';
import { compileSums } from './ort-sums.ts';
import type { Executable, Feeds, HostTensor, Program, Runtime, RuntimeOptions, State, Steps } from './runtime.ts';

/** ONNX Runtime with values in main memory, on the CPU or on CUDA, whose provider copies every output there. */
export function ortRuntime(options: RuntimeOptions = {}): Runtime {
  const files = new WeakMap<Executable, ProgramFile>();
  const { loop = options.provider === 'cuda' } = options;
  return {
    state: (initial) => new OrtState(initial),
    async compile(programs, state) {
      if (!(state instanceof OrtState)) throw new TypeError('compile: the state belongs to another runtime; make it with runtime.state()');
      const compiled: Record<string, Executable> = {};
      for (const [name, program] of Object.entries(programs)) {
        const file = await programFile(program, options.provider);
        compiled[name] = await compileProgram(name, file, state, options);
        if (loop) files.set(compiled[name], file);
      }
      return compiled;
    },
    async compileSums(programs, state, beside) {
      if (!(state instanceof OrtState))
        throw new TypeError('compileSums: the state belongs to another runtime; make it with runtime.state()');
      return compileSums(programs, state, beside, options);
    },
    ...(loop
      ? {
          steps: (executables: Readonly<Record<string, Executable>>, state: State): Steps =>
            loopSteps(
              Object.fromEntries(Object.entries(executables).map(([name, each]) => [name, files.get(each)!])),
              state as OrtState,
              options,
            ),
        }
      : {}),
  };
}

/** Each value has two buffers: a step reads one and writes the other, then they swap. Writing in place would not be safe. */
export class OrtState implements State {
  private readonly values = new Map<string, { now: ort.Tensor; next: ort.Tensor | null }>();
  /** Changes of each value so far, for whoever keeps a copy. */
  private readonly versions = new Map<string, number>();

  constructor(initial: Readonly<Record<string, HostTensor>>) {
    for (const [name, value] of Object.entries(initial)) this.values.set(name, { now: toOrt(value, true), next: null });
  }
  names(): readonly string[] {
    return [...this.values.keys()];
  }
  async read(name: string): Promise<HostTensor> {
    const { now } = this.slot(name);
    return { dtype: now.type as DType, shape: now.dims, data: (now.data as HostTensor['data']).slice() as HostTensor['data'] };
  }
  async write(name: string, value: HostTensor): Promise<void> {
    const { now } = this.slot(name);
    if (value.data.length !== now.size) throw new TypeError(`state: ${name} holds ${now.size} values, got ${value.data.length}`);
    (now.data as Float32Array).set(value.data as Float32Array);
    this.changed(name);
  }
  version(name: string): number {
    return this.versions.get(name) ?? 0;
  }
  private changed(name: string): void {
    this.versions.set(name, this.version(name) + 1);
  }
  current(name: string): ort.Tensor {
    return this.slot(name).now;
  }
  /** The buffer that the next run writes; made when first needed, so that what never changes is held once. */
  target(name: string): ort.Tensor {
    const slot = this.slot(name);
    const { now } = slot;
    slot.next ??= new ort.Tensor(now.type as 'float32', new (now.data.constructor as Float32ArrayConstructor)(now.size), now.dims);
    return slot.next;
  }
  swap(name: string): void {
    const slot = this.slot(name);
    this.values.set(name, { now: slot.next!, next: slot.now });
    this.changed(name);
  }
  private slot(name: string): { now: ort.Tensor; next: ort.Tensor | null } {
    const slot = this.values.get(name);
    if (!slot) throw new TypeError(`state: there is no ${name}; there are ${this.names().join(', ')}`);
    return slot;
  }
}

export const toOrt = ({ dtype, data, shape }: HostTensor, copy = false): ort.Tensor =>
  new ort.Tensor(dtype as 'float32', (copy ? data.slice() : data) as Float32Array, shape as number[]);

/** A program as an ONNX file. Outputs get a prefix of their own: a logged term may be called like a state or an input. */
export interface ProgramFile {
  readonly model: Uint8Array;
  /** Names of outputs, led by `value/`. */
  readonly values: readonly string[];
  /** Labels of the states that it updates; their new values are outputs led by `next/`. */
  readonly updates: readonly string[];
  /** On WebGPU, where all outputs are scalars: the one vector that holds them instead, in the order of these names. */
  readonly packed: { readonly output: string; readonly names: readonly string[] } | null;
}
/** The file of a program for a provider; on WebGPU scalars come out as one vector. */
export async function programFile(program: Program, target: Target = 'cpu'): Promise<ProgramFile> {
  const updates = [...program.updates].map(([leaf, value]) => ({ label: labelOf(leaf), value }));
  const given: Readonly<Record<string, Tensor>> = { ...program.outputs, ...(program.commit ? { commit: program.commit } : {}) };
  const names = Object.keys(given);
  const scalars = target === 'webgpu' && names.length > 0 && Object.values(given).every((t) => t.shape.length === 0 && t.dtype !== 'int64');
  const vector = (): Tensor =>
    concat(
      Object.values(given).map((t) => reshape(cast(t, 'float32'), [1])),
      0,
    );
  const outputs: Readonly<Record<string, Tensor>> = scalars
    ? { 'values/all': vector() }
    : Object.fromEntries(names.map((key) => [`value/${key}`, given[key]!]));
  const values = Object.keys(outputs);
  const keys = [...values, ...updates.map((u) => `next/${u.label}`)];
  const simple = simplify([...Object.values(outputs), ...updates.map((u) => u.value)]);
  const block = target === 'cpu' ? await channelBlock() : 0;
  const model = toOnnx(Object.fromEntries(keys.map((key, i) => [key, simple[i]!])), { target, block });
  return { model, values, updates: updates.map((u) => u.label), packed: scalars ? { output: 'values/all', names } : null };
}

async function compileProgram(name: string, file: ProgramFile, state: OrtState, options: RuntimeOptions): Promise<Executable> {
  const { model, values, updates } = file;
  const keys = [...values, ...updates.map((label) => `next/${label}`)];
  const session = await ort.InferenceSession.create(model, {
    ...sessionOptions(options),
    ...(options.profile ? { enableProfiling: true, profileFilePrefix: `${options.profile}-${name}` } : {}),
  });
  const states = new Set(state.names());
  let waiting: string[] = [];
  const release = (): void => {
    for (const label of waiting) state.swap(label);
    waiting = [];
  };
  return {
    inputs: session.inputMetadata
      .filter((m) => !states.has(m.name))
      .map((m) => ({ name: m.name, dtype: (m.isTensor ? m.type : 'float32') as DType })),
    async run(feeds, hold = false) {
      const given: Record<string, ort.Tensor> = {};
      for (const input of session.inputNames) given[input] = states.has(input) ? state.current(input) : toOrt(fedValue(name, input, feeds));
      const fetches: Record<string, ort.Tensor | null> = {};
      for (const key of keys) fetches[key] = key.startsWith('next/') ? state.target(key.slice(5)) : null;
      const result = await session.run(given, fetches);
      const committed = !result['value/commit'] || Number(result['value/commit'].data[0]) !== 0;
      waiting = committed ? [...updates] : [];
      if (!hold) release();
      return Object.fromEntries(values.map((key) => [key.slice('value/'.length), fromOrt(result[key]!)]));
    },
    release,
    async close() {
      if (options.profile) session.endProfiling();
      await session.release();
    },
  };
}

export const fromOrt = (t: ort.Tensor): HostTensor => ({ dtype: t.type as DType, shape: t.dims, data: t.data as HostTensor['data'] });

function labelOf(t: Tensor): string {
  const leaf = leafOf(t);
  if (leaf?.kind !== 'state') throw new TypeError('compile: only states can be updated');
  return leaf.label;
}

export function fedValue(program: string, name: string, feeds: Feeds): HostTensor {
  const value = feeds[name];
  if (!value) throw new TypeError(`${program}: no value fed for ${name}`);
  if (value.data.length !== sizeOf(value.shape))
    throw new TypeError(`${program}: ${name} holds ${value.data.length} values, not [${value.shape.join(',')}]`);
  return value;
}

/** Loads a finished ONNX file for inference. Inputs and outputs by name. */
export async function loadModel(path: string | Uint8Array, options: RuntimeOptions = {}): Promise<Executable> {
  const session = await ort.InferenceSession.create(path as string, {
    ...(options.provider && options.provider !== 'cpu' ? { executionProviders: [options.provider] } : {}),
    graphOptimizationLevel: 'all',
    logSeverityLevel: 3,
    ...(options.threads ? { intraOpNumThreads: options.threads } : {}),
  });
  return {
    inputs: session.inputMetadata.map((m) => ({ name: m.name, dtype: (m.isTensor ? m.type : 'float32') as DType })),
    async run(feeds) {
      const result = await session.run(Object.fromEntries(session.inputNames.map((n) => [n, toOrt(fedValue('model', n, feeds))])));
      return Object.fromEntries(Object.entries(result).map(([key, t]) => [key, fromOrt(t)]));
    },
    release() {},
    close: () => session.release(),
  };
}

/** Versions and providers, for `onestep doctor`. */
export const ortFacts = (): { readonly version: string; readonly backends: readonly string[] } => ({
  version: ort.env.versions.common,
  backends: ort.listSupportedBackends().map((b) => b.name),
});
