/** @file What a comparison of runs holds: measurements, curves, pictures, and how each was made. The pages are drawn from it. */

/** A measured number and the interval that it lies in, where that is known. */
export interface Interval {
  readonly value: number;
  readonly low?: number;
  readonly high?: number;
}

/** One evaluation, or numbers to compare with. */
export interface Row {
  readonly name: string;
  /** Rows of one model share a colour. */
  readonly series: string;
  /** What tells rows of one series apart, short; may be empty. */
  readonly label: string;
  /** `real`: real images themselves, which are beyond comparison. */
  readonly kind: 'model' | 'teacher' | 'real';
  readonly metrics: Readonly<Record<string, Interval>>;
  /** Network evaluations a sample. */
  readonly nfe: number | null;
  readonly secondsPerImage: number | null;
  /** Generated samples and real images of the evaluation. */
  readonly n: number | null;
  readonly nReference: number | null;
  /** Data set that it is compared with. */
  readonly reference: string | null;
  readonly extractor: { readonly name: string; readonly sha256: string | null } | null;
  readonly perClass: readonly ClassRow[];
  readonly command: string | null;
  readonly settings: Settings;
}
export interface ClassRow {
  readonly name: string;
  readonly accuracy: Interval | null;
  readonly frechet: Interval | null;
}
export type Settings = Readonly<Record<string, unknown>>;

/** A number that was logged while a run trained. */
export interface Curve {
  readonly name: string;
  readonly points: readonly CurvePoint[];
}
export interface CurvePoint {
  readonly images: number;
  /** Since training began, evaluations on the way included. */
  readonly seconds: number;
  readonly value: number;
}

export interface Run {
  readonly name: string;
  readonly path: string;
  /** What a reader should know of it: that it has no evaluations, how far it is. */
  readonly notes: readonly string[];
  /** With which it can be made again. */
  readonly command: string | null;
  readonly settings: Settings;
  readonly facts: Readonly<Record<string, string>>;
  /** Evaluations on the way, and terms of the losses. */
  readonly scores: readonly Curve[];
  readonly terms: readonly Curve[];
}

export interface Picture {
  readonly title: string;
  readonly png: Uint8Array;
  readonly alt: string;
  readonly note?: string;
}

export interface Comparison {
  readonly title: string;
  /** A sentence each. */
  readonly summary: readonly string[];
  /** What could not be read or drawn, one line each. */
  readonly problems: readonly string[];
  readonly rows: readonly Row[];
  readonly runs: readonly Run[];
  /** From the same noise, side by side. */
  readonly samples: readonly Picture[];
  readonly neighbours: readonly Picture[];
  readonly facts: Readonly<Record<string, string>>;
}

/** Rows that compare with each other: against one reference, in the features of one extractor, at equal numbers of samples. */
export interface Group {
  /** In words. */
  readonly title: string;
  readonly rows: readonly Row[];
}

export function groupsOf(rows: readonly Row[]): readonly Group[] {
  const groups = new Map<string, Row[]>();
  // The distance between real images depends on no samples: it goes with every number of them.
  const measured = rows.filter(({ kind }) => kind !== 'real');
  const key = ({ reference, extractor, n, nReference }: Row): string =>
    JSON.stringify([reference, extractor?.sha256 ?? extractor?.name, n, nReference]);
  for (const row of measured) groups.set(key(row), [...(groups.get(key(row)) ?? []), row]);
  const real = rows.filter(({ kind }) => kind === 'real');
  const fits = (one: Row, other: Row): boolean => one.reference === other.reference && one.extractor?.sha256 === other.extractor?.sha256;
  return [...groups.values()].map((own) => ({ title: titleOf(own[0]!), rows: [...own, ...real.filter((one) => fits(one, own[0]!))] }));
}

function titleOf({ reference, n, nReference, extractor }: Row): string {
  const count = (value: number, noun: string): string => `${value.toLocaleString('en-US')} ${noun}`;
  const parts = [
    reference === null ? '' : `against ${reference}${nReference === null ? '' : ` (${count(nReference, 'images')})`}`,
    n === null ? '' : count(n, 'samples'),
    extractor?.name ?? '',
  ];
  return parts.filter(Boolean).join(', ') || 'as given';
}

/** Points of a curve in JSON: the log has all. */
const MOST_POINTS = 1000;

/** The comparison for programs: all but the bytes of the pictures. Of long curves only points evenly apart, and the last. */
export function comparisonJson(comparison: Comparison): string {
  const plain = (pictures: readonly Picture[]): readonly Omit<Picture, 'png'>[] => pictures.map(({ png: _, ...words }) => words);
  const short = ({ name, points }: Curve): Curve => {
    const every = Math.ceil(points.length / MOST_POINTS);
    return { name, points: points.filter((_, i) => (points.length - 1 - i) % every === 0) };
  };
  const { samples, neighbours, runs, ...others } = comparison;
  const shortRuns = runs.map((run) => ({ ...run, scores: run.scores.map(short), terms: run.terms.map(short) }));
  const value = { kind: 'report', format: 1, ...others, runs: shortRuns, samples: plain(samples), neighbours: plain(neighbours) };
  return `${JSON.stringify(value, null, 2)}\n`;
}
