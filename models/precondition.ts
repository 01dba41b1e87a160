/** @file Makes denoisers of raw networks: scales what goes in and out by the noise level. Foreign parametrisations end here. */
import '../engine/graph/fluent.ts';
import { atan, log1p, reciprocal, rsqrt } from '../engine/graph/ops/elementwise.ts';
import { fixed, type Tensor } from '../engine/graph/tensor.ts';
import type { Condition, Network } from '../engine/train/network.ts';
import { choice, options, real, type Values } from '../engine/train/options.ts';
import { fractionalIndex, iddpmLevels, nearestInTable, nearestLevel } from './precondition-table.ts';

/** What a raw network gives; `output` is shaped like x. */
export interface RawPrediction {
  readonly output: Tensor;
  readonly features: Readonly<Record<string, Tensor>>;
  readonly extras?: Readonly<Record<string, Tensor>>;
}
/** (scaled x, noise label [N] or [1], condition) ↦ raw output. A label [1] stands for the whole batch. */
export type RawNetwork = (x: Tensor, noise: Tensor, condition: Condition) => RawPrediction;

/** D(x; σ) = skip·x + out·F(in·x, noise), all shaped like σ. Missing ones: `skip` 0, `out` and `in` 1. Karras et al. 2022, eq. 7. */
export interface Coefficients {
  readonly skip?: Tensor | 1;
  readonly out?: Tensor;
  readonly in?: Tensor;
  readonly noise: Tensor;
}

/** A denoiser of a raw network with the coefficients of each level σ, which is [N,1,…] or []. */
export function precondition(raw: RawNetwork, coefficients: (sigma: Tensor) => Coefficients): Network {
  const predict: Network['predict'] = (x, sigma, condition = {}) => {
    const c = coefficients(sigma);
    const label = c.noise.reshape([sigma.shape[0] ?? 1]); // [N] or [1]
    const { output, features, extras = {} } = raw(c.in === undefined ? x : x.mul(c.in), label, condition);
    const scaled = c.out === undefined ? output : output.mul(c.out);
    const kept = c.skip === undefined || c.skip === 1 ? x : x.mul(c.skip);
    return { denoised: c.skip === undefined ? scaled : kept.add(scaled), features, extras: { ...extras, raw: output } };
  };
  return { predict, denoise: (x, sigma, condition) => predict(x, sigma, condition).denoised };
}

/** EDM. Karras et al. 2022, table 1. */
export const edmPrecondition = (raw: RawNetwork, { sigmaData }: { readonly sigmaData: number }): Network =>
  precondition(raw, (sigma) => {
    const total = sigma.square().add(sigmaData ** 2); // variance of x
    const std = total.sqrt();
    return {
      skip: reciprocal(total).mul(sigmaData ** 2),
      out: sigma.mul(sigmaData).div(std),
      in: reciprocal(std),
      noise: sigma.log().mul(0.25),
    };
  });

/** The label of a variance-preserving SDE: its time t(σ), times `scale`. Karras et al. 2022, table 1. */
const sdeTime = ({ betaD, betaMin, scale }: SdeOptions, sigma: Tensor): Tensor =>
  log1p(sigma.square())
    .mul(2 * betaD)
    .add(betaMin ** 2)
    .sqrt()
    .sub(betaMin)
    .div(betaD) // in this order, as the reference rounds
    .mul(scale);

interface SdeOptions {
  readonly betaD: number;
  readonly betaMin: number;
  readonly scale: number;
}

/** DDPM++ and NCSN++ of score-based models, variance preserving. Karras et al. 2022, table 1. */
export const vpPrecondition = (raw: RawNetwork, { betaD = 19.9, betaMin = 0.1, scale = 999 }: Partial<SdeOptions> = {}): Network =>
  epsToDenoiser(raw, { alpha: unitVariance, label: (sigma) => sdeTime({ betaD, betaMin, scale }, sigma) });

/** NCSN++ of score-based models, variance exploding. Karras et al. 2022, table 1. */
export const vePrecondition = (raw: RawNetwork): Network =>
  precondition(raw, (sigma) => ({ skip: 1, out: sigma, noise: sigma.mul(0.5).log() }));

/**
 * Improved DDPM: the label is the time of the nearest of its levels. σ itself is not rounded; a sampler should step through the levels.
 * The raw network drops the channels of its learned variance. Karras et al. 2022, table 1.
 */
export function iddpmPrecondition(raw: RawNetwork, levels: readonly number[] = iddpmLevels()): Network {
  const index = nearestLevel(levels);
  return epsToDenoiser(raw, { alpha: unitVariance, label: (sigma) => index(sigma).sub(1) });
}

/**
 * The same with the levels as a table [M+1] that falls to 0, as checkpoints store it: what the network is told is M − 1 less the index. On a tie of two
 * levels the larger one is taken.
 */
export const iddpmTablePrecondition = (raw: RawNetwork, table: Tensor): Network =>
  epsToDenoiser(raw, {
    alpha: unitVariance,
    label: (sigma) =>
      nearestInTable(sigma, table)
        .neg()
        .add(fixed('iddpm', table.shape[0]) - 2),
  });

