/**
 * @file Runs programs on TensorFlow.js, operation by operation. State and constants stay there between runs; what a step computes is freed where it is
 * used last.
 */
import type { Outputs, Program, Runtime, State, Sums } from './runtime.ts';
import { findLibrary, type Library, type Tf, type Value } from './tfjs-library.ts';
import { type Compiled, compiledProgram } from './tfjs-program.ts';
import { TfjsState } from './tfjs-state.ts';

/** TensorFlow.js as `find` finds it when programs are compiled. Nothing of the options applies: it has one backend for a process, and no threads to choose. */
export function tfjsRuntime(find: () => Promise<Library> = findLibrary): Runtime {
  const own = (state: State): TfjsState => {
    if (state instanceof TfjsState) return state;
    throw new TypeError('compile: the state belongs to another runtime; make it with runtime.state()');
  };
  const compiled = async <T>(
    programs: Readonly<Record<string, Program>>,
    state: TfjsState,
    made: (tf: Tf, one: Compiled) => T,
  ): Promise<Readonly<Record<string, T>>> => {
    const { tf } = await find();
    return Object.fromEntries(
      Object.entries(programs).map(([name, program]) => [name, made(tf, compiledProgram(tf, name, program, state))]),
    );
  };
  return {
    state: (initial) => new TfjsState(initial),
    compile: async (programs, state) => compiled(programs, own(state), (_, one) => one),
    compileSums: async (programs, state) => {
      const mine = own(state);
      return compiled(programs, mine, (tf, one) => sumsOf(tf, one, mine));
    },
  };
}

/** Parts one after the other, added up there in float32 in the order of the feeds: the bits that adding here would give. */
const sumsOf = (tf: Tf, one: Compiled, state: TfjsState): Sums => ({
  async run(feeds) {
    const outputs: Outputs[] = [];
    const sums = new Map<string, Value>();
    for (const feed of feeds) {
      const { outputs: found, next } = one.leave(feed);
      outputs.push(found);
      for (const [label, value] of next) {
        const sum = sums.get(label);
        sums.set(label, sum ? tf.add(sum, value) : value);
        if (!sum) continue;
        sum.dispose();
        value.dispose();
      }
    }
    for (const [label, sum] of sums) state.set(label, sum);
    return outputs;
  },
  close: () => one.close(),
});
