/** @file Operations that ONNX Runtime's WebGPU provider has no kernel for, in terms of those that it has: a node of theirs would fetch its input back. */
import type { Emitter } from '../tensor.ts';

const float = (flags: string, emit: Emitter): string => emit.node('Cast', [flags], { to: 1 });

/** −1, 0 or 1. */
export const signNodes = (x: string, emit: Emitter): string =>
  emit.target === 'webgpu'
    ? emit.node('Sub', [float(emit.node('Greater', [x, emit.scalar(0)]), emit), float(emit.node('Less', [x, emit.scalar(0)]), emit)])
    : emit.node('Sign', [x]);

/** To the nearest whole number, halves to the even one, for |x| < 2²²: ⌊x + ½⌋, less 1 where that is odd and was a half away. */
export function roundNodes(x: string, emit: Emitter): string {
  if (emit.target !== 'webgpu') return emit.node('Round', [x]);
  const shifted = emit.node('Add', [x, emit.scalar(0.5)]);
  const near = emit.node('Floor', [shifted]);
  const half = emit.node('Mul', [near, emit.scalar(0.5)]);
  const odd = emit.node('Greater', [half, emit.node('Floor', [half])]);
  const tie = emit.node('Equal', [shifted, near]);
  return emit.node('Sub', [near, float(emit.node('And', [tie, odd]), emit)]);
}

/** a or b. */
export const orNodes = (a: string, b: string, emit: Emitter): string =>
  emit.target === 'webgpu' ? emit.node('Not', [emit.node('And', [emit.node('Not', [a]), emit.node('Not', [b])])]) : emit.node('Or', [a, b]);

/** Whatever is a number is at most infinity. */
export const nanNodes = (x: string, emit: Emitter): string =>
  emit.target === 'webgpu'
    ? emit.node('Not', [emit.node('LessOrEqual', [emit.node('Abs', [x]), emit.scalar(Number.POSITIVE_INFINITY)])])
    : emit.node('IsNaN', [x]);

/** 1/3!, 1/5!, …, 1/11!, with signs: off by 6e-8 at π/2. */
const SINE = [3, 5, 7, 9, 11].map((n) => (n % 4 === 3 ? -1 : 1) / Array.from({ length: n }, (_, i) => i + 1).reduce((a, b) => a * b));
/** π as a sum: the first part has few digits, so that small multiples of it are exact. */
const PI = [3.140625, Math.PI - 3.140625] as const;

/**
 * sin x (or cos x with a shift of ½). Shaders promise no more than 2⁻¹¹ for theirs, and nothing beyond [−π, π]: too coarse for embeddings of noise levels.
 * With m the nearest whole number to x/π − shift and r = x − (m + shift)π: (−1)^m sin r, and −(−1)^m sin r for the cosine.
 */
function wave(x: string, shift: number, emit: Emitter): string {
  const times = (a: string, b: number): string => emit.node('Mul', [a, emit.scalar(b)]);
  const plus = (a: string, b: number): string => (b === 0 ? a : emit.node('Add', [a, emit.scalar(b)]));
  const m = emit.node('Floor', [plus(times(x, 1 / Math.PI), 0.5 - shift)]);
  const multiple = plus(m, shift);
  const r = PI.reduce((rest, part) => emit.node('Sub', [rest, times(multiple, part)]), x);
  const square = emit.node('Mul', [r, r]);
  const series = SINE.slice(0, -1).reduceRight((sum, c) => emit.node('Mul', [square, plus(sum, c)]), times(square, SINE.at(-1)!));
  const sine = emit.node('Mul', [r, plus(series, 1)]);
  const half = times(m, 0.5);
  const odd = emit.node('Sub', [half, emit.node('Floor', [half])]); // 0 or ½
  const alternating = plus(times(odd, shift === 0 ? -4 : 4), shift === 0 ? 1 : -1);
  return emit.node('Mul', [sine, alternating]);
}
export const sinNodes = (x: string, emit: Emitter): string => (emit.target === 'webgpu' ? wave(x, 0, emit) : emit.node('Sin', [x]));
export const cosNodes = (x: string, emit: Emitter): string => (emit.target === 'webgpu' ? wave(x, 0.5, emit) : emit.node('Cos', [x]));
