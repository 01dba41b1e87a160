/**
 * @file Every run of diffusers' schedulers: the times and sigmas that they list, each step from the stored state, outputs of the network and noise,
 * and the whole trajectory with the exact denoiser. A state is divided by its α, an output turned into a denoised sample; the solver is ours.
 */
import { describe, expect, test } from 'vitest';
import '../engine/graph/fluent.ts';
import { constant } from '../engine/graph/ops/leaf.ts';
import { evaluate } from '../engine/graph/reference.ts';
import type { Tensor } from '../engine/graph/tensor.ts';
import { deviation, type Golden, readGolden, row } from '../engine/testing/golden-tensors.ts';
import type { Denoiser } from '../engine/train/network.ts';
import { numbersAt, placeOf } from './steps.ts';
import { goldenStems, readConfigOf } from './testing/golden-files.ts';
import { type Plan, planOf, type SchedulerFile, type SchedulerRun } from './testing/scheduler-files.ts';
import { referenceMixture, scaled, stored } from './testing/trajectories.ts';

/** What is compared elsewhere, and where. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  gaussian_mixture: 'the data, in models/mixture.test.ts',
  edm_heun: "EDM's own code, in edm.test.ts",
  edm_ablation: "EDM's own code, in edm.test.ts",
  fastgen_student: "FastGen's own code, in edm.test.ts",
};

/** A denoised sample out of an output of the network at x (ours) and σ. */
type Meaning = (x: Tensor, sigma: Tensor, output: Tensor) => Tensor;
const size = (sigma: Tensor): Tensor => sigma.square().add(1).sqrt();
const MEANINGS: Readonly<Record<string, Meaning>> = {
  epsilon: (x, sigma, o) => x.sub(o.mul(sigma)),
  v_prediction: (x, sigma, o) => x.div(size(sigma)).sub(o.mul(sigma)).div(size(sigma)),
  sample: (_x, _sigma, o) => o,
  flow_prediction: (x, sigma, o) => x.sub(o.mul(sigma)).div(sigma.add(1)),
  // cos² t x − sin t F, with tan t = σ/0.5.
  trigflow: (x, sigma, o) => x.div(size(sigma.mul(2)).square()).sub(o.mul(sigma.mul(2).div(size(sigma.mul(2))))),
  // EDM's scalings of a raw output.
  raw: (x, sigma, o) =>
    x
      .mul(0.25)
      .div(size(sigma.mul(2)).square().mul(0.25))
      .add(o.mul(sigma.div(size(sigma.mul(2))))),
};
const meaningOf = ({ scheduler, prediction }: SchedulerFile): Meaning => MEANINGS[scheduler.startsWith('EDM') ? 'raw' : prediction]!;

/** What the network really says where a scheduler asks it at another state than the solver's own; `call` counts within the step. */
interface Place {
  readonly plan: Plan;
  readonly start: Tensor;
  readonly level: number;
  readonly call: number;
}
type Asked = (exact: Denoiser, place: Place) => Denoiser;
const noiseIn = (exact: Denoiser, x: Tensor, sigma: Tensor): Tensor => x.sub(exact(x, sigma)).div(sigma);
const ASKED: Readonly<Record<string, Asked>> = {
  // The noise of the churn is added after the network was asked, and its answer is kept: the noise that it saw.
  euler_churn:
    (exact, { start, level }) =>
    (x, sigma) =>
      x.sub(noiseIn(exact, start, constant(level)).mul(sigma)),
  // The first half step leads to ⌊r/2⌋ below the time, where the network is told r − ⌊r/2⌋ for the ratio r.
  pndm_prk:
    (exact, { plan, start, level, call }) =>
    (x, sigma) => {
      if (call !== 1 || plan.levels.indexOf(level) > 2) return exact(x, sigma);
      const [told, real] = [evaluate([sigma])[0]!.data[0]!, plan.detour!(level)];
      const there = start.add(x.sub(start).mul((real - level) / (told - level)));
      return x.sub(noiseIn(exact, there.mul(plan.scale(real) / plan.scale(told)), sigma).mul(sigma));
    },
};

