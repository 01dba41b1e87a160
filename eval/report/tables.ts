/** @file The tables of a comparison, before they are HTML or Markdown. */
import { type ClassRow, type Group, groupsOf, type Interval, type Row } from './comparison.ts';
import { bestRows, formatRange, formatValue, metricNames, metricOf } from './metrics.ts';

export interface Cell {
  readonly text: string;
  /** Smaller, below: an interval. */
  readonly detail?: string;
  /** The best of its column. */
  readonly best?: boolean;
}
export interface Table {
  readonly caption: string;
  readonly columns: readonly string[];
  /** The first cell of a row names it. */
  readonly rows: readonly (readonly Cell[])[];
  readonly note?: string;
}

const ARROW = { lower: '\u00a0↓', higher: '\u00a0↑' } as const;
const nothing: Cell = { text: '–' };
const cellOf = (interval: Interval | null | undefined, best = false): Cell => {
  if (!interval) return nothing;
  const detail = formatRange(interval);
  return { text: formatValue(interval.value), ...(detail ? { detail } : {}), ...(best ? { best } : {}) };
};
const plain = (value: number | null, write: (value: number) => string): Cell => (value === null ? nothing : { text: write(value) });

/** A table of rows × metrics for each group of rows that compare with each other. */
export const resultTables = (rows: readonly Row[]): readonly Table[] => groupsOf(rows).map(resultTable);

function resultTable({ title, rows }: Group): Table {
  const names = metricNames(rows);
  const best = new Map(names.map((name) => [name, bestRows(rows, name)]));
  const intervals = rows.some(({ metrics }) => Object.values(metrics).some(({ low }) => low !== undefined));
  const checksums = [...new Set(rows.flatMap(({ extractor }) => extractor?.sha256 ?? []))];
  const notes = [
    '↓ less is better, ↑ more is better; the best of each column is bold.',
    intervals ? 'Below a number: its interval.' : '',
    checksums.length > 0 ? `Extractor: SHA-256 ${checksums.map((one) => `${one.slice(0, 16)}…`).join(', ')}` : '',
    'Numbers compare only within this table.',
  ];
  return {
    caption: `Measurements ${title}`,
    columns: ['', ...names.map((name) => headOf(name)), 'network evaluations', 'seconds an image'],
    rows: rows.map((row) => [
      { text: row.name },
      ...names.map((name) => cellOf(row.metrics[name], best.get(name)!.includes(row))),
      plain(row.nfe, String),
      plain(row.secondsPerImage, formatSeconds),
    ]),
    note: notes.filter(Boolean).join(' '),
  };
}

function headOf(name: string): string {
  const { label, better } = metricOf(name);
  return `${label}${better === null ? '' : ARROW[better]}`;
}

/** Two significant digits. */
export const formatSeconds = (value: number): string => (value >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(2))));

/** Accuracy, and the distance where it was measured, by class: a column for each row of the comparison that has them. */
export function classTables(rows: readonly Row[]): readonly Table[] {
  return (['accuracy', 'frechet'] as const).flatMap((field) => {
    const having = rows.filter(({ perClass }) => perClass.some((one) => one[field] !== null));
    if (having.length === 0) return [];
    const classes = [...new Set(having.flatMap(({ perClass }) => perClass.map(({ name }) => name)))];
    const find = (row: Row, name: string): ClassRow | undefined => row.perClass.find((one) => one.name === name);
    return [
      {
        caption: field === 'accuracy' ? 'Class accuracy by class' : 'Fréchet distance by class',
        columns: ['class', ...having.map(({ name }) => name)],
        rows: classes.map((name) => [{ text: name }, ...having.map((row) => cellOf(find(row, name)?.[field]))]),
      },
    ];
  });
}
