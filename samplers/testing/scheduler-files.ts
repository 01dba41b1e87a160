/**
 * @file What diffusers' schedulers do, said in our terms: the levels of the steps, the scale of their state against ours, and what an output of
 * the network means. Times and sigmas are computed from the configuration alone.
 */
import '../../engine/graph/fluent.ts';
import { evaluate } from '../../engine/graph/reference.ts';
import type { Denoiser } from '../../engine/train/network.ts';
import type { Sampler } from '../../engine/train/sampler.ts';
import { alphasCumprod, type BetaSchedule, betas, indexOf, interpolate, levelsOf, type Spacing, spaced, zeroTerminal } from '../betas.ts';
import { clipped } from '../clip.ts';
import { flowTimes, shiftTime } from '../flow-times.ts';
import { sampler } from '../index.ts';
import { tcdSteps } from '../jumps.ts';
import { karras } from '../karras.ts';
import { pndmSteps } from '../pndm.ts';

export type Prediction = 'epsilon' | 'v_prediction' | 'sample' | 'flow_prediction' | 'trigflow';
export interface SchedulerFile {
  readonly tolerance: number;
  readonly scheduler: string;
  readonly prediction: Prediction;
  readonly config: Readonly<Record<string, never>>;
  readonly runs: readonly SchedulerRun[];
}
export interface SchedulerRun {
  readonly num_inference_steps: number;
  readonly model_calls: number;
  readonly set_timesteps: Readonly<Record<string, number | null>>;
  readonly step: Readonly<Record<string, number>>;
}
/** How a run looks to us. */
export interface Plan {
  readonly sampler: Sampler;
  readonly levels: readonly number[];
  /** Where each step leads; not always the next level. */
  readonly ends: readonly number[];
  /** Their state over ours at a level. */
  readonly scale: (level: number) => number;
  /** The times and sigmas that the scheduler lists, one for each call of the network. */
  readonly times: readonly number[];
  /** Whether the scheduler rounds the times; here they are not, since float32 rounds some to the other side. */
  readonly rounded?: boolean;
  readonly sigmas?: readonly number[];
  /** The level to which the state really belongs at the second call of a step, where that is not the one the network is told. */
  readonly detour?: (level: number) => number;
  /** What the scheduler makes of the denoised sample before it steps. */
  readonly wrap?: (denoise: Denoiser) => Denoiser;
}

/** A level that stands for an infinite one, of pure noise: what it changes is of the order of its inverse. */
const PURE = 1e8;
const vpScale = (level: number): number => 1 / Math.hypot(1, level);
const one = (): number => 1;
const joined = (levels: readonly number[], end: number): readonly number[] => [...levels.slice(1), end];
/** Each entry twice but the first and, at the end, 0: the list of a scheduler that is called twice a step. */
const twice = (list: readonly number[]): readonly number[] => list.flatMap((v, i) => (i === 0 ? [v] : [v, v]));

interface Config {
  readonly beta_schedule: BetaSchedule;
  readonly beta_start: number;
  readonly beta_end: number;
  readonly rescale_betas_zero_snr?: boolean;
  readonly set_alpha_to_one?: boolean;
  readonly clip_sample?: boolean;
  readonly timestep_spacing: Spacing;
  readonly steps_offset: number;
  readonly use_karras_sigmas?: boolean;
  readonly use_flow_sigmas?: boolean;
  readonly flow_shift: number;
  readonly solver_order: number;
  readonly solver_type: string;
  readonly algorithm_type: string;
  readonly variance_type?: string;
  readonly final_sigmas_type?: string;
  readonly skip_prk_steps?: boolean;
  readonly original_inference_steps: number;
  readonly shift: number;
  readonly use_dynamic_shifting?: boolean;
  readonly stochastic_sampling?: boolean;
  readonly sigma_min: number;
  readonly sigma_max: number;
  readonly rho: number;
}
interface Request {
  readonly n: number;
  readonly config: Config;
  readonly run: SchedulerRun;
  /** Levels of the 1,000 times. */
  readonly table: readonly number[];
}

/** DDIM and DDPM: each step leads from t to t − ⌊1000/n⌋, whatever the next time is. */
function discrete({ n, config, table }: Request, solver: Sampler, last: number): Plan {
  const times = spaced(config.timestep_spacing, n, 1000, config.steps_offset);
  return {
    sampler: solver,
    levels: times.map((t) => table[t]!),
    ends: times.map((t) => table[t - Math.floor(1000 / n)] ?? last),
    scale: vpScale,
    times,
    ...(config.clip_sample ? { wrap: (denoise: Denoiser) => clipped(denoise, 1) } : {}),
  };
}

/** Times that need not be whole, and their levels, as the samplers of k-diffusion have them. */
function continuous({ n, config, table }: Request): { readonly times: readonly number[]; readonly levels: readonly number[] } {
  if (config.use_karras_sigmas) {
    const levels = karras({ sigmaMin: table[0]!, sigmaMax: table[999]! }).levels(n);
    return { levels, times: levels.map((level) => indexOf(table, level)) };
  }
  const even = Array.from({ length: n }, (_, i) => (n === 1 ? 0 : 999 * (1 - i / (n - 1))));
  const times = config.timestep_spacing === 'linspace' ? even : spaced(config.timestep_spacing, n, 1000, config.steps_offset);
  return { times, levels: times.map((t) => interpolate(table, t)) };
}

