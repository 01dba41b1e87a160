/**
 * @file Schedulers of diffusers (`scheduler_config.json`) in our terms: the process and prediction that a network was trained for, the levels of n steps, and
 * which of our samplers steps as they do.
 */
import { InputError } from '../../../engine/io/errors.ts';
import { discrete, type Process, rectifiedFlow } from '../../precondition.ts';
import * as key from './config.ts';
import { type Common, type ConfigOf, FOREIGN_KEYS, type Name, SCHEMAS, schedulerNames } from './scheduler-schemas.ts';
import {
  ALMOST_PURE,
  continuous,
  matched,
  multistep,
  multistepFlow,
  ofDistilled,
  PURE,
  type Sigmas,
  type StepOptions,
  type Steps,
  stridden,
  tableOf,
} from './scheduler-steps.ts';

export { type StepOptions, type Steps, schedulerNames };

export type PredictionType = 'epsilon' | 'v_prediction' | 'sample' | 'flow_prediction';

export interface FittingSampler {
  readonly name: string;
  readonly options: Readonly<Record<string, unknown>>;
  /** Whether its steps are the scheduler's; otherwise it is the nearest that there is. */
  readonly exact: boolean;
}
export interface ForeignSchedule {
  readonly className: string;
  readonly prediction: PredictionType;
  /** How x is scaled and what the network is told at our σ = σ_t/α_t. */
  readonly process: Process;
  readonly sigmaMin: number;
  readonly sigmaMax: number;
  /** Bound to which denoised samples are clipped while sampling; 0: none. */
  readonly clip: number;
  /** Whether clipping keeps the noise that the network saw, instead of what is left of x. */
  readonly clipKeepsNoise?: boolean;
  /** Whether the network gives a variance beside its prediction. */
  readonly learnedVariance?: boolean;
  readonly sampler: FittingSampler;
  /** Their state over ours (x0 + σε) at a level. */
  scale(level: number): number;
  /** Errors: InputError for more steps than there are times, or times outside the table. */
  steps(n: number, options?: StepOptions): Steps;
}
type Made = Omit<ForeignSchedule, 'className'>;

const fitting = (name: string, options: Readonly<Record<string, unknown>> = {}, exact = true): FittingSampler => ({ name, options, exact });
const clipOf = (c: { readonly clip_sample: boolean; readonly clip_sample_range: number }): number =>
  c.clip_sample ? c.clip_sample_range : 0;

type OnTable = Pick<Made, 'sampler' | 'steps'> & Partial<Made>;
/** A variance-preserving process with a table of levels; `pure` stands for an infinite one. */
function tabled(where: string, c: Common, pure: number, rest: (table: readonly number[]) => OnTable): Made {
  if (c.prediction_type === 'flow_prediction')
    throw new InputError(
      `${where}: prediction_type is flow_prediction, but the process preserves variance; it must be epsilon, v_prediction or sample, or a flow's scheduler`,
    );
  const { listed: table, rising } = tableOf(where, c, pure);
  return {
    prediction: c.prediction_type,
    process: discrete(rising),
    sigmaMin: table[0]!,
    sigmaMax: table.at(-1)!,
    clip: 0,
    scale: (level) => 1 / Math.hypot(1, level),
    ...rest(table),
  };
}

/** A rectified flow of T times. */
const flowProcess = (T: number) => ({
  prediction: 'flow_prediction' as const,
  process: rectifiedFlow(T),
  sigmaMin: 1 / (T - 1),
  sigmaMax: PURE,
  clip: 0,
  scale: (level: number): number => (level === PURE ? 1 / PURE : 1 / (1 + level)),
});

type Solver = Common & Sigmas & Pick<ConfigOf<'DPMSolverMultistepScheduler'>, 'use_flow_sigmas' | 'flow_shift' | 'final_sigmas_type'>;
/** Where the last step leads: to a clean sample, or nowhere, for which a very short step stands. */
const lastOf = (c: Pick<Solver, 'final_sigmas_type'>, table: readonly number[]): number =>
  c.final_sigmas_type === 'sigma_min' ? table[0]! * (1 - 1e-9) : 0;

/** A multistep solver, on a table or on a flow. */
function solver(
  where: string,
  c: Solver,
  sampler: FittingSampler,
  ofFlow: { readonly fromNoise: boolean; readonly terminal: number },
): Made {
  if (!c.use_flow_sigmas)
    return tabled(where, c, ALMOST_PURE, (table) => ({
      sampler,
      steps: (n) => multistep({ where, n, table }, c, c, lastOf(c, table)),
    }));
  if (c.prediction_type !== 'flow_prediction')
    throw new InputError(`${where}: use_flow_sigmas is true, but prediction_type is ${c.prediction_type}; it must be flow_prediction`);
  const T = c.num_train_timesteps;
  return { ...flowProcess(T), sampler, steps: (n) => multistepFlow(n, { T, shift: c.flow_shift, ...ofFlow }) };
}

