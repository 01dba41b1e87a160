/** @file What a kernel of the TensorFlow.js runtime is, and the shapes under which kernels of low rank do the work of any rank. */
import type { Node } from '../graph/tensor.ts';
import type { Tf, Value } from './tfjs-library.ts';

/** Sizes of tensors, outermost first. */
export type Sizes = readonly number[];
/** What a kernel knows beside its inputs. */
export interface Call<A = unknown> {
  readonly tf: Tf;
  readonly attrs: A;
  readonly node: Node;
  /** Shapes of the outputs. */
  readonly out: readonly Sizes[];
}
/** Outputs from inputs. It runs inside a tidy of its own and returns new tensors, which may share memory with the inputs. */
export type Kernel<A = unknown> = (inputs: readonly Value[], call: Call<A>) => Value | readonly Value[];
/** Kernels by the name of their operation. A table of all of them knows nothing of the attributes of each. */
export type Kernels = Readonly<Record<string, Kernel<never>>>;

export const sizeOf = (shape: Sizes): number => shape.reduce((n, d) => n * d, 1);
export const reshaped = (tf: Tf, x: Value, shape: Sizes): Value => tf.reshape(x, shape as number[]);
/** x as [outer, n, inner] around one axis, or around several that follow one another. */
export const around = (tf: Tf, x: Value, axis: number, count = 1): Value =>
  reshaped(tf, x, [sizeOf(x.shape.slice(0, axis)), sizeOf(x.shape.slice(axis, axis + count)), sizeOf(x.shape.slice(axis + count))]);

/** Kernels take tensors of at most so many axes. */
const MOST_AXES = 6;

/** Runs of neighbouring axes of one kind, as [first, end). */
export function runs(kinds: readonly unknown[]): readonly (readonly [number, number])[] {
  const starts = kinds.flatMap((kind, i) => (i === 0 || kind !== kinds[i - 1] ? [i] : []));
  return starts.map((start, i) => [start, starts[i + 1] ?? kinds.length] as const);
}

const filled = (tf: Tf, x: Value, shape: Sizes): Value => tf.fill(shape as number[], 1, x.dtype as 'float32');
/** x of the rank of `out` broadcast to it, one axis at a time: ranks never count. */
const widened = (tf: Tf, x: Value, out: Sizes): Value =>
  out.reduce((y, size, axis) => {
    if (x.shape[axis] === size) return y;
    return tf.mul(reshaped(tf, y, [sizeOf(out.slice(0, axis)), 1, sizeOf(x.shape.slice(axis))]), filled(tf, x, [1, size, 1]));
  }, x);

/**
 * Operands of elementwise arithmetic in forms that kernels can broadcast. Where there are too many axes, neighbours that broadcast alike are folded;
 * with too many left, each operand gets all values.
 */
export function aligned(tf: Tf, inputs: readonly Value[], out: Sizes): readonly Value[] {
  if (out.length <= MOST_AXES) return inputs;
  const wide = out.flatMap((size, axis) => (size === 1 ? [] : [axis]));
  const shapes = inputs.map(({ shape }) => {
    const full = [...Array<number>(out.length - shape.length).fill(1), ...shape];
    return wide.map((axis) => full[axis]!);
  });
  const folded = runs(wide.map((_, i) => shapes.map((shape) => shape[i] === 1).join()));
  const fold = (shape: Sizes): Sizes => folded.map(([from, to]) => sizeOf(shape.slice(from, to)));
  const small = inputs.map((x, i) => reshaped(tf, x, fold(shapes[i]!)));
  if (folded.length <= MOST_AXES) return small;
  const all = fold(wide.map((axis) => out[axis]!));
  return small.map((x) => reshaped(tf, widened(tf, x, all), [sizeOf(out)]));
}

/** x broadcast to a shape. A product with ones is a hundred times as fast as the kernel that repeats values. */
export function expanded(tf: Tf, x: Value, shape: Sizes): Value {
  if (x.shape.join() === shape.join()) return x;
  if (x.size === sizeOf(shape)) return reshaped(tf, x, shape);
  if (x.dtype === 'bool') return tf.cast(expanded(tf, tf.cast(x, 'float32'), shape), 'bool');
  const [from, like] = aligned(tf, [x, filled(tf, x, shape)], shape) as [Value, Value];
  return reshaped(tf, tf.mul(from, like), shape);
}

/** Axes in a new order; those that stay neighbours move as one where there are too many. */
export function transposed(tf: Tf, x: Value, perm: readonly number[]): Value {
  if (perm.length <= MOST_AXES) return tf.transpose(x, perm as number[]);
  const moving = runs(perm.map((axis, i) => axis - i)); // neighbours before and after
  const firsts = moving.map(([from]) => perm[from]!);
  const order = [...firsts].sort((a, b) => a - b);
  const sizes = order.map((first) => {
    const [from, to] = moving[firsts.indexOf(first)]!;
    return sizeOf(perm.slice(from, to).map((axis) => x.shape[axis]!));
  });
  const small = tf.transpose(
    reshaped(tf, x, sizes),
    firsts.map((first) => order.indexOf(first)),
  );
  return reshaped(
    tf,
    small,
    perm.map((axis) => x.shape[axis]!),
  );
}

/** Whether values live in a memory of their own, or in that of the process, where reading and writing them is copying. */
export const isNative = (tf: Tf): boolean => tf.getBackend() === 'tensorflow';

/** x cut into parts of these sizes, one after the other in its flat order. WebAssembly copies all of x for every slice, so that it is read once instead. */
export function pieces(tf: Tf, x: Value, shapes: readonly Sizes[]): readonly Value[] {
  const sizes = shapes.map(sizeOf);
  if (isNative(tf)) return tf.split(reshaped(tf, x, [x.size]), sizes).map((part, i) => reshaped(tf, part, shapes[i]!));
  const all = x.dataSync();
  let at = 0;
  return shapes.map((shape, i) => {
    at += sizes[i]!;
    return tf.tensor(all.slice(at - sizes[i]!, at), shape as number[], x.dtype);
  });
}
