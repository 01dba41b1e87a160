/** @file Classes of samples. */
import { InputError } from '../engine/io/errors.ts';

/** Every class equally often: 0, 1, …, 0, 1, …; null without classes. */
export const evenLabels = (n: number, classes: number): Int32Array | null =>
  classes > 0 ? Int32Array.from({ length: n }, (_, i) => i % classes) : null;

/** Classes of n samples: the given ones in turn; every class in turn where none are given. Errors: classes that the model `name` does not have. */
export function labelsInTurn(name: string, classes: number, given: readonly number[], n: number): Int32Array | null {
  if (given.length === 0) return evenLabels(n, classes);
  if (classes === 0) throw new InputError(`label: ${name} has no classes; leave --label out`);
  const wrong = given.find((label) => !Number.isInteger(label) || label < 0 || label >= classes);
  if (wrong !== undefined) throw new InputError(`label: ${wrong} is no class of ${name}; it has 0 to ${classes - 1}`);
  return Int32Array.from({ length: n }, (_, i) => given[i % given.length]!);
}
