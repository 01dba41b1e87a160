/**
 * @file Walks through a run of a diffusers' scheduler: either every step from the stored state with the stored outputs of the network, or the whole
 * trajectory with the exact denoiser. Says how far our states are from theirs, and from what the network was asked at.
 */
import '../../engine/graph/fluent.ts';
import { constant } from '../../engine/graph/ops/leaf.ts';
import { evaluate } from '../../engine/graph/reference.ts';
import type { Tensor } from '../../engine/graph/tensor.ts';
import { deviation, type Golden, row } from '../../engine/testing/golden-tensors.ts';
import type { Denoiser } from '../../engine/train/network.ts';
import type { Carry } from '../../engine/train/sampler.ts';
import { placeOf } from '../steps.ts';
import { constantLevels } from '../unroll.ts';
import type { Plan, SchedulerFile, SchedulerRun } from './scheduler-files.ts';
import { scaled, stored } from './trajectories.ts';

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
export const ASKED: Readonly<Record<string, Asked>> = {
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

export interface Walk {
  readonly golden: Golden<SchedulerFile>;
  readonly run: SchedulerRun;
  readonly plan: Plan;
  /** Where its tensors are: kind and number of steps. */
  readonly at: string;
}
/** The stored noise of each step; zeros where the scheduler draws none, which is where it is multiplied by 0 or not added. */
function noiseOf({ golden, plan, run: { step }, at }: Walk): readonly Float64Array[] {
  const zeros = new Float64Array(row(golden.tensor(`${at}/x`), 0).length);
  if (!golden.has(`${at}/noise`)) return plan.levels.map(() => zeros);
  const noise = golden.tensor(`${at}/noise`);
  const draws = (level: number): boolean => step['s_churn'] === undefined || (level >= step['s_tmin']! && level <= step['s_tmax']!);
  return plan.levels.map((level, i) => {
    const before = plan.levels.slice(0, i).filter(draws).length;
    return draws(level) && before < noise.shape[0]! ? row(noise, before) : zeros;
  });
}

interface Stepped {
  readonly carry: Carry;
  /** What the network was asked at: x and its level. */
  readonly seen: readonly { readonly x: Float64Array; readonly level: number }[];
}
/** What the network says, at a state and its level; `call` counts within the step. */
type Answer = (x: Tensor, sigma: Tensor, call: number) => Tensor;

/** Step i from a carry of constants, in float64. */
function stepOnce(plan: Plan, i: number, carry: Carry, noise: Float64Array, answer: Answer): Stepped {
  const asked: Tensor[] = [];
  const denoise: Denoiser = (x, sigma) => {
    asked.push(x.mul(1), sigma);
    return answer(x, sigma, asked.length / 2 - 1);
  };
  const next = constant(plan.ends[i]!);
  const levels = { ...constantLevels(plan.sampler, plan.levels, i, plan.ends.at(-1)), next };
  const draws = stored([noise]);
  const draw = { ...draws, normal: (_: string, like: { readonly shape: Tensor['shape'] }) => draws.normal('step0/', like) };
  const place = placeOf(i, plan.ends[i]!, plan.sampler.opening);
  const after = plan.sampler.step(plan.wrap ? plan.wrap(denoise) : denoise, carry, levels, draw, place);
  const keys = Object.keys(after);
  const values = evaluate([...Object.values(after), ...asked]);
  const seen = values.slice(keys.length);
  return {
    carry: Object.fromEntries(keys.map((key, k) => [key, constant(values[k]!.data, carry.x.shape)])) as Carry & Record<'x', Tensor>,
    seen: seen.flatMap((x, k) => (k % 2 === 0 ? [{ x: x.data, level: seen[k + 1]!.data[0]! }] : [])),
  };
}

/** @param exact the denoiser of the whole trajectory; without it every step starts from the stored state. @returns the worst deviations and the number of calls */
export function walk(
  of: Walk,
  exact?: Denoiser,
  asked?: Asked,
): { readonly state: number; readonly asked: number; readonly calls: number } {
  const { golden, plan, at } = of;
  const [states, outputs] = [golden.tensor(`${at}/x`), golden.tensor(`${at}/model_output`)];
  const shape = states.shape.slice(1);
  const noise = noiseOf(of);
  const meaning = meaningOf(golden.config);
  const ours = (call: number, level: number): Tensor => constant(scaled(row(states, call), 1 / plan.scale(level)), shape);
  const worst = { state: 0, asked: 0 };
  let [calls, carry] = [0, plan.sampler.start(ours(0, plan.levels[0]!))];
  plan.levels.forEach((level, i) => {
    if (!exact) carry = { ...carry, x: ours(calls, level) };
    const [start, first] = [carry.x, calls];
    const answer: Answer = (x, sigma, call) => {
      if (!exact) return meaning(x, sigma, constant(row(outputs, first + call), shape));
      return (asked ? asked(exact, { plan, start, level, call }) : exact)(x, sigma);
    };
    const after = stepOnce(plan, i, carry, noise[i]!, answer);
    after.seen.forEach(({ x, level: told }, k) => {
      worst.asked = Math.max(worst.asked, deviation(scaled(x, plan.scale(told)), row(states, first + k)));
    });
    calls += after.seen.length;
    const theirs = scaled(evaluate([after.carry.x])[0]!.data, plan.scale(plan.ends[i]!));
    worst.state = Math.max(worst.state, deviation(theirs, row(states, calls)));
    // A scheduler whose steps do not join takes its state over as it is.
    carry = { ...after.carry, x: constant(scaled(theirs, 1 / plan.scale(plan.levels[i + 1] ?? plan.ends[i]!)), shape) };
  });
  return { ...worst, calls };
}
