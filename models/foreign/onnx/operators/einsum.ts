/** @file Einstein sums as transpositions, products of matrices and sums. */
import { mul } from '../../../../engine/graph/ops/elementwise.ts';
import { constant } from '../../../../engine/graph/ops/leaf.ts';
import { matmul } from '../../../../engine/graph/ops/linalg.ts';
import { reshape, transpose } from '../../../../engine/graph/ops/movement.ts';
import { reduceSum } from '../../../../engine/graph/ops/reduce.ts';
import { type Dim, elements, type Tensor } from '../../../../engine/graph/tensor.ts';

type Fail = (message: string) => never;
/** A tensor whose axes have names. */
interface Named {
  readonly axes: readonly string[];
  readonly x: Tensor;
}

/** The letters of one operand; the axes of an ellipsis are named by their place from the end. */
function axesOf(term: string, rank: number, fail: Fail): readonly string[] {
  const [before, after] = term.split('...') as [string, string?];
  const letters = [...before, ...(after ?? '')];
  const hidden = rank - letters.length;
  if (!letters.every((c) => /^[A-Za-z]$/.test(c)) || term.split('...').length > 2)
    fail(`the term ${JSON.stringify(term)} of its equation is malformed`);
  if (hidden < 0 || (after === undefined && hidden > 0))
    fail(`the term ${JSON.stringify(term)} of its equation does not name ${rank} axes`);
  const rest = Array.from({ length: hidden }, (_, i) => `.${hidden - i}`);
  return after === undefined ? letters : [...before, ...rest, ...after];
}

/** Axes in the given order; those that are missing get size 1. */
function arranged({ axes, x }: Named, order: readonly string[]): Tensor {
  const own = order.filter((a) => axes.includes(a));
  const turned = transpose(
    x,
    own.map((a) => axes.indexOf(a)),
  );
  let at = 0;
  return reshape(
    turned,
    order.map((a): Dim => (axes.includes(a) ? turned.shape[at++]! : 1)),
  );
}
/** Sums over the axes that nothing needs any more. */
function summed({ axes, x }: Named, needed: ReadonlySet<string>): Named {
  const gone = axes.flatMap((a, i) => (needed.has(a) ? [] : [i]));
  if (gone.length === 0) return { axes, x };
  const keep = (_: unknown, i: number): boolean => !gone.includes(i);
  return { axes: axes.filter(keep), x: reshape(reduceSum(x, gone), x.shape.filter(keep)) };
}

/** One axis for every name: of two axes of one name the diagonal. */
function diagonal({ axes, x }: Named, fail: Fail): Named {
  const second = axes.findIndex((a, i) => axes.indexOf(a) < i);
  if (second < 0) return { axes, x };
  const first = axes.indexOf(axes[second]!);
  const [size, other] = [x.shape[first]!, x.shape[second]!];
  if (typeof size !== 'number' || size !== other) return fail(`its equation takes the diagonal of axes of sizes ${size} and ${other}`);
  const ones = constant(
    Float64Array.from({ length: size * size }, (_, i) => Number(i % (size + 1) === 0)),
    x.shape.map((_, i) => (i === first || i === second ? size : 1)),
  );
  const kept = <T>(list: readonly T[]): readonly T[] => list.toSpliced(second, 1);
  return diagonal({ axes: kept(axes), x: reshape(reduceSum(mul(x, ones), [second]), kept(x.shape)) }, fail);
}

/** The product of two operands, summed over what only they need. */
function pair(a: Named, b: Named, later: ReadonlySet<string>): Named {
  const [left, right] = [summed(a, new Set([...later, ...b.axes])), summed(b, new Set([...later, ...a.axes]))];
  const shared = left.axes.filter((x) => right.axes.includes(x));
  const contracted = shared.filter((x) => !later.has(x));
  const batch = shared.filter((x) => later.has(x));
  const rows = left.axes.filter((x) => !shared.includes(x));
  const columns = right.axes.filter((x) => !shared.includes(x));
  const order = [...batch, ...rows, ...columns];
  if (contracted.length === 0) return { axes: order, x: mul(arranged(left, order), arranged(right, order)) };
  const sizeOf = (t: Named, name: string): Dim => t.x.shape[t.axes.indexOf(name)]!;
  const dims = (t: Named, names: readonly string[]): readonly Dim[] => names.map((name) => sizeOf(t, name));
  const flat = (t: Named, first: readonly string[], second: readonly string[]): Tensor =>
    reshape(arranged(t, [...batch, ...first, ...second]), [...dims(t, batch), elements(dims(t, first)), elements(dims(t, second))]);
  const y = matmul(flat(left, rows, contracted), flat(right, contracted, columns));
  const sizes = [
    ...batch.map((x, i) => (sizeOf(left, x) === 1 ? sizeOf(right, x) : y.shape[i]!)),
    ...dims(left, rows),
    ...dims(right, columns),
  ];
  return { axes: order, x: reshape(y, sizes) };
}

/** Errors: an equation that does not fit the operands. */
export function einsum(equation: string, xs: readonly Tensor[], fail: Fail): Tensor {
  const [inputs, output] = equation.replaceAll(/\s/g, '').split('->') as [string, string?];
  const terms = inputs.split(',');
  if (terms.length !== xs.length || xs.length === 0)
    fail(`its equation ${JSON.stringify(equation)} has ${terms.length} terms for ${xs.length} inputs`);
  const named = xs.map((x, i): Named => diagonal({ axes: axesOf(terms[i]!, x.shape.length, fail), x }, fail));
  const all = named.flatMap((t) => t.axes);
  const hidden = [...new Set(all.filter((a) => a.startsWith('.')))].sort((a, b) => Number(b.slice(1)) - Number(a.slice(1)));
  const implicit = [...hidden, ...[...new Set(all)].filter((a) => !a.startsWith('.') && all.indexOf(a) === all.lastIndexOf(a)).sort()];
  const letters = output === undefined ? implicit : output.split('...').flatMap((part, i) => [...(i > 0 ? hidden : []), ...part]);
  if (letters.some((a) => !all.includes(a)) || new Set(letters).size < letters.length)
    fail(`the result of its equation ${JSON.stringify(equation)} is malformed`);
  const result = named.reduce((sofar, next, i) => pair(sofar, next, new Set([...letters, ...named.slice(i + 1).flatMap((t) => t.axes)])));
  return arranged(summed(result, new Set(letters)), letters);
}
