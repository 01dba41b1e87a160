/** @file One program compiled for TensorFlow.js: what it is fed, what it gives, and which states it changes. */
import { leafOf } from '../graph/ops/leaf.ts';
import { bind, isSymbolic, multipleOf, type Tensor } from '../graph/tensor.ts';
import { fedValue } from './ort.ts';
import type { Executable, Feeds, HostTensor, Outputs, Program } from './runtime.ts';
import type { Tf, Value } from './tfjs-library.ts';
import { downloaded, uploaded } from './tfjs-memory.ts';
import { execute, type Plan, planned, Values } from './tfjs-plan.ts';
import type { TfjsState } from './tfjs-state.ts';

/** What a run leaves behind: outputs here, and new states there, which are the caller's. */
interface Left {
  readonly outputs: Outputs;
  readonly next: ReadonlyMap<string, Value>;
}
export interface Compiled extends Executable {
  leave(feeds: Feeds): Left;
}

export const freeAll = (values: Iterable<Value>): void => {
  for (const value of values) value.dispose();
};
const committed = ({ commit }: Outputs): boolean => !commit || Number(commit.data[0]) !== 0;

function labelOf(t: Tensor): string {
  const leaf = leafOf(t);
  if (leaf?.kind !== 'state') throw new TypeError('compile: only states can be updated');
  return leaf.label;
}

type Leaf = Plan['leaves'][number];

/** N as the fed values have it; 1 where no input depends on it. */
function batchOf(inputs: readonly Leaf[], feeds: Feeds): number {
  for (const { label, shape } of inputs) {
    const axis = shape.findIndex(isSymbolic);
    if (axis >= 0) return Number(feeds[label]?.shape[axis]) / multipleOf(shape[axis] as 'N');
  }
  return 1;
}
/** The value fed for an input. @throws TypeError where it is of another shape or type than the program was compiled for */
function fed(program: string, { label, shape, dtype }: Leaf, feeds: Feeds, n: number): HostTensor {
  const value = fedValue(program, label, feeds);
  const wanted = bind(shape, n);
  if (value.dtype !== dtype || value.shape.join() !== wanted.join())
    throw new TypeError(`${program}: ${label} is ${dtype}[${wanted.join(',')}], got ${value.dtype}[${value.shape.join(',')}]`);
  return value;
}

/** @throws InputError for operations without a kernel and for constants beyond 32 bits */
export function compiledProgram(tf: Tf, name: string, program: Program, state: TfjsState): Compiled {
  const outputs: Readonly<Record<string, Tensor>> = { ...program.outputs, ...(program.commit ? { commit: program.commit } : {}) };
  const keys = Object.keys(outputs);
  const labels = [...program.updates.keys()].map(labelOf);
  const plan = planned([...Object.values(outputs), ...program.updates.values()]);
  const of = (kind: (leaf: Leaf) => boolean): readonly Leaf[] => plan.leaves.filter(kind);
  const constants = of(({ kind }) => kind === 'constant').map(
    (leaf) => [leaf.tensor, uploaded(tf, 'a constant', { ...leaf, shape: leaf.shape as number[], data: leaf.data! })] as const,
  );
  const states = of(({ kind, label }) => kind !== 'constant' && state.has(label));
  const inputs = of(({ kind, label }) => kind !== 'constant' && !state.has(label));
  let waiting: ReadonlyMap<string, Value> = new Map();
  state.open();

  const leave = (feeds: Feeds): Left => {
    const n = batchOf(inputs, feeds);
    const values = new Values();
    try {
      for (const [tensor, value] of constants) values.lend(tensor, value);
      for (const { tensor, label } of states) values.lend(tensor, state.current(tf, label));
      for (const leaf of inputs) values.keep(leaf.tensor, uploaded(tf, `${name}: ${leaf.label}`, fed(name, leaf, feeds, n)));
      execute(tf, plan, values, n);
      return {
        outputs: Object.fromEntries(keys.map((key, i) => [key, downloaded(values.get(plan.roots[i]!), outputs[key]!.dtype)])),
        next: new Map(labels.map((label, i) => [label, values.take(tf, plan.roots[keys.length + i]!)])),
      };
    } finally {
      values.freeAll();
    }
  };
  const release = (): void => {
    for (const [label, value] of waiting) state.set(label, value);
    waiting = new Map();
  };
  return {
    inputs: inputs.map(({ label, dtype }) => ({ name: label, dtype })),
    leave,
    async run(feeds, hold = false) {
      const { outputs: found, next } = leave(feeds);
      freeAll(waiting.values());
      if (committed(found)) waiting = next;
      else {
        freeAll(next.values());
        waiting = new Map();
      }
      if (!hold) release();
      return found;
    },
    release,
    async close() {
      freeAll(waiting.values());
      freeAll(constants.map(([, value]) => value));
      waiting = new Map();
      state.leave();
    },
  };
}
