/** @file Weights that nothing trains, held in fewer bits: one copy in the state of a run, which its programs share and widen where they use it. */
import '../graph/fluent.ts';
import { BLOCK, exactBlocks, roundToBlocks, SMALLEST } from '../graph/blocks.ts';
import { castApart } from '../graph/ops/elementwise.ts';
import { state } from '../graph/ops/leaf.ts';
import { slice } from '../graph/ops/movement.ts';
import { toHalf } from '../graph/ops/special.ts';
import type { Tensor } from '../graph/tensor.ts';
import { float32, type HostTensor } from '../run/runtime.ts';
import type { Weight } from './weights.ts';

/** float32: constants of the programs, which a runtime may rearrange once for speed. int8: blocks of 32 values of a row with a scale each. */
export const frozenStorages = ['float32', 'float16', 'int8'] as const;
export type FrozenStorage = (typeof frozenStorages)[number];

/** Labels of what is held begin with this. */
export const FROZEN = 'frozen/';

/** Holds frozen weights. */
export interface FrozenStore {
  /**
   * The weight as float32, of fewer bits; null for a small one, which stays as it is. Every call widens anew what is held once: a network
   * evaluated several times would have all its weights wide from the first evaluation to the last otherwise.
   */
  hold(weight: Weight): Tensor | null;
  /** What is held, as initial values of a state. */
  readonly held: Readonly<Record<string, HostTensor>>;
}

/** A store; null where weights are not held in fewer bits. */
export function frozenStore(storage: FrozenStorage): FrozenStore | null {
  if (storage === 'float32') return null;
  const held: Record<string, HostTensor> = {};
  const kept = (value: HostTensor): Tensor => {
    const label = `${FROZEN}${Object.keys(held).length}`;
    held[label] = value;
    return state(label, value.shape, value.dtype);
  };
  const hold = storage === 'float16' ? halves(kept) : bytes(kept);
  const known = new Map<Float32Array, Widen>();
  const widenerOf = (weight: Weight): Widen => {
    const widen = known.get(weight.data) ?? hold(weight);
    known.set(weight.data, widen);
    return widen;
  };
  let uses = 0;
  const isLarge = ({ shape, data }: Weight): boolean => shape.length >= 2 && data.length >= SMALLEST;
  return { hold: (weight) => (isLarge(weight) ? widenerOf(weight)(uses++).reshape(weight.shape) : null), held };
}
/** The weight for one use, which has a number. */
type Widen = (use: number) => Tensor;

const halves =
  (kept: (value: HostTensor) => Tensor) =>
  ({ shape, data }: Weight): Widen => {
    const half = kept({ dtype: 'float16', shape, data: toHalf(data) });
    return (use) => castApart(half, 'float32', use);
  };

const ZERO = 128;
/** Rows are those of the first axis: the outputs of a layer. */
const bytes =
  (kept: (value: HostTensor) => Tensor) =>
  ({ shape, data }: Weight): Widen => {
    const rows = shape[0]!;
    const { codes, scales, perRow } = exactBlocks(roundToBlocks(data, rows, 8), rows, 8)!;
    const code = kept({ dtype: 'uint8', shape: [rows, perRow, BLOCK], data: codes });
    const scale = kept(float32(scales, [rows, perRow, 1]));
    const length = data.length / rows;
    return (use) => {
      const wide = castApart(code, 'float32', use)
        .sub(ZERO)
        .mul(scale)
        .reshape([rows, perRow * BLOCK]);
      return (length % BLOCK === 0 ? wide : slice(wide, 1, 0, length)).reshape(shape);
    };
  };
