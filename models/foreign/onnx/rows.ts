/**
 * @file The numbers 0…N−1 of the samples in a batch. Files count them to pick from each sample by index (`x[arange(N), position]`); our graph has no such
 * numbers, it picks within samples. So they are followed through the operators between, and what picks by them picks within samples instead.
 */
import { add, mul } from '../../../engine/graph/ops/elementwise.ts';
import { constant, input } from '../../../engine/graph/ops/leaf.ts';
import { concat, expand, reshape, transpose } from '../../../engine/graph/ops/movement.ts';
import { gather } from '../../../engine/graph/ops/select.ts';
import { type Dim, isSymbolic, multipleOf, type Shape, type Tensor, topological } from '../../../engine/graph/tensor.ts';
import { computed } from './fold.ts';
import { constantValues, type NodeView, type Session } from './node.ts';
import { gatherTuples, scatterTuples } from './operators/indexing.ts';

/** A tensor that is factor · (number of the sample along `axis`) + rest. */
export interface Rows {
  readonly factor: number;
  readonly axis: number;
  /** Of the tensor's rank, along `axis` with size 1, or with one for each sample. */
  readonly rest: Tensor;
}
/** What is followed: such numbers, and tuples whose first entries they are. */
export interface RowNumbers {
  readonly numbers: Map<Tensor, Rows>;
  /** Index tuples along the last axis that begin with the sample's number; the other entries. */
  readonly tuples: Map<Tensor, readonly Tensor[]>;
}
export const rowNumbers = (): RowNumbers => ({ numbers: new Map(), tuples: new Map() });

const LABEL = 'numbers of the samples';
/** 0…N−1: a stand-in, of which nothing may be left in the end. */
export function countRows(session: Session, dim: Exclude<Dim, number>): Tensor {
  const rows = input(LABEL, [dim], 'int64');
  session.rows.numbers.set(rows, { factor: 1, axis: 0, rest: constant(BigInt64Array.of(0n), [1]) });
  return rows;
}
/** Errors: outputs that depend on the stand-in. */
export function requireNoRows(outputs: readonly Tensor[], fail: (message: string) => never): void {
  const left = topological(outputs).some((node) => node.op.name === 'leaf' && (node.attrs as { readonly label: string }).label === LABEL);
  if (left) fail('the numbers of the samples in the batch are used as values, which is not supported');
}

const symbolicAxis = (shape: Shape): number => shape.findIndex(isSymbolic);
const ranked = (t: Tensor, rank: number): Tensor => reshape(t, [...Array<1>(rank - t.shape.length).fill(1), ...t.shape]);
const isZero = (t: Tensor): boolean => constantValues(t)?.every((v) => v === 0) ?? false;

type Follow = (rows: Rows, y: Tensor, n: NodeView, at: number) => Rows | undefined;
const moved: Follow = ({ factor, rest }, y) => {
  const axis = symbolicAxis(y.shape);
  const target = symbolicAxis(rest.shape) < 0 ? y.shape.with(axis, 1) : y.shape;
  const same = rest.shape.filter((d) => d !== 1).join() === target.filter((d) => d !== 1).join();
  return same || isZero(rest)
    ? { factor, axis, rest: same ? reshape(rest, target) : ranked(reshape(rest, []), y.shape.length) }
    : undefined;
};
const FOLLOWED: Readonly<Record<string, Follow>> = {
  Identity: (rows) => rows,
  Cast: (rows, y) => (y.dtype === 'int64' ? rows : undefined),
  Unsqueeze: moved,
  Squeeze: moved,
  Reshape: moved,
  Expand: ({ factor, axis, rest }, y) => {
    const at = symbolicAxis(y.shape);
    const own = axis + y.shape.length - rest.shape.length;
    return own === at && symbolicAxis(rest.shape) < 0
      ? { factor, axis: at, rest: expand(ranked(rest, y.shape.length), y.shape.with(at, 1)) }
      : undefined;
  },
  Mul({ factor, axis, rest }, y, n, at) {
    const [by, ...more] = constantValues(n.x(1 - at)) ?? [];
    if (by === undefined || more.length > 0) return undefined;
    return { factor: factor * by, axis: axis + y.shape.length - rest.shape.length, rest: ranked(mul(rest, by), y.shape.length) };
  },
  Add({ factor, axis, rest }, y, n, at) {
    const other = n.x(1 - at);
    const [own, rank] = [axis + y.shape.length - rest.shape.length, y.shape.length];
    const lined = ranked(other, rank);
    return { factor, axis: own, rest: add(ranked(rest, rank), lined) };
  },
};

/** Marks the result of an operator that was given numbers of samples. */
export function follow(session: Session, type: string, n: NodeView, given: readonly (Tensor | undefined)[], y: Tensor): void {
  const { numbers, tuples } = session.rows;
  const at = given.findIndex((t) => t && numbers.has(t));
  if (at < 0) return;
  const rows = numbers.get(given[at]!)!;
  if (type === 'Concat') {
    const alone = at === 0 && rows.factor === 1 && isZero(rows.rest) && rows.axis === 0 && given[0]!.shape.at(-1) === 1;
    if (alone && n.attr.int('axis') % y.shape.length === (n.attr.int('axis') < 0 ? -1 : y.shape.length - 1))
      tuples.set(y, given.slice(1) as Tensor[]);
    return;
  }
  const next = FOLLOWED[type]?.(rows, y, n, at);
  if (next) numbers.set(y, { ...next, rest: computed(next.rest) });
}

/** What picks or places by numbers of samples, within samples instead; undefined where nothing does. */
export function pickedByRows(session: Session, type: string, n: NodeView, given: readonly (Tensor | undefined)[]): Tensor | undefined {
  const index = given[1];
  if (!index) return undefined;
  const rows = session.rows.numbers.get(index);
  if (type === 'Gather' && rows && n.attr.int('axis', 0) === 0) return gatherRows(n, n.x(0), index, rows);
  const rest = session.rows.tuples.get(index);
  if (type === 'GatherND' && rest && n.attr.int('batch_dims', 0) === 0)
    return gatherTuples(n, n.x(0), concat(rest, index.shape.length - 1), 1);
  if (type === 'ScatterND' && rest) return scatterTuples(n, n.x(0), concat(rest, index.shape.length - 1), n.x(2));
  return undefined;
}

/** x holds `factor` values of each sample one after the other; of each, those at `rest` are picked. */
function gatherRows(n: NodeView, x: Tensor, index: Tensor, { factor, axis, rest }: Rows): Tensor {
  const [dim, batch] = [x.shape[0]!, index.shape[axis]!];
  if (!isSymbolic(dim) || !isSymbolic(batch) || multipleOf(dim) !== factor * multipleOf(batch))
    return n.fail('picks across samples of the batch, which is not supported');
  const each = reshape(x, [batch, factor, ...x.shape.slice(1)]); // [N, factor, …]
  if (symbolicAxis(rest.shape) >= 0) {
    if (axis !== 0) return n.fail('picks along the batch by index, which is not supported');
    return gatherTuples(n, each, reshape(expand(rest, index.shape), [...index.shape, 1]), 1);
  }
  const places = expand(rest, index.shape.with(axis, 1));
  const picked = gather(each, reshape(places, places.shape.toSpliced(axis, 1)), 1); // [N, …places, …]
  const order = [...picked.shape.keys()];
  return transpose(picked, [...order.slice(1, axis + 1), 0, ...order.slice(axis + 1)]);
}
