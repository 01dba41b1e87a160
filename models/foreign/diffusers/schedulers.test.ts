/** @file Schedulers of diffusers by their configuration, against the times and sigmas that diffusers lists. */
import { describe, expect, test } from 'vitest';
import { constant } from '../../../engine/graph/ops/leaf.ts';
import { evaluate } from '../../../engine/graph/reference.ts';
import { InputError } from '../../../engine/io/errors.ts';
import { deviation, readGolden } from '../../../engine/testing/golden-tensors.ts';
import { goldenStems, readConfigOf } from '../../../samplers/testing/golden-files.ts';
import { readScheduler, schedulerNames } from './schedulers.ts';

interface Stored {
  readonly tolerance: number;
  readonly scheduler: string;
  readonly prediction: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly runs: readonly { readonly num_inference_steps: number; readonly set_timesteps: Readonly<Record<string, number | null>> }[];
}
const known = goldenStems('samplers').filter((stem) => {
  const { scheduler } = readConfigOf<Partial<Stored>>(`samplers/${stem}`) ?? {};
  return scheduler !== undefined && (schedulerNames as readonly string[]).includes(scheduler);
});

/** Times of whole tables are exact. Those between come from their float32 table; a multistep solver rounds or cuts them, where a hair decides. */
function slackOf({ scheduler, config }: Stored): number {
  const between = config['use_karras_sigmas'] === true || config['use_flow_sigmas'] === true;
  if (/Multistep/.test(scheduler)) return between ? 1 : 0;
  return /Euler/.test(scheduler) ? 2e-3 : 0;
}

test.skipIf(goldenStems('samplers').length === 0)('most stored schedulers are known', () => {
  expect(known.length).toBeGreaterThan(20);
});

describe.each(known)('%s', (stem) => {
  const golden = readGolden<Stored>(`samplers/${stem}`)!;
  const { config, scheduler, prediction, runs, tolerance } = golden.config;
  const schedule = readScheduler(stem, { _class_name: scheduler, ...config });
  test('prediction', () => expect(schedule.prediction).toBe(prediction));
  test.each(runs.map((run) => ({ n: run.num_inference_steps, run })))('$n steps', ({ n, run }) => {
    const at = `points/steps${n}`;
    const mu = run.set_timesteps['mu'];
    // The stored run gives μ itself; these tokens have it.
    const tokens = mu === null || mu === undefined ? {} : { tokens: 256 + ((mu - 0.5) / 0.65) * 3840 };
    const { times, levels, ends } = schedule.steps(n, tokens);
    const listed = [...new Set(golden.tensor(`${at}/timesteps`).data)];
    if (!/prk/.test(stem)) expect(deviation(times, listed)).toBeLessThanOrEqual(slackOf(golden.config));
    if (!golden.has(`${at}/sigmas`)) return;
    const sigmas = golden.tensor(`${at}/sigmas`).data;
    const theirs = schedule.prediction === 'flow_prediction' ? levels.map((l) => l / (1 + l)) : levels;
    expect(deviation(theirs, sigmas.slice(0, n))).toBeLessThan(tolerance);
    expect(Math.abs(ends.at(-1)! - sigmas[n]!)).toBeLessThan(1e-4);
  });
});

describe('what is refused', () => {
  const ddim = { _class_name: 'DDIMScheduler', beta_schedule: 'linear' };
  const dpm = { _class_name: 'DPMSolverMultistepScheduler' };
  test.each([
    [{}, /scheduler undefined is not supported; supported are DDPMScheduler/],
    [{ _class_name: 'ScoreSdeVeScheduler' }, /ScoreSdeVeScheduler" is not supported/],
    [{ ...ddim, beta_shedule: 'linear' }, /unknown keys beta_shedule \(did you mean beta_schedule\?\)/],
    [{ ...ddim, beta_schedule: 'laplace' }, /beta_schedule is "laplace"; it must be one of linear/],
    [{ ...ddim, thresholding: true }, /thresholding is true; it must be false/],
    [{ ...ddim, trained_betas: [0.1, 0.2] }, /trained_betas has 2 entries, num_train_timesteps is 1000/],
    [{ ...ddim, beta_start: 0 }, /noise levels do not rise at time 0/],
    [{ ...ddim, prediction_type: 'flow_prediction' }, /prediction_type is flow_prediction, but the process preserves variance/],
    [{ ...ddim, rescale_betas_zero_snr: true }, /rescale_betas_zero_snr with prediction_type epsilon/],
    [{ ...dpm, use_flow_sigmas: true }, /use_flow_sigmas is true, but prediction_type is epsilon/],
    [{ ...dpm, use_beta_sigmas: true }, /use_beta_sigmas is true; it must be false/],
    [{ ...dpm, solver_order: 4 }, /solver_order is 4; it must be 1, 2 or 3/],
    ['text', /the configuration is "text"; it must be a JSON object/],
  ])('%j', (json, says) => {
    expect(() => readScheduler('f', json)).toThrow(says);
    expect(() => readScheduler('f', json)).toThrow(InputError);
  });
  test('keys of the scheduler that a configuration was converted from say nothing', () => {
    expect(readScheduler('f', { ...ddim, variance_type: 'fixed_large', skip_prk_steps: true, sample_max_value: 1 }).sampler.name).toBe(
      'ddim',
    );
  });
  test('steps that the table does not have', () => {
    expect(() => readScheduler('f', ddim).steps(1001)).toThrow(/1001 steps are more than the 1000 times/);
    expect(() => readScheduler('f', { ...ddim, steps_offset: 5 }).steps(1000)).toThrow(/lead to time 1004, outside 0…999/);
    expect(() => readScheduler('f', { _class_name: 'LCMScheduler' }).steps(51)).toThrow(/51 steps are not among the 50 of 1000/);
    const grows = readScheduler('f', { _class_name: 'FlowMatchEulerDiscreteScheduler', use_dynamic_shifting: true });
    expect(() => grows.steps(4)).toThrow(/tokens must be given/);
  });
});

test('a terminal level of 4096 that others exceed: it is listed as it is, and its time is the last', () => {
  const euler = { _class_name: 'EulerDiscreteScheduler', prediction_type: 'v_prediction', rescale_betas_zero_snr: true };
  const schedule = readScheduler('f', euler); // β is linear: ᾱ of times 997 and 998 is below 2⁻²⁴
  const { times, levels } = schedule.steps(50);
  expect([times[0], times.at(-1)]).toEqual([999, 0]);
  expect(levels[0]).toBeCloseTo(Math.sqrt(2 ** 24 - 1), 6);
  const label = (level: number): number => evaluate([schedule.process.label(constant(level))])[0]!.data[0]!;
  expect([label(levels[0]!), label(levels.at(-1)!)]).toEqual([999, 0]);
  expect(label(levels[25]!)).toBeCloseTo(times[25]!, 1);
});
