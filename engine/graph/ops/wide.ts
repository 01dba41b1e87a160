/**
 * @file Joining and cutting of many tensors. A shader of WebGPU is bound to as few as eight buffers on some adapters, so that for other targets than
 * the processor one wide node becomes a tree of narrow ones.
 */
import type { Emitter } from '../tensor.ts';

/** Tensors of a node beside the one that they come from or go to. */
const MOST = 7;

const narrow = (emit: Emitter): boolean => emit.target === 'any' || emit.target === 'webgpu';
const groups = <T>(items: readonly T[]): readonly (readonly T[])[] => {
  const size = Math.max(MOST, Math.ceil(items.length / MOST));
  return Array.from({ length: Math.ceil(items.length / size) }, (_, i) => items.slice(i * size, (i + 1) * size));
};

/** Concat of any number of tensors along an axis. */
export function joined(emit: Emitter, parts: readonly string[], axis: number): string {
  if (parts.length === 1) return parts[0]!;
  const few = narrow(emit) && parts.length > MOST ? groups(parts).map((group) => joined(emit, group, axis)) : parts;
  return emit.node('Concat', few, { axis });
}

/** Split of a vector into parts of the given sizes. */
export function cut(emit: Emitter, x: string, sizes: readonly number[]): readonly string[] {
  if (sizes.length === 1) return [x];
  const whole = (list: readonly number[]): string[] => emit.nodes('Split', [x, emit.ints(list)], list.length, { axis: 0 });
  if (!narrow(emit) || sizes.length <= MOST) return whole(sizes);
  const parts = groups(sizes);
  const pieces = whole(parts.map((group) => group.reduce((a, b) => a + b, 0)));
  return parts.flatMap((group, i) => cut(emit, pieces[i]!, group));
}
