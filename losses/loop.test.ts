/** @file Steps of methods inside one ONNX Loop, as they run on CUDA, give the bits of single steps. On the CPU, whose provider runs the same file. */
import { expect, test } from 'vitest';
import { ortRuntime } from '../engine/run/ort.ts';
import type { Runtime, Turn } from '../engine/run/runtime.ts';
import { methodNames, tinyCurve, tinyRun } from './testing/tiny-runs.ts';

/** More than one round of the methods that train the student on every fifth step. */
const STEPS = 7;
const TOGETHER = 4;
/** One of each kind: phases by turns, phases that see one state, derivatives along the trajectory, experts, one phase. `npm run proof` takes all. */
const METHODS = process.env['ONESTEP_PROOF'] ? methodNames : ['dmd2', 'uni-instruct', 'scm', 'phased-dmd', 'ect'];
/** What moves players between steps is no part of a program. */
const SINGLE: readonly string[] = ['disback'];

/** Notes how many turns went into each Loop. */
function counted(inner: Runtime): { readonly runtime: Runtime; readonly turns: number[] } {
  const turns: number[] = [];
  const runtime: Runtime = {
    ...inner,
    steps(executables, state) {
      const steps = inner.steps!(executables, state);
      const run = (given: readonly Turn[]) => {
        turns.push(given.length);
        return steps.run(given);
      };
      return { ...steps, run };
    },
  };
  return { runtime, turns };
}

test.each(METHODS)('%s', { timeout: 60_000 }, async (name) => {
  const run = await tinyRun(name, 'small-unet', {}, STEPS);
  const single = await tinyCurve(ortRuntime({ threads: 1 }), run, STEPS);
  const { runtime, turns } = counted(ortRuntime({ threads: 1, loop: true }));
  const loop = await tinyCurve(runtime, run, STEPS, TOGETHER);
  expect(turns).toEqual(SINGLE.includes(name) ? [] : [4, 3]);
  expect({ ...loop, seconds: 0 }).toEqual({ ...single, seconds: 0 });
});