function dpmSampler(c: ConfigOf<'DPMSolverMultistepScheduler'>): FittingSampler {
  const plain = c.lower_order_final && !c.euler_at_final;
  if (c.algorithm_type.startsWith('sde-'))
    return fitting('dpmpp-2m-sde', {}, plain && c.algorithm_type === 'sde-dpmsolver++' && c.solver_order === 2 && c.solver_type !== 'heun');
  const exact = plain && c.algorithm_type !== 'dpmsolver';
  if (c.solver_order === 1) return fitting('ddim', {}, exact);
  if (c.solver_order === 3) return fitting('dpmpp-3m', { bend: 'half' }, exact);
  return fitting('dpmpp-2m', {}, exact && c.solver_type !== 'heun');
}
const uniSampler = (c: ConfigOf<'UniPCMultistepScheduler'>): FittingSampler =>
  fitting(
    'unipc',
    { order: c.solver_order, variant: c.solver_type === 'bh1' ? 'bh1' : 'bh2' },
    c.predict_x0 && c.lower_order_final && c.disable_corrector.length === 0,
  );

const MAKERS: { readonly [N in Name]: (where: string, c: ConfigOf<N>) => Made } = {
  DDPMScheduler: (where, c) =>
    tabled(where, c, PURE, (table) => ({
      clip: clipOf(c),
      learnedVariance: c.variance_type.startsWith('learned'),
      sampler: fitting(
        'ddpm',
        { variance: c.variance_type === 'fixed_large' ? 'large' : 'small' },
        /^fixed_(small|large)$/.test(c.variance_type),
      ),
      steps: (n) => stridden({ where, n, table }, c, 0),
    })),
  DDIMScheduler: (where, c) =>
    tabled(where, c, PURE, (table) => ({
      clip: clipOf(c),
      clipKeepsNoise: true,
      sampler: fitting('ddim'),
      steps: (n) => stridden({ where, n, table }, c, c.set_alpha_to_one ? 0 : table[0]!),
    })),
  // Ours takes the middle of a Runge-Kutta step in ln σ, theirs in time.
  PNDMScheduler: (where, c) =>
    tabled(where, c, PURE, (table) => ({
      sampler: fitting(c.skip_prk_steps ? 'plms' : 'pndm', {}, c.skip_prk_steps),
      steps: (n) => stridden({ where, n, table }, c, c.set_alpha_to_one ? 0 : table[0]!),
    })),
  EulerDiscreteScheduler: (where, c) =>
    tabled(where, c, ALMOST_PURE, (table) => ({
      ...(c.timestep_type === 'continuous' && c.prediction_type === 'v_prediction'
        ? { process: { ...discrete(table), label: (sigma) => sigma.log().mul(0.25) } }
        : {}),
      scale: () => 1,
      sampler: fitting('euler'),
      steps: (n) => continuous({ where, n, table }, c, c, lastOf(c, table)),
    })),
  EulerAncestralDiscreteScheduler: (where, c) =>
    tabled(where, c, ALMOST_PURE, (table) => ({
      scale: () => 1,
      sampler: fitting('euler-ancestral'),
      steps: (n) => continuous({ where, n, table }, c, { use_karras_sigmas: false, use_exponential_sigmas: false }, 0),
    })),
  DPMSolverMultistepScheduler: (where, c) => solver(where, c, dpmSampler(c), { fromNoise: false, terminal: 0 }),
  UniPCMultistepScheduler: (where, c) => solver(where, c, uniSampler(c), { fromNoise: true, terminal: c.shift_terminal ?? 0 }),
  // Theirs keeps a share of x that vanishes but at the lowest times.
  LCMScheduler: (where, c) =>
    tabled(where, c, PURE, (table) => ({
      clip: clipOf(c),
      sampler: fitting('lcm', {}, false),
      steps: (n) => ofDistilled({ where, n, table }, c.original_inference_steps, 0),
    })),
  // Theirs jumps in its table, ours in the time of the process.
  TCDScheduler: (where, c) =>
    tabled(where, c, PURE, (table) => ({
      clip: clipOf(c),
      clipKeepsNoise: true,
      sampler: fitting('tcd', { gamma: 0.3 }, false),
      steps: (n) => ofDistilled({ where, n, table }, c.original_inference_steps, table[0]!),
    })),
  FlowMatchEulerDiscreteScheduler: (where, c) => ({
    ...flowProcess(c.num_train_timesteps),
    sampler: fitting('flow-euler', { stochastic: c.stochastic_sampling }),
    steps: (n, options = {}) => matched(where, n, c, options),
  }),
};

/**
 * A scheduler by its configuration.
 * @param where the file, for messages
 * @throws InputError for other classes, unknown keys, and values that are wrong, contradict each other or are not supported
 */
export function readScheduler(where: string, json: unknown): ForeignSchedule {
  const name = key.record(where, json)['_class_name'];
  if (typeof name !== 'string' || !Object.hasOwn(SCHEMAS, name))
    throw new InputError(`${where}: scheduler ${key.shown(name)} is not supported; supported are ${schedulerNames.join(', ')}`);
  const schema: key.Schema = SCHEMAS[name as Name];
  const own = Object.keys(schema.shape);
  const config = key.readConfig(
    where,
    schema,
    FOREIGN_KEYS.filter((k) => !own.includes(k)),
    json,
  );
  return { className: name, ...(MAKERS[name as Name] as (where: string, c: unknown) => Made)(where, config) };
}