/** Multistep solvers: n + 1 even times of which the last is left out; or Karras' levels, or a flow's. */
function multistep(request: Request, solver: Sampler): Plan {
  const { n, config, table } = request;
  if (config.use_flow_sigmas) return multistepFlow(request, solver);
  const { levels, times } = config.use_karras_sigmas
    ? continuous(request)
    : { times: spaced('linspace', n + 1).slice(0, -1), levels: spaced('linspace', n + 1).map((t) => table[t]!) };
  const own = levels.slice(0, n);
  // The lowest level of all is repeated at the end: a step of no length, for which a very short one stands.
  const end = config.final_sigmas_type === 'sigma_min' ? table[0]! * (1 - 1e-9) : 0;
  return { sampler: solver, levels: own, ends: joined(own, end), scale: vpScale, times, rounded: true, sigmas: [...own, end] };
}
function multistepFlow({ n, config: { flow_shift, algorithm_type } }: Request, solver: Sampler): Plan {
  const dpm = algorithm_type !== undefined;
  const raw = Array.from({ length: n }, (_, i) => (dpm ? (1 - i / n) * 0.999 : 1 - (i / n) * 0.999));
  // Their list is in float32, which decides the level where a time is almost 1.
  const sigmas = raw.map((t) => Math.fround(Math.min(shiftTime(t, flow_shift), 1 - 1e-6)));
  const levels = sigmas.map((t) => t / (1 - t));
  const times = raw.map((t) => Math.floor(1000 * Math.min(shiftTime(t, flow_shift), 1 - 1e-6) + 1e-9));
  return { sampler: solver, levels, ends: joined(levels, 0), scale: (l) => 1 / (1 + l), times, sigmas: [...sigmas, 0] };
}

/** Schedulers of flows. */
function flowing({ n, config, run }: Request, solver: Sampler): Plan {
  const mu = run.set_timesteps['mu'] ?? null;
  const shift = mu === null ? config.shift : Math.exp(mu);
  const sigmas = flowTimes(n, { low: mu === null ? shiftTime(1 / 1000, shift) : 1 / 1000, shift });
  const levels = sigmas.map((t) => (t === 1 ? PURE : t / (1 - t)));
  return {
    sampler: solver,
    levels,
    ends: joined(levels, 0),
    scale: (level) => (level === PURE ? 1 / PURE : 1 / (1 + level)),
    times: sigmas.map((t) => 1000 * t),
    sigmas: [...sigmas, 0],
  };
}

/** Every k-th of the times at which a consistency model was distilled. */
function distilled({ n, config, table }: Request): { readonly times: readonly number[]; readonly levels: readonly number[] } {
  const count = config.original_inference_steps;
  const times = Array.from({ length: n }, (_, i) => (count - Math.floor((i * count) / n)) * (1000 / count) - 1);
  return { times, levels: times.map((t) => table[t]!) };
}

/** LCM's function of a denoiser: the identity at time 0, with a standard deviation of 0.5 and times scaled by 10. Luo et al. 2023. */
const consistency =
  (denoise: Denoiser, timeOf: (level: number) => number): Denoiser =>
  (x, sigma) => {
    const level = evaluate([sigma])[0]!.data[0]!;
    const time = 10 * timeOf(level);
    return denoise(x, sigma)
      .mul(time / Math.hypot(time, 0.5))
      .add(x.mul((vpScale(level) * 0.25) / (time ** 2 + 0.25)));
  };

function pseudo({ n, config, table }: Request): Plan {
  const ratio = Math.floor(1000 / n);
  const times = spaced('leading', n, 1000, config.steps_offset);
  const levels = times.map((t) => table[t]!);
  const half = Math.floor(ratio / 2);
  const common = { levels, ends: joined(levels, table[0]!), scale: vpScale };
  // A single step has no second evaluation there.
  if (config.skip_prk_steps && n === 1) return { ...common, sampler: { ...sampler('plms'), opening: 0 }, times };
  if (config.skip_prk_steps) return { ...common, sampler: sampler('plms'), times: [times[0]!, times[1]!, ...times.slice(1)] };
  const from = (level: number): number => times[levels.indexOf(level)]!;
  const opening = times.slice(0, 3).flatMap((t) => [t, t - ratio + half, t - ratio + half, t - ratio]);
  return {
    ...common,
    sampler: pndmSteps((sigma) => table[from(sigma) - ratio + half] ?? 0),
    times: [...opening, ...times.slice(3)],
    detour: (level) => table[from(level) - half]!, // another time where the ratio is odd
  };
}

