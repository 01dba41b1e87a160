/** @file What the configurations of diffusers' schedulers may say. */
import * as z from 'zod';
import { betaSchedules } from '../../../samplers/betas.ts';
import * as key from './config.ts';

const spacings = ['linspace', 'leading', 'trailing'] as const;
const predictions = ['epsilon', 'v_prediction', 'sample', 'flow_prediction'] as const;
const flow = { use_flow_sigmas: key.flag(false), flow_shift: key.real(1) };
const common = (beta: { readonly start?: number; readonly end?: number; readonly schedule?: (typeof betaSchedules)[number] } = {}) => ({
  num_train_timesteps: key.many(1000, 2),
  beta_start: key.real(beta.start ?? 0.0001),
  beta_end: key.real(beta.end ?? 0.02),
  beta_schedule: key.word(betaSchedules, beta.schedule ?? 'linear'),
  trained_betas: key.realsOrNull(),
  prediction_type: key.word(predictions, 'epsilon'),
  steps_offset: key.count(0, 0),
  rescale_betas_zero_snr: key.flag(false),
  timestep_spacing: key.word(spacings, 'leading'),
});
const even = { timestep_spacing: key.word(spacings, 'linspace') };
const clip = { clip_sample: key.flag(true), clip_sample_range: key.real(1), thresholding: key.only(false) };
const finals = { final_sigmas_type: key.word(['zero', 'sigma_min'], 'zero') };
const sigmas = { use_karras_sigmas: flagOrNull(), use_exponential_sigmas: flagOrNull(), use_beta_sigmas: neverOrNull() };
function flagOrNull() {
  return z.boolean().nullable().default(false).describe('true or false');
}
function neverOrNull() {
  return z
    .union([z.literal(false), z.null()])
    .default(false)
    .describe('false; anything else is not supported');
}
const ends = { sigma_min: key.realOrNull(), sigma_max: key.realOrNull() };
const latent = { start: 0.00085, end: 0.012, schedule: 'scaled_linear' } as const;
const distilled = { original_inference_steps: key.count(50), timestep_scaling: key.real(10), set_alpha_to_one: key.flag(true) };

export const SCHEMAS = {
  DDPMScheduler: z.strictObject({
    ...common(),
    ...clip,
    variance_type: key.word(
      ['fixed_small', 'fixed_small_log', 'fixed_large', 'fixed_large_log', 'learned', 'learned_range'],
      'fixed_small',
    ),
  }),
  DDIMScheduler: z.strictObject({ ...common(), ...clip, set_alpha_to_one: key.flag(true) }),
  PNDMScheduler: z.strictObject({ ...common(), skip_prk_steps: key.flag(false), set_alpha_to_one: key.flag(false) }),
  EulerDiscreteScheduler: z.strictObject({
    ...common(),
    ...even,
    ...sigmas,
    ...ends,
    ...finals,
    interpolation_type: key.word(['linear'], 'linear'),
    timestep_type: key.word(['discrete', 'continuous'], 'discrete'),
  }),
  EulerAncestralDiscreteScheduler: z.strictObject({ ...common(), ...even }),
  DPMSolverMultistepScheduler: z.strictObject({
    ...common(),
    ...even,
    ...sigmas,
    ...finals,
    ...flow,
    solver_order: z.int().min(1).max(3).default(2).describe('1, 2 or 3'),
    algorithm_type: key.word(['dpmsolver++', 'sde-dpmsolver++', 'dpmsolver', 'sde-dpmsolver', 'deis'], 'dpmsolver++'),
    solver_type: key.word(['midpoint', 'heun', 'logrho', 'bh1', 'bh2'], 'midpoint'),
    lower_order_final: key.flag(true),
    euler_at_final: key.flag(false),
    thresholding: key.only(false),
    use_lu_lambdas: neverOrNull(),
    use_dynamic_shifting: key.only(false),
    lambda_min_clipped: z.literal('-inf').default('-inf').describe('minus infinity; anything else is not supported'),
  }),
  UniPCMultistepScheduler: z.strictObject({
    ...common(),
    ...even,
    ...sigmas,
    ...ends,
    ...finals,
    ...flow,
    solver_order: z.int().min(1).max(3).default(2).describe('1, 2 or 3'),
    solver_type: key.word(['bh1', 'bh2', 'midpoint', 'heun', 'logrho'], 'bh2'),
    predict_x0: key.flag(true),
    lower_order_final: key.flag(true),
    disable_corrector: z.array(z.int()).default([]).describe('a list of whole numbers'),
    solver_p: key.only(null),
    thresholding: key.only(false),
    use_dynamic_shifting: key.only(false),
    shift_terminal: key.realOrNull(),
  }),
  LCMScheduler: z.strictObject({ ...common(latent), ...clip, ...distilled, clip_sample: key.flag(false) }),
  TCDScheduler: z.strictObject({ ...common(latent), ...clip, ...distilled, clip_sample: key.flag(false) }),
  FlowMatchEulerDiscreteScheduler: z.strictObject({
    num_train_timesteps: key.many(1000, 2),
    shift: key.real(1),
    use_dynamic_shifting: key.flag(false),
    base_shift: key.real(0.5),
    max_shift: key.real(1.15),
    base_image_seq_len: key.count(256),
    max_image_seq_len: key.count(4096),
    invert_sigmas: key.only(false),
    shift_terminal: key.realOrNull(),
    use_karras_sigmas: neverOrNull(),
    use_exponential_sigmas: neverOrNull(),
    use_beta_sigmas: neverOrNull(),
    time_shift_type: key.word(['exponential', 'linear'], 'exponential'),
    stochastic_sampling: key.flag(false),
  }),
} as const;
export type Name = keyof typeof SCHEMAS;
export type ConfigOf<N extends Name> = key.Config<(typeof SCHEMAS)[N]>;
/** What all but the flows have. */
export type Common = Omit<ConfigOf<'PNDMScheduler'>, 'skip_prk_steps' | 'set_alpha_to_one'>;

/** A configuration keeps the keys of schedulers that it was converted from: what any of them knows says nothing about another. */
export const FOREIGN_KEYS = [
  ...Object.values(SCHEMAS).flatMap((schema) => Object.keys(schema.shape)),
  ...['dynamic_thresholding_ratio', 'sample_max_value', 'sigma_data', 'rho', 'lower_order_second', 'use_dynamic_thresholding'],
];

/** The names of the schedulers that are known. */
export const schedulerNames = Object.keys(SCHEMAS) as readonly Name[];