/** TrigFlow: F(x_t/σd, t) with x_t = cos t x0 + sin t z, z of standard deviation σd, is the velocity over σd. Lu & Song 2025, eq. 5. */
export const trigflowPrecondition = (raw: RawNetwork, { sigmaData }: { readonly sigmaData: number }): Network =>
  precondition(raw, (sigma) => {
    const ratio = sigma.mul(1 / sigmaData); // tan t
    const cosine = unitVariance(ratio);
    return { skip: cosine.square(), out: sigma.mul(cosine).neg(), in: cosine.mul(1 / sigmaData), noise: atan(ratio) };
  });

/** Consistency models: the identity at σmin. Song et al. 2023, appendix C. */
export const consistencyPrecondition = (
  raw: RawNetwork,
  { sigmaData, sigmaMin }: { readonly sigmaData: number; readonly sigmaMin: number },
): Network =>
  precondition(raw, (sigma) => {
    const above = sigma.sub(sigmaMin);
    const inverse = rsqrt(sigma.square().add(sigmaData ** 2));
    return {
      skip: reciprocal(above.square().add(sigmaData ** 2)).mul(sigmaData ** 2),
      out: above.mul(inverse).mul(sigmaData),
      in: inverse,
      noise: sigma.log().mul(250),
    };
  });

/** A process x_t = α (x0 + σ ε) that a network lives on, by our σ: how x is scaled and what the network is told. */
export interface Process {
  alpha(sigma: Tensor): Tensor;
  label(sigma: Tensor): Tensor;
}
/** α with α² (1 + σ²) = 1. */
const unitVariance = (sigma: Tensor): Tensor => rsqrt(sigma.square().add(1));

/** Variance preserving on a rising list of levels σ = √((1 − ᾱ)/ᾱ); the label is the index, a fraction between two levels. */
export const discrete = (levels: readonly number[]): Process => ({ alpha: unitVariance, label: fractionalIndex(levels) });

/** Rectified flow x_t = (1 − t) x0 + t ε; the label is `scale` times t = σ/(1 + σ). */
export const rectifiedFlow = (scale = 1000): Process => ({
  alpha: (sigma) => reciprocal(sigma.add(1)),
  label: (sigma) => sigma.div(sigma.add(1)).mul(scale),
});

/** What the network is told by those that are trained here: EDM's label. */
const logLevel = (sigma: Tensor): Tensor => sigma.log().mul(0.25);
/** A network that predicts x0. */
export const sampleToDenoiser = (raw: RawNetwork, { alpha, label }: Process): Network =>
  precondition(raw, (sigma) => ({ in: alpha(sigma), noise: label(sigma) }));

/** A network that predicts ε: D = x − σ ε. */
export const epsToDenoiser = (raw: RawNetwork, { alpha, label }: Process): Network =>
  precondition(raw, (sigma) => ({ skip: 1, in: alpha(sigma), out: sigma.neg(), noise: label(sigma) }));

/** A network that predicts v = α ε − ασ x0, on a process of unit variance: D = α² x − ασ v. */
export const vToDenoiser = (raw: RawNetwork, { alpha, label }: Process): Network =>
  precondition(raw, (sigma) => {
    const a = alpha(sigma);
    return { skip: a.square(), in: a, out: sigma.mul(a).neg(), noise: label(sigma) };
  });

/** A network that predicts the flow ε − x0, on a process with α + ασ = 1: D = α (x − σ flow). */
export const flowToDenoiser = (raw: RawNetwork, { alpha, label }: Process): Network =>
  precondition(raw, (sigma) => {
    const a = alpha(sigma);
    return { skip: a, in: a, out: sigma.mul(a).neg(), noise: label(sigma) };
  });

interface Spread {
  readonly sigmaData: number;
}
/** What a network says of its scaled input, by name. */
const PRECONDITIONINGS = {
  edm: edmPrecondition,
  vp: (raw) => vpPrecondition(raw),
  ve: vePrecondition,
  sample: (raw) => sampleToDenoiser(raw, { alpha: unitVariance, label: logLevel }),
  v: (raw) => vToDenoiser(raw, { alpha: unitVariance, label: logLevel }),
  flow: (raw) => flowToDenoiser(raw, { alpha: rectifiedFlow().alpha, label: logLevel }),
  trigflow: trigflowPrecondition,
} as const satisfies Readonly<Record<string, (raw: RawNetwork, spread: Spread) => Network>>;

/** What a network may say of its scaled input. */
export const PRECONDITIONING_NAMES = [
  'edm',
  'vp',
  've',
  'sample',
  'v',
  'flow',
  'trigflow',
] as const satisfies readonly (keyof typeof PRECONDITIONINGS)[];
export const preconditioningOptions = options({
  preconditioning: choice(
    [...PRECONDITIONING_NAMES],
    'edm',
    'what the network predicts: EDM, the noise as score-based models vp and ve, the sample, v, the velocity of a rectified flow or of TrigFlow',
  ),
  sigmaData: real(0.5, 'standard deviation of the data, for edm and trigflow', { min: 1e-3 }),
});
/** A denoiser of a raw network, by options. */
export const preconditioned = (raw: RawNetwork, o: Values<typeof preconditioningOptions>): Network =>
  PRECONDITIONINGS[o.preconditioning](raw, o);
