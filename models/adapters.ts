/** @file Low-rank adapters that are trained here: which modules have one, and the scope that adds them to weights that stay. Hu et al. 2021, arXiv:2106.09685. */
import { add, mul } from '../engine/graph/ops/elementwise.ts';
import { matmul } from '../engine/graph/ops/linalg.ts';
import { reshape } from '../engine/graph/ops/movement.ts';
import type { Tensor } from '../engine/graph/tensor.ts';
import type { Init, Scope } from '../engine/train/network.ts';

export interface Adapters {
  readonly rank: number;
  /** The product of the matrices is multiplied by alpha / rank. */
  readonly alpha: number;
  /** Modules: their names or ends of their names; `*` stands for any characters. */
  readonly targets: readonly string[];
}

const WEIGHT = '.weight';
const patternOf = (target: string): RegExp =>
  new RegExp(
    `(^|\\.)${target
      .split('*')
      .map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'))
      .join('.*')}$`,
  );
/** Whether a module is meant by a target. */
export const meant = (module: string, target: string): boolean => patternOf(target).test(module);
/** The module of a weight that may have an adapter: a matrix or a filter. */
export const moduleOf = (name: string, shape: readonly number[]): string | null =>
  name.endsWith(WEIGHT) && shape.length >= 2 && !isAdapter(name) ? name.slice(0, -WEIGHT.length) : null;
/** Whether a weight is one of an adapter's matrices. */
export const isAdapter = (name: string): boolean => /\.lora_[AB]\.weight$/.test(name);

/** A scope whose weights stay as they are and have adapters added: these alone are trained. `A` starts as PyTorch's linear layers do, `B` at zero. */
export function adaptedScope(base: Scope, { rank, alpha, targets }: Adapters): Scope {
  /** Sums by name, and the weights under them: where these are made anew for every use, so are the sums. */
  const made = new Map<string, { readonly weight: Tensor; readonly whole: Tensor }>();
  const get = (name: string, shape: readonly number[], init: Init = { kind: 'constant', value: 0 }): Tensor => {
    // What the teacher is never told has no weights yet that could stay.
    if (name.startsWith('told.')) return base(name, shape, init);
    const weight = base.buffer(name, shape, init);
    const known = made.get(name);
    if (known?.weight === weight) return known.whole;
    const module = moduleOf(name, shape);
    const adapted = module !== null && targets.some((target) => meant(module, target));
    const whole = adapted ? add(weight, reshape(mul(product(base, module, shape, rank), alpha / rank), [...shape])) : weight;
    made.set(name, { weight, whole });
    return whole;
  };
  return Object.assign(get, { buffer: (name: string, shape: readonly number[], init: Init) => base.buffer(name, shape, init) });
}

/** B A, [out, rest]; the matrices are shaped as PEFT has them. */
function product(scope: Scope, module: string, [out = 1, ...rest]: readonly number[], rank: number): Tensor {
  const inside = rest.reduce((a, b) => a * b, 1);
  const a = scope(`${module}.lora_A.weight`, [rank, ...rest], { kind: 'uniform', bound: 1 / Math.sqrt(inside) });
  const b = scope(`${module}.lora_B.weight`, [out, rank, ...rest.slice(1).map(() => 1)], { kind: 'constant', value: 0 });
  return matmul(reshape(b, [out, rank]), reshape(a, [rank, inside]));
}
