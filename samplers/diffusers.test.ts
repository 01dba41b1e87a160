/**
 * @file Every run of diffusers' schedulers: the times and sigmas that they list, each step from the stored state, outputs of the network and noise,
 * and the whole trajectory with the exact denoiser. A state is divided by its α, an output turned into a denoised sample; the solver is ours.
 */
import { describe, expect, test } from 'vitest';
import { deviation, readGolden } from '../engine/testing/golden-tensors.ts';
import { goldenStems, readConfigOf } from './testing/golden-files.ts';
import { planOf, type SchedulerFile } from './testing/scheduler-files.ts';
import { ASKED, walk } from './testing/scheduler-walk.ts';
import { referenceMixture } from './testing/trajectories.ts';

/** What is compared elsewhere, and where. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  gaussian_mixture: 'the data, in models/mixture.test.ts',
  edm_heun: "EDM's own code, in edm.test.ts",
  edm_ablation: "EDM's own code, in edm.test.ts",
  fastgen_student: "FastGen's own code, in edm.test.ts",
};

const mix = readGolden<unknown>('samplers/gaussian_mixture');
const stems = goldenStems('samplers');
const files = stems.filter((stem) => !(stem in ELSEWHERE));
test.skipIf(!mix)('every file is a run of a scheduler or compared elsewhere', () => {
  for (const stem of files) expect(readConfigOf<SchedulerFile>(`samplers/${stem}`)!.scheduler).toMatch(/Scheduler$/);
  expect(stems.length).toBeGreaterThan(10);
});

describe.skipIf(!mix).each(files)('%s', (file) => {
  const golden = readGolden<SchedulerFile>(`samplers/${file}`)!;
  const { tolerance, runs } = golden.config;
  const cases = runs.map((run) => ({ n: run.num_inference_steps, run, plan: planOf(golden.config, run) }));
  const both = (n: number, check: (at: string, kind: string) => void): void => {
    for (const kind of ['points', 'images']) check(`${kind}/steps${n}`, kind);
  };
  test.each(cases)('times of $n steps', ({ n, plan }) =>
    both(n, (at) => {
      const listed = golden.tensor(`${at}/timesteps`).data;
      if (plan.rounded) expect(Math.max(...plan.times.map((t, i) => Math.abs(t - listed[i]!)))).toBeLessThan(0.501);
      else expect(deviation(plan.times, listed)).toBeLessThan(tolerance);
      if (golden.has(`${at}/sigmas`)) expect(deviation(plan.sigmas!, golden.tensor(`${at}/sigmas`).data)).toBeLessThan(tolerance);
    }),
  );
  test.each(cases)('each of $n steps by itself', ({ n, run, plan }) =>
    both(n, (at) => {
      const worst = walk({ golden, run, plan, at });
      expect(worst.calls).toBe(run.model_calls);
      expect(worst.state).toBeLessThan(tolerance);
      if (!(file in ASKED)) expect(worst.asked).toBeLessThan(tolerance);
    }),
  );
  test.each(cases)('$n steps', ({ n, run, plan }) =>
    both(n, (at, kind) => {
      const worst = walk({ golden, run, plan, at }, referenceMixture(mix!, kind), ASKED[file]);
      expect(worst.state).toBeLessThan(tolerance);
    }),
  );
});
