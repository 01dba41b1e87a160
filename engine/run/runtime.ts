/** @file What a runtime is: it compiles programs that share one state, and runs them. */
import type { DType, Tensor } from '../graph/tensor.ts';

/** A tensor in main memory, row-major. */
export interface HostTensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** float16 as its bits. */
  readonly data: Float32Array | Uint16Array | BigInt64Array | Uint8Array;
}
export type Feeds = Readonly<Record<string, HostTensor>>;
export type Outputs = Readonly<Record<string, HostTensor>>;

/** What one run computes. */
export interface Program {
  readonly outputs: Readonly<Record<string, Tensor>>;
  /** New values of states, all read before any is written. */
  readonly updates: ReadonlyMap<Tensor, Tensor>;
  /** A scalar; where it comes out as 0 the state stays as it was. */
  readonly commit?: Tensor;
}

export interface Executable {
  /** Inputs that must be fed, with their types; states are not among them. */
  readonly inputs: readonly { readonly name: string; readonly dtype: DType }[];
  /** The outputs, and `commit` where the program has one. With `hold` the new state waits for release(), so that other programs still see the old one. */
  run(feeds: Feeds, hold?: boolean): Promise<Readonly<Record<string, HostTensor>>>;
  /** Makes a held state current. */
  release(): void;
  close(): Promise<void>;
}

/** A program run on several feeds from one state, its updates added up. */
export interface Sums {
  /**
   * The outputs for each feed. Every update becomes the sum of what the feeds give, added up in their order whatever ran side by side; the state is
   * the new one afterwards.
   */
  run(feeds: readonly Feeds[]): Promise<readonly Readonly<Record<string, HostTensor>>[]>;
  close(): Promise<void>;
}

/** What one step runs: programs one after the other; with `hold` all of them see the state from before the step. */
export interface Turn {
  readonly runs: readonly { readonly program: string; readonly feeds: Feeds }[];
  readonly hold: boolean;
}

/** Several steps in one go, between which nothing leaves the device. */
export interface Steps {
  /**
   * Runs the turns in order up to the first in which a program's `commit` is 0; that one and those after it leave no trace.
   * @returns the outputs of every program of the turns that went well, with the bits that single runs give
   */
  run(turns: readonly Turn[]): Promise<readonly (readonly Outputs[])[]>;
  close(): Promise<void>;
}

/** All parameters, moments and averages of a run. Where they live is the runtime's business. */
export interface State {
  names(): readonly string[];
  /** A copy of the current value. */
  read(name: string): Promise<HostTensor>;
  write(name: string, value: HostTensor): Promise<void>;
}

export interface RuntimeOptions {
  /** Threads inside one operation; 0 = all cores. */
  readonly threads?: number;
  /** Provider of ONNX Runtime, for runtimes that have several. */
  readonly provider?: 'cpu' | 'webgpu' | 'cuda';
  /** Whether several steps in one go are one ONNX Loop, on providers that copy every output to main memory; default: on CUDA. */
  readonly loop?: boolean;
  /** Whether the memory of values is kept between runs, for speed; default: yes. Without it a process is no larger than what one run needs. */
  readonly keep?: boolean;
  /** Path prefix under which a trace of every node is written when the executable is closed. */
  readonly profile?: string;
}

export interface Runtime {
  /** A state with the given initial values. */
  state(initial: Readonly<Record<string, HostTensor>>): State;
  /** Compiles programs that share `state`. */
  compile(programs: Readonly<Record<string, Program>>, state: State): Promise<Readonly<Record<string, Executable>>>;
  /** Compiles programs whose updates are sums over runs; `beside` runs go on side by side. No program may read what one of them updates. */
  compileSums(programs: Readonly<Record<string, Program>>, state: State, beside: number): Promise<Readonly<Record<string, Sums>>>;
  /** Several steps in one go, by programs that were compiled for `state`; absent where it would gain nothing. */
  readonly steps?: (executables: Readonly<Record<string, Executable>>, state: State) => Steps;
}

export const float32 = (data: Float32Array, shape: readonly number[]): HostTensor => ({ dtype: 'float32', shape, data });
export const int64 = (data: BigInt64Array, shape: readonly number[]): HostTensor => ({ dtype: 'int64', shape, data });
export const scalar = (value: number): HostTensor => float32(Float32Array.of(value), []);
