/** @file Several networks as one: each denoises at the noise levels, or for the classes, that are its own. */
import '../engine/graph/fluent.ts';
import { greater, where } from '../engine/graph/ops/elementwise.ts';
import { constant, scalarValue } from '../engine/graph/ops/leaf.ts';
import { matmul } from '../engine/graph/ops/linalg.ts';
import type { Tensor } from '../engine/graph/tensor.ts';
import { type Condition, type Network, networkOf, perSample, type Scope, within } from '../engine/train/network.ts';
import { OptionError } from '../engine/train/options.ts';
import type { Weights } from '../engine/train/weights.ts';

/** What an expert is for: levels above a bound and up to that of the expert before it, or classes. */
export type Route = { readonly above: number } | { readonly classes: readonly number[] };

/** 1 for the samples whose label is among the classes, [N,1,…]. */
function belongs(x: Tensor, { label }: Condition, classes: readonly number[]): Tensor {
  if (!label) throw new OptionError('experts: a student whose experts are chosen by class needs a label for every sample');
  const own = Float32Array.from({ length: label.shape[1] as number }, (_, c) => Number(classes.includes(c)));
  const [, ...rest] = perSample(x).shape as readonly number[];
  return matmul(label, constant(own, [own.length, 1])).reshape([-1, ...rest]);
}

const prefix = (i: number): string => `expert${i + 1}.`;
/** The weights of experts in their order as those of one network: `expert1.…`, `expert2.…`. */
export const together = (parts: readonly Weights[]): Weights =>
  new Map(parts.flatMap((part, i) => [...part].map(([name, weight]) => [prefix(i) + name, weight] as const)));
/** The weights of the i-th expert among those of all. */
export const partOf = (weights: Weights, i: number): Weights =>
  new Map([...weights].flatMap(([name, weight]) => (name.startsWith(prefix(i)) ? [[name.slice(prefix(i).length), weight] as const] : [])));

/**
 * Networks of one kind as one, chosen for every sample; exact, as only the chosen one's values are kept. At a level that is a constant of the graph only
 * its expert is computed; else all are, so that a mixed batch of K classes' experts costs K evaluations.
 * @param routes one a network; those of levels fall
 */
export function experts(scope: Scope, build: (scope: Scope) => Network, routes: readonly Route[]): Network {
  const networks = routes.map((_, i) => build(within(scope, prefix(i))));
  const last = networks.length - 1;
  return networkOf((x, sigma, condition = {}) => {
    const level = scalarValue(sigma);
    const fixed = level === null ? -1 : routes.findIndex((route) => 'above' in route && level > route.above);
    if (fixed >= 0) return networks[fixed]!.denoise(x, sigma, condition);
    const all = networks.map((network) => network.denoise(x, sigma, condition));
    const chosen = (route: Route): Tensor =>
      'above' in route ? greater(sigma, route.above) : greater(belongs(x, condition, route.classes), 0.5);
    return all.slice(0, last).reduceRight((below, denoised, i) => where(chosen(routes[i]!), denoised, below), all[last]!);
  });
}
