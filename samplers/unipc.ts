/**
 * @file UniPC: a predictor, and a corrector that uses the network's next answer to mend the step before, at no further evaluation. Zhao et al.
 * 2023, in its form for denoised samples.
 */
import '../engine/graph/fluent.ts';
import type { Tensor } from '../engine/graph/tensor.ts';
import { choice, options, whole } from '../engine/train/options.ts';
import { defineSampler } from '../engine/train/sampler.ts';
import { solve, stepOf, weightsOf } from './exponential.ts';
import { alongSlope, numbersOf, toClean } from './steps.ts';

type Variant = 'bh1' | 'bh2';

/** The matrix R and the vector b that the weights of the differences solve, for nodes at fractions r of the step h. */
function equations(
  nodes: readonly number[],
  h: number,
  variant: Variant,
): { readonly R: readonly number[][]; readonly b: readonly number[] } {
  const scale = variant === 'bh1' ? -h : Math.expm1(-h); // B(h)
  const b: number[] = [];
  let [phi, factorial] = [Math.expm1(-h) / -h - 1, 1];
  for (let k = 1; k <= nodes.length; k++) {
    b.push((phi * factorial) / scale);
    factorial *= k + 1;
    phi = phi / -h - 1 / factorial;
  }
  return { R: nodes.map((_, k) => nodes.map((r) => r ** k)), b };
}

/** B(h)/(1 − e⁻ʰ) ρ_k/r_k: how much D_0 − D_k is in the step, for the nodes r_k. */
const multiples = (rho: readonly number[], nodes: readonly number[], h: number, variant: Variant): readonly number[] =>
  rho.map((p, k) => ((variant === 'bh1' ? -h : Math.expm1(-h)) / -Math.expm1(-h)) * (p / nodes[k]!));

/** Fractions of the step from level `from` at which the `count` levels before it lie. */
const nodesBefore = (levels: readonly number[], from: number, count: number, h: number): readonly number[] =>
  Array.from({ length: count }, (_, k) => -stepOf(levels[from - k - 1]!, levels[from]!) / h);

/** Weights of D_i, D_{i−1}, … in the step from level i. */
export function predictorWeights(levels: readonly number[], i: number, order: number, variant: Variant): readonly number[] {
  const h = stepOf(levels[i]!, levels[i + 1]!);
  const nodes = nodesBefore(levels, i, order - 1, h);
  if (order === 1) return weightsOf([], order);
  const { R, b } = equations(nodes, h, variant);
  const rho = order === 2 ? [0.5] : solve(R, b); // as the authors have it for any B(h)
  return weightsOf(multiples(rho, nodes, h, variant), order);
}
/** Weights of D_{i−1}, D_{i−2}, … and at last of D_i in the step to level i, made again. */
export function correctorWeights(levels: readonly number[], i: number, order: number, variant: Variant): readonly number[] {
  const h = stepOf(levels[i - 1]!, levels[i]!);
  const nodes = [...nodesBefore(levels, i - 1, order - 1, h), 1];
  const { R, b } = equations(nodes, h, variant);
  const rho = order === 1 ? [0.5] : solve(R, b);
  return weightsOf(multiples(rho, nodes, h, variant), order + 1);
}

/** The order of step i of n: it grows at the beginning and falls at the end. */
const orderAt = (order: number, i: number, n: number): number => Math.min(order, i + 1, n - i);
const named = (name: string, weights: readonly number[], count: number): readonly (readonly [string, number])[] =>
  Array.from({ length: count }, (_, k) => [`${name}${k}`, weights[k] ?? 0] as const);

/** All numbers of step i: of its predictor, and of the corrector of the step before it. */
function numbersAt(levels: readonly number[], i: number, order: number, variant: Variant): Readonly<Record<string, number>> {
  const n = levels.length - 1;
  const predict = levels[i + 1] === 0 ? [1] : predictorWeights(levels, i, orderAt(order, i, n), variant);
  const correct = i === 0 ? [] : correctorWeights(levels, i, orderAt(order, i - 1, n), variant);
  return Object.fromEntries([
    ...named('predict', predict, order),
    ...named('correct', correct.slice(0, -1), order),
    ['mend', correct.at(-1) ?? 0] as const,
    ['fall', i === 0 ? 0 : levels[i]! / levels[i - 1]!] as const, // e⁻ʰ of the step before
    ['keep', i === 0 ? 1 : 0] as const, // there is nothing to correct yet
  ]);
}

export const unipc = defineSampler({
  name: 'unipc',
  title: 'Predictor and corrector, one evaluation a step: it remembers up to three steps and mends the one before.',
  reference: '2302.04867',
  options: options({
    order: whole(2, 'Order of the predictor; the corrector has one more', { min: 1, max: 3 }),
    variant: choice(['bh1', 'bh2'], 'bh2', 'Function B(h) of the step: h, or eʰ − 1 which suits few steps with guidance'),
  }),
  build: ({ order, variant }) => ({
    name: 'unipc',
    evaluations: () => 1,
    numbers: (levels, i) => numbersAt(levels, i, order, variant),
    // `base` is the corrected sample before, the others its denoised samples, latest first; they have weight 0 until they are replaced.
    start: (x) => ({ x, base: x, ...Object.fromEntries(Array.from({ length: order }, (_, k) => [`denoised${k}`, x])) }),
    step(denoise, carry, levels, _draw, place) {
      const number = numbersOf('unipc', levels);
      const denoised = denoise(carry.x, levels.sigma);
      const before = Array.from({ length: order }, (_, k) => carry[`denoised${k}`]!);
      const history = Object.fromEntries([denoised, ...before.slice(0, -1)].map((d, k) => [`denoised${k}`, d]));
      if (toClean(place)) return { x: denoised, base: carry.x, ...history };
      const sum = (name: string, terms: readonly Tensor[]): Tensor =>
        terms.map((t, k) => t.mul(number(`${name}${k}`))).reduce((a, b) => a.add(b));
      const seen = sum('correct', before).add(denoised.mul(number('mend')));
      const made = seen.add(carry['base']!.sub(seen).mul(number('fall')));
      const keep = number('keep');
      const x = carry.x.mul(keep).add(made.mul(keep.neg().add(1)));
      return { x: alongSlope(x, sum('predict', [denoised, ...before.slice(0, -1)]), levels.sigma, levels.next), base: x, ...history };
    },
  }),
});
