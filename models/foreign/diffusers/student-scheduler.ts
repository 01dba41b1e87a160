/** @file The scheduler of diffusers that steps as a distilled student was trained to: its configuration, and what a pipeline is told for its levels. */
import { InputError } from '../../../engine/io/errors.ts';
import type * as key from './config.ts';
import { type Common, SCHEMAS } from './scheduler-schemas.ts';
import { tableOf } from './scheduler-steps.ts';
import { readScheduler } from './schedulers.ts';

export interface StudentSteps {
  /** From the highest down. */
  readonly levels: readonly number[];
  /** What a sample is made noisy with between them: noise drawn anew, or that which it holds. */
  readonly noise: 'fresh' | 'implied';
}
export interface StudentScheduler {
  readonly config: Readonly<Record<string, unknown>>;
  /** What the pipeline, or `set_timesteps`, is told: levels of a continuous scheduler, or times of a table. */
  readonly call: { readonly sigmas: readonly number[] } | { readonly timesteps: readonly number[] };
  /** The levels of those steps: the student's own, or the nearest in the table. */
  readonly levels: readonly number[];
}

/** What a pipeline does with its scheduler: those that were made for latents scale their input to its levels, the older ones know variance-preserving schedulers alone. */
export type Scaling = 'levels' | 'none';

/**
 * Euler's for steps along a trajectory and for a single one, LCM's where noise is drawn anew; TCD's without noise where the pipeline scales nothing; the one of flows for flows.
 * @param where the teacher's scheduler, for messages
 * @throws InputError for levels that fall on one time of the table
 */
export function studentScheduler(where: string, json: unknown, steps: StudentSteps, scaling: Scaling): StudentScheduler {
  const { className, prediction } = readScheduler(where, json);
  const fresh = steps.noise === 'fresh' && steps.levels.length > 1;
  if (className === 'FlowMatchEulerDiscreteScheduler' || prediction === 'flow_prediction') return ofFlow(json, steps, fresh);
  const common = commonOf(className, json);
  // Neither list of steps is moved by the offset; pipelines of latents complain of any other.
  const own = { ...common, timestep_spacing: 'trailing', steps_offset: scaling === 'levels' ? 1 : 0 };
  if (scaling === 'levels' && !fresh)
    return {
      config: { _class_name: 'EulerDiscreteScheduler', ...own, interpolation_type: 'linear', final_sigmas_type: 'zero' },
      // Theirs takes the end as one of the levels.
      call: { sigmas: [...steps.levels, 0] },
      levels: steps.levels,
    };
  const timesteps = timesOf(where, common, steps.levels);
  const { listed } = tableOf(where, common, HIGHEST);
  return {
    config: {
      _class_name: fresh || steps.levels.length === 1 ? 'LCMScheduler' : 'TCDScheduler',
      ...own,
      original_inference_steps: Math.min(50, common.num_train_timesteps),
      timestep_scaling: 10,
      set_alpha_to_one: true,
      clip_sample: false,
    },
    call: { timesteps },
    levels: timesteps.map((t) => listed[t]!),
  };
}

/** Stands for the level of a zero terminal signal. */
const HIGHEST = 1e8;

/** What all schedulers of a table have, with the defaults of the one that says it. */
function commonOf(className: string, json: unknown): Common {
  const parsed = (SCHEMAS as Readonly<Record<string, key.Schema>>)[className]!.safeParse(
    Object.fromEntries(Object.entries(json as object).filter(([name]) => name in SCHEMAS[className as keyof typeof SCHEMAS].shape)),
  );
  const values = parsed.data as Readonly<Record<string, unknown>>;
  return Object.fromEntries(COMMON.map((name) => [name, values[name]])) as unknown as Common;
}
const COMMON: readonly (keyof Common)[] = [
  'num_train_timesteps',
  'beta_start',
  'beta_end',
  'beta_schedule',
  'trained_betas',
  'prediction_type',
  'rescale_betas_zero_snr',
];

/** The nearest time of each level, by the ratio of levels. */
function timesOf(where: string, common: Common, levels: readonly number[]): readonly number[] {
  const { listed } = tableOf(where, common, HIGHEST);
  const logs = listed.map(Math.log);
  const times = levels.map((level) => {
    const wanted = Math.log(level);
    return logs.reduce((best, v, t) => (Math.abs(v - wanted) < Math.abs(logs[best]! - wanted) ? t : best), 0);
  });
  const twice = times.findIndex((t, i) => i > 0 && t >= times[i - 1]!);
  if (twice !== -1)
    throw new InputError(
      `${where}: the student's levels ${levels[twice - 1]} and ${levels[twice]} are both at time ${times[twice]} of the schedule; distil with levels that are further apart`,
    );
  return times;
}

/** The flow's time of a level σ is σ/(1 + σ). */
function ofFlow(json: unknown, { levels }: StudentSteps, fresh: boolean): StudentScheduler {
  const own = json as Readonly<Record<string, unknown>>;
  return {
    config: {
      _class_name: 'FlowMatchEulerDiscreteScheduler',
      num_train_timesteps: own['num_train_timesteps'] ?? 1000,
      shift: 1,
      use_dynamic_shifting: false,
      stochastic_sampling: fresh,
    },
    call: { sigmas: levels.map((level) => level / (1 + level)) },
    levels,
  };
}
