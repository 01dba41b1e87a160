/** @file Draws tables, curves and sample grids from the rows that are kept; needs no run and no model. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { decodeRaw, grid } from '../../data/image.ts';
import { writeAtomic } from '../../engine/io/atomic.ts';
import { evaluatedAs, frechetName } from '../../eval/evaluation.ts';
import { renderPanels } from './curves.ts';
import { bestOf } from './jobs.ts';
import { type CurvePoint, fileOf, type Row, readRows, type Stage } from './record.ts';
import type { Settings } from './settings.ts';
import { summaryOf, tableOf } from './table.ts';

interface Rows {
  readonly reference: readonly Row[];
  readonly sweep: readonly Row[];
  readonly long: readonly Row[];
}

/**
 * Writes README.md, the curves and the grids into the folder of results.
 * @param methods names of all methods, so that the page can say which have no row yet
 */
export async function writeReport(folder: string, settings: Settings, methods: readonly string[]): Promise<void> {
  const rows: Rows = {
    reference: await readRows(folder, 'reference'),
    sweep: await readRows(folder, 'sweep'),
    long: await readRows(folder, 'long'),
  };
  const made: string[] = [];
  for (const stage of ['sweep', 'long'] as const) {
    if (rows[stage].length === 0) continue;
    await writeAtomic(join(folder, `${stage}-images.svg`), curves(settings, rows, stage, 'images'));
    await writeAtomic(join(folder, `${stage}-seconds.svg`), curves(settings, rows, stage, 'seconds'));
    const sheet = await sheetOf(folder, rows, stage);
    if (sheet) await writeAtomic(join(folder, `${stage}-samples.png`), sheet);
    made.push(stage);
  }
  await writeAtomic(join(folder, 'README.md'), `${pageOf(settings, rows, made, methods).join('\n\n')}\n`);
}

/** What stands around the table of `writeSummary`. */
const [BEGIN, END] = ['<!-- measured: npm run results -- report -->', '<!-- end -->'];

/** Puts the table of the sweep into a page that leaves a place for it. Errors: a page without one. */
export async function writeSummary(page: string, folder: string): Promise<void> {
  const text = await readFile(page, 'utf8');
  const [begin, end] = [text.indexOf(BEGIN), text.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error(`${page}: has no lines ${BEGIN} and ${END} to put the table between`);
  const table = summaryOf(await readRows(folder, 'sweep'));
  await writeAtomic(page, `${text.slice(0, begin + BEGIN.length)}\n\n${table}\n\n${text.slice(end)}`);
}

const AXES = {
  images: { x: 'images seen', of: ({ images }: CurvePoint) => images },
  seconds: { x: 'core-seconds of training', of: ({ cpuSeconds }: CurvePoint) => cpuSeconds },
} as const;

function curves({ pointSamples }: Settings, rows: Rows, stage: 'sweep' | 'long', axis: keyof typeof AXES): string {
  const { x, of } = AXES[axis];
  const levels = rows.reference.flatMap(({ few, title, id }) =>
    few ? [{ name: id === 'real' ? 'real images' : title, y: few.heldOut }] : [],
  );
  return renderPanels({
    title: `Distance to held-out images and ${x}`,
    x,
    y: `distance on ${pointSamples} samples`,
    panels: bestOf(rows[stage]).map(({ title, training }) => ({
      name: title,
      points: (training?.curve ?? []).map((point) => [of(point), point.heldOut] as const),
    })),
    levels,
  });
}

/** Real images, the teacher with most evaluations and the methods from the best on; from the same noise, a class in each column. */
async function sheetOf(folder: string, { reference, ...rows }: Rows, stage: 'sweep' | 'long'): Promise<Uint8Array | null> {
  const real = reference.filter(({ id }) => id === 'real');
  const teacher = reference
    .filter(({ evaluations }) => evaluations !== null)
    .toSorted((a, b) => b.evaluations! - a.evaluations!)
    .slice(0, 1);
  const shown = [...real, ...teacher, ...bestOf(rows[stage])].filter((row) => existsSync(fileOf(folder, row, 'png')));
  if (shown.length === 0) return null;
  const strips = await Promise.all(shown.map((row) => decodeRaw(fileOf(folder, row, 'png'), 1)));
  const { width, height: size } = strips[0]!;
  const columns = width / size;
  const images = Uint8Array.from(
    strips.flatMap(({ data }) => Array.from({ length: columns }, (_, c) => cut(data, c, columns, size)).flat()),
  );
  return grid(images, { shape: [shown.length * columns, 1, size, size], columns, scale: 2, labels: shown.map(({ title }) => title) });
}

/** One image out of a strip. */
const cut = (strip: Uint8Array, column: number, columns: number, size: number): number[] =>
  Array.from({ length: size * size }, (_, i) => strip[(Math.floor(i / size) * columns + column) * size + (i % size)]!);

function pageOf(settings: Settings, rows: Rows, made: readonly string[], methods: readonly string[]): string[] {
  const { data, samples, images, longImages, seed } = settings;
  const metric = frechetName(evaluatedAs(data)!);
  const chapters: Readonly<Record<Exclude<Stage, 'reference'>, readonly string[]>> = {
    sweep: [
      '## All methods, the same small student and the same budget',
      `Every method trains a student of the same size, from the same weights, on about ${images.toLocaleString('en-US')} images. Options are the ones that the method recommends and those of \`configs/results.json\`; nothing was searched for, so that a row says how a method does out of the box at this budget, not what it can reach.`,
    ],
    long: [
      "## The best ones, with a student of the teacher's size",
      `The best of the table above go on for about ${longImages.toLocaleString('en-US')} images from the teacher's own weights; the best of these with a second seed.`,
    ],
  };
  return [
    `# Methods on ${data}`,
    `Written by \`npm run results\` from the measurements beside this page. Distances are the ${metric}, on ${samples.toLocaleString('en-US')} samples from seed ${seed}, to all held-out and to all training images; they are no FID. Precision and recall are those of Kynkäänniemi et al. 2019 with 3 neighbours, in the same features, against 5,000 training images. Real images stand in the table as if they were samples: held-out ones against the training images, training ones against the held-out images; no generator can be expected to do better. Seconds are those of training alone, on ${settings.threads || 'all'} threads.`,
    ...made.flatMap((stage) => [
      ...chapters[stage as 'sweep' | 'long'],
      ...figures(stage as 'sweep' | 'long', rows, stage === 'sweep' ? rows.reference : []),
      ...(stage === 'sweep' ? unmeasured(rows.sweep, methods) : []),
    ]),
  ];
}

function unmeasured(sweep: readonly Row[], methods: readonly string[]): string[] {
  const missing = methods.filter((name) => !sweep.some(({ id }) => id === name));
  return missing.length > 0 ? [`Not measured yet: ${missing.join(', ')}.`] : [];
}

const figures = (stage: 'sweep' | 'long', rows: Rows, references: readonly Row[]): string[] => [
  tableOf(references, rows[stage]),
  `![Distance against images seen](${stage}-images.svg)`,
  `![Distance against core-seconds of training](${stage}-seconds.svg)`,
  'Samples of every class from the same noise; the top row is real, the second the teacher:',
  `![Samples](${stage}-samples.png)`,
];
