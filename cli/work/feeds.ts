/** @file What sampling is fed with: noise as a function of seed, step, name and sample, and classes. */
import { float32, type HostTensor } from '../../engine/run/runtime.ts';
import { type ConditionTable, gatherRows } from '../../engine/train/conditions.ts';
import type { SampleType } from '../../engine/train/network.ts';
import type { Weights } from '../../engine/train/weights.ts';
import { nullName } from '../../models/foreign/diffusers/family.ts';

export { sampleDraw, sampleNoise } from '../../student/noise.ts';

/** [count, classes] */
export function oneHot(labels: ArrayLike<number>, first: number, count: number, classes: number): HostTensor {
  const data = new Float32Array(count * classes);
  for (let i = 0; i < count; i++) data[i * classes + labels[first + i]!] = 1;
  return float32(data, [count, classes]);
}

/** The conditions of samples `first`, `first` + 1, … beside their classes: [count, …] each. */
export function conditionFeeds(
  { conditions = {} }: SampleType,
  table: ConditionTable,
  first: number,
  count: number,
): Record<string, HostTensor> {
  const indices = Array.from({ length: count }, (_, i) => first + i);
  return Object.fromEntries(
    Object.entries(conditions).map(([name, shape]) => [name, float32(gatherRows(table, name, indices), [count, ...shape])]),
  );
}

/** The null conditions that a model holds among its weights. */
export const nullConditions = (weights: Weights): ConditionTable => ({ size: 1, row: (name) => weights.get(nullName(name))!.data });
