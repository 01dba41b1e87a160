/** @file Values of conditions that are no classes, such as texts: one row each, which training draws from and sampling takes in turn. */

export interface ConditionTable {
  /** How many there are. */
  readonly size: number;
  /** The values of a condition for one sample. */
  row(condition: string, index: number): Float32Array;
}

/** The rows of some indices one after another, counted round the table: [count, …]. */
export function gatherRows(table: ConditionTable, condition: string, indices: ArrayLike<number>): Float32Array {
  const rows = Array.from(indices, (i) => table.row(condition, i % table.size));
  const size = rows[0]?.length ?? 0;
  const out = new Float32Array(rows.length * size);
  rows.forEach((row, i) => {
    out.set(row, i * size);
  });
  return out;
}
