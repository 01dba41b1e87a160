/** @file The contract of networks: what they compute, how their weights are named and where they start. */
import type { Shape, Tensor } from '../graph/tensor.ts';
import type { Options, Values } from './options.ts';

/** Named tensors that a network is conditioned on: `label` (one-hot or soft, [N, classes]), text, guidance, … What is missing is the null condition. */
export type Condition = Readonly<Record<string, Tensor>>;

/**
 * (x, σ) ↦ estimate of the clean sample. x: [N, …sample] (a point [N,2], an image [N,C,H,W]); sigma: one level per sample, [N,1,…],
 * or a scalar []; both in units of the data.
 */
export type Denoiser = (x: Tensor, sigma: Tensor, condition?: Condition) => Tensor;

/** What a network gives when asked for more than the denoised sample. */
export interface Prediction {
  readonly denoised: Tensor;
  /** Hidden maps by name; every image network has `bottleneck`. */
  readonly features: Readonly<Record<string, Tensor>>;
  /** Extras; preconditioned networks give `raw`, what the network itself says before it is scaled. */
  readonly extras: Readonly<Record<string, Tensor>>;
}
export interface Network {
  readonly denoise: Denoiser;
  predict(x: Tensor, sigma: Tensor, condition?: Condition): Prediction;
}
/** A network that gives nothing beside the denoised sample. */
export const networkOf = (denoise: Denoiser): Network => ({
  denoise,
  predict: (x, sigma, condition) => ({ denoised: denoise(x, sigma, condition), features: {}, extras: {} }),
});
/** A discriminator's head: hidden maps ↦ logits [N, …], high for real. */
export type Head = (features: Readonly<Record<string, Tensor>>, sigma: Tensor) => Tensor;

/** How a parameter starts. */
export type Init =
  | { readonly kind: 'constant'; readonly value: number }
  | { readonly kind: 'normal'; readonly std: number }
  | { readonly kind: 'uniform'; readonly bound: number }
  | { readonly kind: 'values'; readonly values: Float32Array };

/**
 * Names weights: the same network under two scopes is two sets of weights. Asking twice for one name gives the same tensor.
 * Names and layouts are those of the checkpoint's own ecosystem (PyTorch).
 */
export interface Scope {
  (name: string, shape: readonly number[], init?: Init): Tensor;
  /** A tensor that is saved with the weights but never trained. */
  buffer(name: string, shape: readonly number[], init: Init): Tensor;
}
/** The same scope with names led by `prefix`. */
export const within = (scope: Scope, prefix: string): Scope =>
  Object.assign((name: string, shape: readonly number[], init?: Init) => scope(`${prefix}${name}`, shape, init), {
    buffer: (name: string, shape: readonly number[], init: Init) => scope.buffer(`${prefix}${name}`, shape, init),
  });

/** The type of a sample and what it may be conditioned on. */
export interface SampleType {
  /** Without the batch axis: [C,H,W] for images. */
  readonly shape: readonly number[];
  /** Number of classes; 0 without. */
  readonly classes: number;
  /** Names of further numbers [N] that a network is told through its condition. */
  readonly scalars?: readonly string[];
  /** What it is conditioned on beside the class, such as `text`, and the shape of it for one sample. */
  readonly conditions?: Readonly<Record<string, readonly number[]>>;
}

/** A family of networks: options (with help and ranges) and how they are built. */
export interface NetworkFamily<S extends Options = Options> {
  readonly name: string;
  readonly options: S;
  build(scope: Scope, options: Values<S>, sample: SampleType): Network;
}

/** One value per sample, shaped to broadcast against x: [N,1,…]. */
export const perSample = (x: { readonly shape: Shape }): { readonly shape: Shape } => ({ shape: x.shape.map((d, i) => (i === 0 ? d : 1)) });
