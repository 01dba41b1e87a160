/** @file Rows of results as tables in Markdown. */
import { bestOf } from './jobs.ts';
import type { Row } from './record.ts';

const fixed = (value: number | null | undefined, digits: number): string =>
  value === null || value === undefined ? '' : Number.isFinite(value) ? value.toFixed(digits) : '∞';
const thousands = (value: number): string => Math.round(value).toLocaleString('en-US');

const COLUMNS = [
  '',
  'to held-out',
  'to training',
  'precision',
  'recall',
  'class accuracy',
  'network evaluations',
  'images of training',
  'core-seconds of training',
  'parameters',
] as const;

const linked = ({ title, reference }: Row): string => (reference ? `[${title}](https://arxiv.org/abs/${reference})` : title);

function cells(row: Row): string[] {
  const { scores, evaluations, training } = row;
  return [
    linked(row),
    fixed(scores?.heldOut, 3),
    fixed(scores?.training, 3),
    fixed(scores?.precision, 3),
    fixed(scores?.recall, 3),
    fixed(scores?.classAccuracy, 3),
    evaluations === null ? '' : String(evaluations),
    training ? thousands(training.images) : '',
    training ? thousands(training.cpuSeconds) : '',
    training ? `${(training.parameters / 1e6).toFixed(2)} M` : '',
  ];
}

const line = (words: readonly string[]): string => `| ${words.join(' | ')} |`;

/** One cell that says why, the others empty. A bar would end the cell. */
const failedLine = (row: Row): string =>
  line([linked(row), `failed: ${row.failure!.replaceAll('|', '/')}`, ...COLUMNS.slice(2).map(() => '')]);

/** The same methods in few columns, for a page about them. */
export function summaryOf(methods: readonly Row[]): string {
  const columns = ['method', 'to held-out', 'recall', 'class accuracy', 'network evaluations', 'core-seconds'];
  const summary = ({ title, scores, evaluations, training }: Row): string[] => [
    `\`${title}\``,
    fixed(scores?.heldOut, 2),
    fixed(scores?.recall, 2),
    fixed(scores?.classAccuracy, 2),
    evaluations === null ? '' : String(evaluations),
    training ? thousands(training.cpuSeconds) : '',
  ];
  return [line(columns), line(columns.map(() => '---')), ...bestOf(methods).map((row) => line(summary(row)))].join('\n');
}

/** Real images, the teacher from many evaluations to few, then methods from the nearest to the held-out images to the farthest, failed ones last. */
export function tableOf(references: readonly Row[], methods: readonly Row[]): string {
  const ordered = references.toSorted((a, b) => (a.evaluations === null ? -1 : b.evaluations === null ? 1 : b.evaluations - a.evaluations));
  return [
    line(COLUMNS),
    line(COLUMNS.map(() => '---')),
    ...ordered.map((row) => line(cells(row))),
    ...bestOf(methods).map((row) => line(cells(row))),
    ...methods.filter(({ failure }) => failure !== null).map(failedLine),
  ].join('\n');
}
