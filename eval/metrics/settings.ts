/** @file Settings that several metrics share, so that each stands in one place. */
import { whole } from '../../engine/train/options.ts';
import type { FeatureSet } from '../metric.ts';

export const SEED = { seed: whole(0, 'seed of random subsets, directions and groups', { min: 0 }) } as const;
export const GROUPS = {
  groups: whole(10, 'groups of samples that are left out in turn for an interval; 0 or 1: no such interval', { min: 0, max: 1000 }),
} as const;
export const NEAREST = { k: whole(3, 'neighbours of precision, recall, density and coverage', { min: 1, max: 1000 }) } as const;

export const meanOfAll = (values: Float64Array): number => values.reduce((sum, value) => sum + value, 0) / values.length;

/** Balls shrink and manifolds fill as samples become more: values compare at equal numbers. */
export function fewNeighbours(metric: string, { n }: FeatureSet, { n: m }: FeatureSet): readonly string[] {
  const least = Math.min(n!, m!);
  if (least < 1000) return [`${metric}: ${least} samples; balls to the k-th neighbour are wide where samples are few, compare at equal n`];
  return n === m ? [] : [`${metric}: ${n} and ${m} samples; values compare only at equal numbers of both`];
}
