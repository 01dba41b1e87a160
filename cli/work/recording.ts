/** @file A runtime that computes nothing: it writes down the programs that it is given, their first state, and which of them run, fed with what. */
import { type LeafAttrs, leafOf } from '../../engine/graph/ops/leaf.ts';
import { type Tensor, topological } from '../../engine/graph/tensor.ts';
import { InputError } from '../../engine/io/errors.ts';
import { type Executable, type HostTensor, type Program, type Runtime, type State, scalar } from '../../engine/run/runtime.ts';

/** One run of a program. */
export interface RecordedRun {
  readonly program: string;
  /** The numbers that it was fed: all inputs without an axis. */
  readonly scalars: Readonly<Record<string, number>>;
  /** Whether its new state waits until all runs of the step are made. */
  readonly held: boolean;
}
export interface Recording {
  readonly runtime: Runtime;
  readonly programs: Map<string, Program>;
  readonly initial: Map<string, HostTensor>;
  readonly runs: RecordedRun[];
}

/** Leaves that tensors are made of, by kind. */
export function leavesOf(tensors: readonly Tensor[]): { readonly inputs: readonly LeafAttrs[]; readonly states: readonly LeafAttrs[] } {
  const leaves = topological(tensors).flatMap((node) => leafOf(node.outputs[0]!) ?? []);
  const of = (kind: string): LeafAttrs[] => [
    ...new Map(leaves.filter((leaf) => leaf.kind === kind).map((leaf) => [leaf.label, leaf])).values(),
  ];
  return { inputs: of('input'), states: of('state') };
}

/** A fresh recording. Its runtime refuses whatever changes the state between steps, which a record of runs does not hold. */
export function recording(): Recording {
  const [programs, initial, runs] = [new Map<string, Program>(), new Map<string, HostTensor>(), [] as RecordedRun[]];
  const state: State = {
    names: () => [...initial.keys()],
    read: async (name) => initial.get(name)!,
    async write(name) {
      throw new InputError(`page: the method writes ${name} between its steps, which a page does not do; choose another one`);
    },
  };
  const runtime: Runtime = {
    state(values) {
      for (const [name, value] of Object.entries(values)) initial.set(name, value);
      return state;
    },
    async compile(given) {
      for (const [name, program] of Object.entries(given)) programs.set(name, program);
      return Object.fromEntries(Object.entries(given).map(([name, program]) => [name, recorder(name, program, runs)]));
    },
    async compileSums(given) {
      if (Object.keys(given).length > 0) throw new Error('internal: recording: batches are not cut');
      return {};
    },
  };
  return { runtime, programs, initial, runs };
}

function recorder(name: string, program: Program, runs: RecordedRun[]): Executable {
  const inputs = leavesOf([...Object.values(program.outputs), ...program.updates.values()]).inputs.map(({ label }) => label);
  const answers = [...Object.keys(program.outputs).map((key) => [key, scalar(0)] as const), ['commit', scalar(1)] as const];
  return {
    inputs: inputs.map((label) => ({ name: label, dtype: 'float32' })),
    async run(feeds, hold = false) {
      const numbers = inputs.filter((label) => feeds[label]?.shape.length === 0);
      runs.push({ program: name, scalars: Object.fromEntries(numbers.map((label) => [label, Number(feeds[label]!.data[0])])), held: hold });
      return Object.fromEntries(answers);
    },
    release() {},
    async close() {},
  };
}