function trig({ n, run }: Request): Plan {
  const { max_timesteps: top, intermediate_timesteps: middle } = run.set_timesteps;
  // Their list is made in float32, from both ends by multiples of one rounded gap.
  const [first, gap] = [Math.fround(top!), Math.fround(Math.fround(top!) / n)];
  const even = Array.from({ length: n + 1 }, (_, i) => Math.fround(2 * i < n ? first - i * gap : (n - i) * gap));
  const times = middle ? even.with(1, Math.fround(middle)) : even;
  // The first time is above π/2, so that α is below 0 there: the state is turned round.
  const levels = times.slice(0, -1).map((t) => Math.abs(Math.tan(t)) / 2);
  const scale = (level: number): number => Math.cos(times[levels.indexOf(level)] ?? 0);
  return { sampler: sampler('scm'), levels, ends: joined(levels, 0), scale, times };
}

const eulers = (request: Request, name: string, options = {}): Plan => {
  const { times, levels } = continuous(request);
  return { sampler: sampler(name, options), levels, ends: joined(levels, 0), scale: one, times, sigmas: [...levels, 0] };
};
const paired = (plan: Plan): Plan => ({ ...plan, times: twice(plan.times), sigmas: [...twice(plan.sigmas!.slice(0, -1)), 0] });
const edm = ({ n, config }: Request, name: string): Plan => {
  const levels = karras({ sigmaMin: config.sigma_min, sigmaMax: config.sigma_max, rho: config.rho }).levels(n);
  const times = levels.map((level) => Math.log(level) / 4);
  return { sampler: sampler(name), levels, ends: joined(levels, 0), scale: one, times, sigmas: [...levels, 0] };
};
const churned = ({ run: { step } }: Request) =>
  step['s_churn'] ? { churn: step['s_churn'], churnMin: step['s_tmin'], churnMax: step['s_tmax'], noiseScale: step['s_noise'] } : {};
const dpm = ({ config }: Request): Sampler => {
  const solver = { solver: config.solver_type ?? 'midpoint' };
  if (config.algorithm_type === 'sde-dpmsolver++') return sampler('dpmpp-2m-sde', solver);
  return config.solver_order === 3 ? sampler('dpmpp-3m', { bend: 'half' }) : sampler('dpmpp-2m', solver);
};

const PLANS: Readonly<Record<string, (request: Request) => Plan>> = {
  DDIMScheduler: (r) => discrete(r, sampler('ddim', { eta: r.run.step['eta'] ?? 0 }), r.config.set_alpha_to_one ? 0 : r.table[0]!),
  DDPMScheduler: (r) => discrete(r, sampler('ddpm', { variance: r.config.variance_type === 'fixed_large' ? 'large' : 'small' }), 0),
  EulerDiscreteScheduler: (r) => eulers(r, 'euler', churned(r)),
  EulerAncestralDiscreteScheduler: (r) => eulers(r, 'euler-ancestral'),
  HeunDiscreteScheduler: (r) => paired(eulers(r, 'heun')),
  DPMSolverMultistepScheduler: (r) => multistep(r, dpm(r)),
  UniPCMultistepScheduler: (r) => multistep(r, sampler('unipc', { order: r.config.solver_order, variant: r.config.solver_type })),
  PNDMScheduler: pseudo,
  LCMScheduler(r) {
    const { times, levels } = distilled(r);
    const wrap = (denoise: Denoiser): Denoiser => consistency(denoise, (level) => times[levels.indexOf(level)]!);
    return { sampler: sampler('lcm'), levels, ends: joined(levels, 0), scale: vpScale, times, wrap };
  },
  TCDScheduler(r) {
    const { times, levels } = distilled(r);
    const below = (next: number, gamma: number): number => r.table[Math.floor((1 - gamma) * r.table.indexOf(next))]!;
    return { sampler: tcdSteps(r.run.step['eta']!, below), levels, ends: joined(levels, r.table[0]!), scale: vpScale, times };
  },
  FlowMatchEulerDiscreteScheduler: (r) => flowing(r, sampler('flow-euler', { stochastic: r.config.stochastic_sampling ?? false })),
  FlowMatchHeunDiscreteScheduler: (r) => paired(flowing(r, sampler('flow-heun'))),
  EDMEulerScheduler: (r) => edm(r, 'euler'),
  EDMDPMSolverMultistepScheduler: (r) => edm(r, 'dpmpp-2m'),
  SCMScheduler: trig,
};

/** A run in our terms. Errors: a scheduler that is not known. */
export function planOf(file: SchedulerFile, run: SchedulerRun): Plan {
  const config = file.config as unknown as Config;
  const beta = betas(config.beta_schedule ?? 'linear', { start: config.beta_start, end: config.beta_end });
  const alphaBar = config.rescale_betas_zero_snr ? zeroTerminal(alphasCumprod(beta)) : alphasCumprod(beta);
  const table = levelsOf(alphaBar).map((level) => Math.min(level, PURE));
  const plan = PLANS[file.scheduler];
  if (!plan) throw new Error(`no plan for ${file.scheduler}`);
  return plan({ n: run.num_inference_steps, config, run, table });
}
