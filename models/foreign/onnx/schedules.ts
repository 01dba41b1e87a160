/** @file The processes that ONNX denoisers were trained for, by name: how they scale x and what they are told at our σ, and which predictions make sense on them. */
import '../../../engine/graph/fluent.ts';
import { reciprocal, rsqrt } from '../../../engine/graph/ops/elementwise.ts';
import type { Tensor } from '../../../engine/graph/tensor.ts';
import { InputError } from '../../../engine/io/errors.ts';
import type { Network } from '../../../engine/train/network.ts';
import {
  epsToDenoiser,
  flowToDenoiser,
  type Process,
  precondition,
  type RawNetwork,
  rectifiedFlow,
  sampleToDenoiser,
  vToDenoiser,
} from '../../precondition.ts';
import { readScheduler } from '../diffusers/schedulers.ts';

export const denoiserKinds = ['eps', 'v', 'x0', 'flow', 'denoiser'] as const;
/** What a network gives: the noise, v, the clean sample, the flow ε − x0, or D(x; σ) itself, told σ. */
export type DenoiserKind = (typeof denoiserKinds)[number];
export const scheduleNames = ['vp', 've', 'edm', 'flow', 'linear', 'scaled-linear', 'cosine'] as const;
export type ScheduleName = (typeof scheduleNames)[number];

/** A process with the levels that it was trained on. */
export interface NamedSchedule {
  readonly process: Process;
  readonly sigmaMin: number;
  readonly sigmaMax: number;
  /** Kinds that are defined on it, beside `denoiser`. */
  readonly kinds: readonly DenoiserKind[];
}
export interface ScheduleOptions {
  /** Times that the network was trained on; it is told 0 to this (tables), or this times t. Default 1000; flows told t in 0…1 have 1. */
  readonly steps?: number;
  /** Standard deviation of the data, for edm. Default 0.5. */
  readonly sigmaData?: number;
  /** First and last β of linear and scaled-linear. Defaults: 0.0001 and 0.02; 0.00085 and 0.012. */
  readonly betas?: readonly [number, number];
}

const UNIT: readonly DenoiserKind[] = ['eps', 'v', 'x0'];
/** A table of DDPM's, as diffusers' scheduler has it. */
const table = (betaSchedule: string, from: number, to: number, steps: number): NamedSchedule => {
  const { process, sigmaMin, sigmaMax } = readScheduler('schedule', {
    _class_name: 'DDPMScheduler',
    num_train_timesteps: steps,
    beta_start: from,
    beta_end: to,
    beta_schedule: betaSchedule,
  });
  return { process, sigmaMin, sigmaMax, kinds: UNIT };
};
/** The variance-preserving SDE with β from 0.1 to 20. Song et al. 2021, appendix C; t(σ) by Karras et al. 2022, table 1. */
const [BETA_D, BETA_MIN] = [19.9, 0.1];
const sdeTime = (sigma: Tensor): Tensor =>
  sigma
    .square()
    .add(1)
    .log()
    .mul(2 * BETA_D)
    .add(BETA_MIN ** 2)
    .sqrt()
    .sub(BETA_MIN)
    .div(BETA_D);
const sdeLevel = (t: number): number => Math.sqrt(Math.expm1((BETA_D / 2) * t * t + BETA_MIN * t));

const SCHEDULES: Readonly<
  Record<ScheduleName, (o: Required<Omit<ScheduleOptions, 'betas'>> & Pick<ScheduleOptions, 'betas'>) => NamedSchedule>
> = {
  vp: ({ steps }) => ({
    process: { alpha: (sigma) => rsqrt(sigma.square().add(1)), label: (sigma) => sdeTime(sigma).mul(Math.max(steps - 1, 1)) },
    sigmaMin: sdeLevel(1e-3),
    sigmaMax: sdeLevel(1),
    kinds: UNIT,
  }),
  // x is not scaled; the label is that of Karras et al. 2022, table 1.
  ve: () => ({
    process: { alpha: (sigma) => sigma.mul(0).add(1), label: (sigma) => sigma.mul(0.5).log() },
    sigmaMin: 0.02,
    sigmaMax: 100,
    kinds: ['eps', 'x0'],
  }),
  edm: ({ sigmaData }) => ({
    process: { alpha: (sigma) => rsqrt(sigma.square().add(sigmaData ** 2)), label: (sigma) => sigma.log().mul(0.25) },
    sigmaMin: 0.002,
    sigmaMax: 80,
    kinds: ['eps', 'x0'],
  }),
  flow: ({ steps }) => ({
    process: { alpha: (sigma) => reciprocal(sigma.add(1)), label: rectifiedFlow(steps).label },
    sigmaMin: 1 / 999,
    sigmaMax: 1e4,
    kinds: ['flow', 'eps', 'x0'],
  }),
  linear: ({ steps, betas: [from, to] = [0.0001, 0.02] }) => table('linear', from, to, steps),
  'scaled-linear': ({ steps, betas: [from, to] = [0.00085, 0.012] }) => table('scaled_linear', from, to, steps),
  cosine: ({ steps }) => table('squaredcos_cap_v2', 0.0001, 0.02, steps),
};

/** Errors: InputError for numbers of steps or betas that make no process. */
export const namedSchedule = (name: ScheduleName, { steps = 1000, sigmaData = 0.5, betas }: ScheduleOptions = {}): NamedSchedule =>
  SCHEDULES[name]({ steps, sigmaData, ...(betas ? { betas } : {}) });

const CONVERSIONS: Readonly<Record<DenoiserKind, (raw: RawNetwork, process: Process) => Network>> = {
  eps: epsToDenoiser,
  v: vToDenoiser,
  x0: sampleToDenoiser,
  flow: flowToDenoiser,
  denoiser: (raw) => precondition(raw, (sigma) => ({ noise: sigma })),
};
/** The denoiser D(x0 + σε; σ) of a network. Errors: InputError for a kind that is not defined on the schedule. */
export function byKind(where: string, raw: RawNetwork, kind: DenoiserKind, name: ScheduleName, { process, kinds }: NamedSchedule): Network {
  if (kind !== 'denoiser' && !kinds.includes(kind))
    throw new InputError(
      `${where}: a network that predicts ${kind} is not defined on the schedule ${name}; on it are ${[...kinds, 'denoiser'].join(', ')}`,
    );
  return CONVERSIONS[kind](raw, process);
}
