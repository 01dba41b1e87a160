/** @file Weights by formula, so that tests of large networks need no large files: a hash of name and position. */
import type { Weight, Weights } from '../../../engine/train/weights.ts';

const fnv1a = (text: string): number =>
  new TextEncoder().encode(text).reduce((h, byte) => Math.imul(h ^ byte, 0x01000193) >>> 0, 0x811c9dc5);
export function hash32(value: number): number {
  let x = value >>> 0;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}
/** By the end of a name; anything else is a filter, scaled by its inputs. */
const RULES: readonly (readonly [string, (v: number) => number])[] = [
  ['running_mean', (v) => 0.1 * v],
  ['running_var', (v) => 1 + 0.5 * v],
  ['bn.weight', (v) => 1 + 0.1 * v],
  ['bias', (v) => 0.1 * v],
];

export function formulaWeight(name: string, shape: readonly number[], salt = ''): Weight {
  const count = shape.reduce((n, d) => n * d, 1);
  const gain = Math.sqrt(6 / (count / shape[0]!));
  const rule = RULES.find(([end]) => name.endsWith(end))?.[1] ?? ((v: number) => v * gain);
  const start = fnv1a(salt + name);
  const data = Float32Array.from({ length: count }, (_, i) => rule((hash32(start + Math.imul(i, 0x9e3779b9)) / 2 ** 32) * 2 - 1));
  return { shape, data };
}
export const formulaWeights = (declared: Iterable<{ readonly name: string; readonly shape: readonly number[] }>, salt = ''): Weights =>
  new Map([...declared].map(({ name, shape }) => [name, formulaWeight(name, shape, salt)]));
export { fnv1a };
