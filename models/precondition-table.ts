/** @file Look-ups in tables of noise levels, in the graph, for networks that were trained on a list of levels. */
import '../engine/graph/fluent.ts';
import { cast, clamp, div, less } from '../engine/graph/ops/elementwise.ts';
import { constant } from '../engine/graph/ops/leaf.ts';
import { slice } from '../engine/graph/ops/movement.ts';
import { reduceSum } from '../engine/graph/ops/reduce.ts';
import { fixed, type Tensor } from '../engine/graph/tensor.ts';

const overTable = (sigma: Tensor): Tensor => sigma.reshape([...sigma.shape, 1]);
const total = (perEntry: Tensor, shape: Tensor['shape']): Tensor => reduceSum(perEntry, [-1]).reshape(shape);

/** Errors: levels that do not rise. */
function requireRising(where: string, levels: readonly number[]): void {
  const fall = levels.findIndex((level, i) => i > 0 && !(level > levels[i - 1]!));
  if (fall !== -1)
    throw new RangeError(`${where}: level ${levels[fall]} at index ${fall} does not exceed ${levels[fall - 1]}; levels rise`);
}

/**
 * The index of σ in a rising list of positive levels, a fraction between two of them (linear in ln σ), differentiable; the ends are held.
 * A sum of one ramp per interval: in float32 the ramps left and right of σ are exactly 1 and 0, so that only one of them rounds.
 */
export function fractionalIndex(levels: readonly number[]): (sigma: Tensor) => Tensor {
  requireRising('fractionalIndex', levels);
  const logs = levels.map(Math.log);
  const starts = constant(Float64Array.from(logs.slice(0, -1)), [logs.length - 1]);
  const widths = constant(
    Float64Array.from({ length: logs.length - 1 }, (_, i) => logs[i + 1]! - logs[i]!),
    [logs.length - 1],
  );
  return (sigma) => total(clamp(div(overTable(sigma.log()).sub(starts), widths), 0, 1), sigma.shape);
}

/** The index of the level nearest to σ in a rising list; no gradient flows. */
export function nearestLevel(levels: readonly number[]): (sigma: Tensor) => Tensor {
  requireRising('nearestLevel', levels);
  const middles = Float64Array.from({ length: levels.length - 1 }, (_, i) => (levels[i]! + levels[i + 1]!) / 2);
  return (sigma) => total(cast(less(constant(middles, [middles.length]), overTable(sigma)), 'float32'), sigma.shape);
}

/** The index of the entry nearest to σ in a table [n] of falling levels, the lower one on a tie; no gradient flows. */
export function nearestInTable(sigma: Tensor, table: Tensor): Tensor {
  const n = fixed('nearestInTable', table.shape[0]);
  const middles = slice(table, 0, 0, n - 1)
    .add(slice(table, 0, 1, n))
    .mul(0.5);
  return total(cast(less(overTable(sigma), middles), 'float32'), sigma.shape);
}

/** The levels of improved DDPM, rising from 0: σ of index i is u_{M−i}. Karras et al. 2022, table 1 and appendix C.3.3. */
export function iddpmLevels({ M = 1000, C1 = 0.001, C2 = 0.008 } = {}): readonly number[] {
  const alphaBar = (j: number): number => Math.sin((Math.PI / 2) * (j / (M * (C2 + 1)))) ** 2;
  const levels = [0];
  for (let j = M; j > 0; j--) levels.push(Math.sqrt((levels.at(-1)! ** 2 + 1) / Math.max(alphaBar(j - 1) / alphaBar(j), C1) - 1));
  return levels;
}