interface Walk {
  readonly golden: Golden<SchedulerFile>;
  readonly run: SchedulerRun;
  readonly plan: Plan;
  readonly at: string;
}
const noiseOf = ({ golden, plan, run: { step }, at }: Walk): readonly (Float64Array | undefined)[] => {
  if (!golden.has(`${at}/noise`)) return [];
  const noise = golden.tensor(`${at}/noise`);
  const drawn = plan.levels.map((l) => step['s_churn'] === undefined || (l >= step['s_tmin']! && l <= step['s_tmax']!));
  // A scheduler that draws none at its last step multiplies ours by 0.
  return drawn.map((d, i) =>
    d && drawn.slice(0, i).filter(Boolean).length < noise.shape[0]! ? row(noise, drawn.slice(0, i).filter(Boolean).length) : undefined,
  );
};

/** Steps through a run. `replay` starts every step from the stored state and answers with the stored outputs. @returns the worst deviations of states and of what the network was asked at */
function walk(of: Walk, replay: boolean, exact: Denoiser, asked: Asked = () => exact) {
  const { golden, plan, at } = of;
  const states = golden.tensor(`${at}/x`);
  const outputs = golden.tensor(`${at}/model_output`);
  const shape = states.shape.slice(1);
  const noise = noiseOf(of);
  const meaning = meaningOf(golden.config);
  const worst = { state: 0, asked: 0 };
  let call = 0;
  let carry = plan.sampler.start(constant(scaled(row(states, 0), 1 / plan.scale(plan.levels[0]!)), shape));
  plan.levels.forEach((level, i) => {
    const end = plan.ends[i]!;
    if (replay) carry = { ...carry, x: constant(scaled(row(states, call), 1 / plan.scale(level)), shape) };
    const seen: Tensor[] = [];
    const start = carry.x;
    const answer: Denoiser = (x, sigma) => {
      seen.push(x.mul(1), sigma);
      if (replay) return meaning(x, sigma, constant(row(outputs, call + seen.length / 2 - 1), shape));
      return asked(exact, { plan, start, level, call: seen.length / 2 - 1 })(x, sigma);
    };
    const zeros = new Float64Array(row(states, 0).length);
    const numbers = Object.entries(numbersAt(plan.sampler, plan.levels, i, plan.ends.at(-1))).map(([k, v]) => [k, constant(v)] as const);
    const levels = {
      previous: constant(plan.levels[i - 1] ?? 0),
      sigma: constant(level),
      next: constant(end),
      steps: constant(plan.levels.length),
      numbers: Object.fromEntries(numbers),
    };
    const drawn = stored([noise[i] ?? zeros]);
    const draw = { ...drawn, normal: (_: string, like: Tensor) => drawn.normal('step0/', like) };
    const after = plan.sampler.step(
      plan.wrap ? plan.wrap(answer) : answer,
      carry,
      levels,
      draw as never,
      placeOf(i, end, plan.sampler.opening),
    );
    const keys = Object.keys(after);
    const values = evaluate([...keys.map((k) => after[k]!), ...seen]);
    for (let k = 0; k < seen.length; k += 2) {
      const [x, sigma] = [values[keys.length + k]!.data, values[keys.length + k + 1]!.data[0]!];
      worst.asked = Math.max(worst.asked, deviation(scaled(x, plan.scale(sigma)), row(states, call + k / 2)));
    }
    call += seen.length / 2;
    // A scheduler whose steps do not join takes its state over as it is.
    const over = plan.scale(end) / plan.scale(plan.levels[i + 1] ?? end);
    carry = Object.fromEntries(
      keys.map((k, j) => [k, constant(k === 'x' ? scaled(values[j]!.data, over) : values[j]!.data, shape)]),
    ) as never;
    worst.state = Math.max(worst.state, deviation(scaled(values[keys.indexOf('x')]!.data, plan.scale(end)), row(states, call)));
  });
  expect(call).toBe(outputs.shape[0]);
  return worst;
}

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
      const worst = walk({ golden, run, plan, at }, true, () => constant(0));
      expect(worst.state).toBeLessThan(tolerance);
      if (!(file in ASKED)) expect(worst.asked).toBeLessThan(tolerance);
    }),
  );
  test.each(cases)('$n steps', ({ n, run, plan }) =>
    both(n, (at, kind) => {
      const worst = walk({ golden, run, plan, at }, false, referenceMixture(mix!, kind), ASKED[file]);
      expect(worst.state).toBeLessThan(tolerance);
    }),
  );
});
