/** @file The contract of samplers: the graph of one step from a noise level to the next; a runner feeds the levels. */
import type { Tensor } from '../graph/tensor.ts';
import type { Draw } from './loss.ts';
import type { Denoiser } from './network.ts';
import type { Options, Values } from './options.ts';

/** What a sampler carries from step to step: at least the sample. */
export type Carry = Readonly<Record<string, Tensor>> & { readonly x: Tensor };

/** Levels around a step, as scalars [] of the graph. Before the first step `previous` is 0. */
export interface Levels {
  readonly previous: Tensor;
  readonly sigma: Tensor;
  readonly next: Tensor;
  /** How many steps the whole trajectory has. */
  readonly steps: Tensor;
  /** What the sampler's `numbers` are at this step, as scalars []. Absent where the sampler has none. */
  readonly numbers?: Readonly<Record<string, Tensor>>;
}
/** Where a step stands: some take fewer evaluations at the ends. `last` and `only` mean that next is 0. */
export type Place = 'first' | 'middle' | 'last' | 'only';

export interface Sampler {
  readonly name: string;
  /** Steps at the beginning that are `first`; default 1. */
  readonly opening?: number;
  /** Network evaluations of a step. */
  evaluations(place: Place): number;
  /**
   * Numbers of step i that follow from the levels alone, such as a multistep method's weights; `levels` ends with the end of the trajectory.
   * A runner computes them in float64 outside the graph and feeds them as scalars, under the same names at every step.
   */
  numbers?(levels: readonly number[], i: number): Readonly<Record<string, number>>;
  /** What is carried beside x, with its initial value made of x: a runner may take x itself, so nothing may depend on it. */
  start(x: Tensor): Carry;
  step(denoise: Denoiser, carry: Carry, levels: Levels, draw: Draw, place: Place): Carry;
}

/** A family of samplers: options (with help and ranges) and how they are built. */
export interface SamplerFamily<S extends Options = Options> {
  readonly name: string;
  /** One line: what it does. */
  readonly title: string;
  /** arXiv id. */
  readonly reference: string;
  readonly options: S;
  /** Whose networks alone it is for: `student`, any distilled one, or the method that trained it; absent: any network. */
  readonly only?: string;
  build(values: Values<S>): Sampler;
}
/** Infers the names of the options. */
export const defineSampler = <S extends Options>(family: SamplerFamily<S>): SamplerFamily<S> => family;
