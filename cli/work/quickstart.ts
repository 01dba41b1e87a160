/** @file The main job: distils the bundled digit teacher into a one-step student, exports it, measures both and writes a report. Prints nothing. */

import { readFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { artifactPath } from '../../data/artifacts.ts';
import { toBytes } from '../../data/bytes.ts';
import type { Dataset, Split } from '../../data/dataset.ts';
import { grid } from '../../data/image.ts';
import { writeAtomic } from '../../engine/io/atomic.ts';
import { InputError } from '../../engine/io/errors.ts';
import { readSafetensors, toFloat32 } from '../../engine/io/safetensors.ts';
import { ortFacts } from '../../engine/run/ort.ts';
import { readLog } from '../../engine/train/logs.ts';
import { frechetName, openEvaluation, type Scores } from '../../eval/evaluation.ts';
import type { Chart } from '../../eval/report/chart.ts';
import { renderReport } from '../../eval/report/html.ts';
import { deviceNamed } from './device.ts';
import { exportStudent } from './exporting.ts';
import { openGenerator } from './generator.ts';
import type { Model } from './model.ts';
import type { Plan, RunOptions } from './plan.ts';
import { evenLabels } from './scores.ts';
import { type RunEvent, type RunResult, runTraining } from './training.ts';

export interface QuickstartRequest {
  readonly plan: Plan;
  readonly folder: string;
  readonly split: Split;
  readonly teacher: Model;
  readonly resume: boolean;
  /** Samples of the final evaluation. */
  readonly samples: number;
  /** How the run is repeated, for the report. */
  readonly command: string;
  readonly signal?: AbortSignal;
  onEvent?(event: RunEvent): void;
}

/** What `metrics.json` holds. */
export interface Metrics {
  readonly metric: string;
  readonly samples: number;
  readonly seed: number;
  readonly steps: number;
  readonly imagesSeen: number;
  readonly floor: number;
  readonly teacher: Side;
  readonly student: Side & { readonly nearest: { readonly median: number; readonly heldOutMedian: number; readonly close: number } };
  /** Student's distance over teacher's. */
  readonly ratio: { readonly heldOut: number; readonly training: number };
  readonly trainingSeconds: number;
  readonly totalSeconds: number;
  readonly extractor: string;
}
export interface Side {
  readonly frechetHeldOut: number;
  readonly frechetTraining: number;
  readonly classAccuracy: number;
  readonly nfe: number;
  readonly imagesPerSecond: number;
}

/** Images and pace of one model. */
interface Drawn {
  readonly images: Uint8Array;
  readonly labels: Int32Array;
  readonly nfe: number;
  readonly imagesPerSecond: number;
}

async function drawFrom(
  model: Model,
  n: number,
  seed: number,
  { threads, device }: Pick<RunOptions, 'threads' | 'device'>,
): Promise<Drawn> {
  const generator = openGenerator(model, { threads, device: deviceNamed(device) });
  const labels = evenLabels(n, model.card.sample.classes)!;
  await generator.generate({ labels, n: Math.min(n, 100), seed }); // compiles
  const start = performance.now();
  const images = toBytes(await generator.generate({ labels, n, seed }));
  const imagesPerSecond = n / ((performance.now() - start) / 1000);
  await generator.close();
  return { images, labels, nfe: generator.nfe, imagesPerSecond };
}

/** Features of 5,000 samples of the bundled teacher, drawn once: so nobody waits for them. */
async function teacherFeatures(): Promise<{
  readonly features: Float32Array;
  readonly n: number;
  readonly classAccuracy: number;
  readonly nfe: number;
}> {
  const path = artifactPath('digit-teacher-features.safetensors');
  const { tensors, metadata } = await readSafetensors(path);
  const features = tensors.get('features');
  if (!features) throw new InputError(`${path}: holds no tensor named features; remake it as artifacts/README.md says`);
  return {
    features: toFloat32(features),
    n: features.shape[0]!,
    classAccuracy: Number(metadata['classAccuracy']),
    nfe: Number(metadata['nfe']),
  };
}

/** Runs the whole job. Returns null where the signal stopped it; the run can then be resumed. */
export async function quickstart(request: QuickstartRequest): Promise<Metrics | null> {
  const { folder, plan, split, teacher } = request;
  const start = performance.now();
  const result = await runTraining({
    plan,
    command: 'distill',
    folder,
    split,
    teacher,
    resume: request.resume,
    ...(request.signal ? { signal: request.signal } : {}),
    ...(request.onEvent ? { onEvent: request.onEvent } : {}),
  });
  if (!result.finished) return null;
  const note = (text: string): void => request.onEvent?.({ kind: 'note', text });
  await exportStudent(result.model, join(folder, 'student.onnx'));
  note(`measuring: ${request.samples} samples of the student`);
  const evaluation = await openEvaluation('digits');
  try {
    const { seed } = plan.run;
    const student = await drawFrom(result.model, request.samples, seed, plan.run);
    const scores = await evaluation.evaluate({ images: student.images, n: request.samples, labels: student.labels });
    const stored = await teacherFeatures();
    const teacherDistance = await evaluation.frechet(stored.features, stored.n);
    const shown = await drawFrom(teacher, COLUMNS, seed, plan.run);
    const metrics = metricsOf(
      request,
      { ...result, seconds: await secondsOf(folder) },
      student,
      scores,
      shown,
      { ...stored, ...teacherDistance },
      (performance.now() - start) / 1000,
    );
    const picture = await samplesPicture(split.heldOut, shown, student);
    await writeAtomic(join(folder, 'samples.png'), picture);
    await writeAtomic(join(folder, 'metrics.json'), `${JSON.stringify(metrics, null, 2)}\n`);
    await writeAtomic(
      join(folder, 'report.html'),
      await reportOf(request, metrics, picture, await neighboursPicture(split.train, student, scores)),
    );
    return metrics;
  } finally {
    await evaluation.close();
  }
}

/** Seconds of training, those before a resumed run went on included. */
const secondsOf = async (folder: string): Promise<number> =>
  (await readLog(folder)).reduce((seconds, line) => ('seconds' in line ? line.seconds : seconds), 0);

function metricsOf(
  { plan, samples }: QuickstartRequest,
  result: RunResult,
  student: Drawn,
  scores: Scores,
  shown: Drawn,
  teacher: { readonly heldOut: number; readonly training: number; readonly classAccuracy: number },
  totalSeconds: number,
): Metrics {
  return {
    metric: frechetName('digits'),
    samples,
    seed: plan.run.seed,
    steps: result.step,
    imagesSeen: result.model.card.nimg,
    floor: scores.floor,
    teacher: {
      frechetHeldOut: teacher.heldOut,
      frechetTraining: teacher.training,
      classAccuracy: teacher.classAccuracy,
      nfe: shown.nfe,
      imagesPerSecond: shown.imagesPerSecond,
    },
    student: {
      frechetHeldOut: scores.frechet.heldOut,
      frechetTraining: scores.frechet.training,
      classAccuracy: scores.classAccuracy!,
      nfe: student.nfe,
      imagesPerSecond: student.imagesPerSecond,
      nearest: { median: scores.nearest!.median, heldOutMedian: scores.nearest!.heldOut.median, close: scores.nearest!.close },
    },
    ratio: { heldOut: scores.frechet.heldOut / teacher.heldOut, training: scores.frechet.training / teacher.training },
    trainingSeconds: result.seconds,
    totalSeconds,
    extractor: scores.checksum,
  };
}

const COLUMNS = 10;
const imageSize = (d: Dataset): number => d.channels * d.height * d.width;

/** Rows of real digits, the teacher's and the student's: one class and, for the models, one noise per column. */
async function samplesPicture(real: Dataset, teacher: Drawn, student: Drawn): Promise<Uint8Array> {
  const size = imageSize(real);
  const rows = new Uint8Array(3 * COLUMNS * size);
  const used = new Map<number, number>();
  for (let i = 0; i < COLUMNS; i++) {
    const nth = used.get(teacher.labels[i]!) ?? 0;
    used.set(teacher.labels[i]!, nth + 1);
    const matches = [...real.labels!.keys()].filter((k) => real.labels![k] === teacher.labels[i]);
    rows.set(real.images.subarray(matches[nth]! * size, (matches[nth]! + 1) * size), i * size);
  }
  rows.set(teacher.images.subarray(0, COLUMNS * size), COLUMNS * size);
  rows.set(student.images.subarray(0, COLUMNS * size), 2 * COLUMNS * size);
  const labels = ['real', `teacher (${teacher.nfe})`, 'student (1)'];
  return grid(rows, { shape: [3 * COLUMNS, real.channels, real.height, real.width], columns: COLUMNS, scale: 2, gap: 2, labels });
}

/** Samples of the student above their nearest training digits. */
async function neighboursPicture(train: Dataset, student: Drawn, { nearest: found }: Scores): Promise<Uint8Array> {
  const nearest = found!;
  const size = imageSize(train);
  const n = Math.min(COLUMNS, nearest.index.length);
  const rows = new Uint8Array(2 * n * size);
  rows.set(student.images.subarray(0, n * size), 0);
  for (let i = 0; i < n; i++) rows.set(train.images.subarray(nearest.index[i]! * size, (nearest.index[i]! + 1) * size), (n + i) * size);
  return grid(rows, {
    shape: [2 * n, train.channels, train.height, train.width],
    columns: n,
    scale: 2,
    gap: 2,
    labels: ['student', 'nearest in training'],
  });
}

const fixed = (v: number, digits = 3): string => v.toFixed(digits);
const rowOf = (name: string, side: Side): string[] => [
  name,
  fixed(side.frechetHeldOut),
  fixed(side.frechetTraining),
  fixed(side.classAccuracy),
  String(side.nfe),
  side.imagesPerSecond.toFixed(side.imagesPerSecond < 10 ? 1 : 0),
];

/** Curves of the logged terms and of the distance. */
async function chartsOf(folder: string, metrics: Metrics): Promise<Chart[]> {
  const lines = await readLog(folder);
  const series = (pick: (line: (typeof lines)[number]) => Readonly<Record<string, number | null>>, wanted: (name: string) => boolean) => {
    const found = new Map<string, [number, number][]>();
    for (const line of lines)
      for (const [name, v] of Object.entries(pick(line)))
        if (v !== null && Number.isFinite(v) && wanted(name)) found.set(name, [...(found.get(name) ?? []), [line.step, v]]);
    return [...found].map(([name, points]) => ({ name, points }));
  };
  const terms = (line: (typeof lines)[number]) => ('terms' in line ? line.terms : {});
  const scores = (line: (typeof lines)[number]) => ('scores' in line ? line.scores : {});
  const named: Record<string, string> = { frechetHeldOut: 'to held-out digits', frechetTraining: 'to training digits' };
  const distance = series(scores, (name) => name in named).map((s) => ({ ...s, name: named[s.name]! }));
  const loss = series(terms, (name) => !name.endsWith('gradientNorm'));
  return [
    {
      title: `${frechetName('digits')} of the student`,
      x: 'step',
      y: 'distance',
      logY: true,
      series: distance,
      lines: [
        { name: 'teacher, held-out', y: metrics.teacher.frechetHeldOut },
        { name: 'floor (real against real)', y: metrics.floor },
      ],
    },
    { title: 'Terms of the student', x: 'step', y: 'loss', series: loss.filter((s) => s.name.startsWith('student/')) },
    { title: 'Terms of the critic', x: 'step', y: 'loss', series: loss.filter((s) => !s.name.startsWith('student/')) },
  ];
}

async function reportOf(request: QuickstartRequest, metrics: Metrics, samples: Uint8Array, neighbours: Uint8Array): Promise<string> {
  const { teacher, student } = metrics;
  const speed = student.imagesPerSecond / teacher.imagesPerSecond;
  return renderReport({
    title: 'A one-step student of the digit teacher',
    summary: [
      `The student makes a digit in one network evaluation, the teacher in ${teacher.nfe}: ${speed.toFixed(0)} times as many images a second on this machine.`,
      `${frechetName('digits')} to held-out digits: student ${fixed(student.frechetHeldOut)}, teacher ${fixed(teacher.frechetHeldOut)} (ratio ${fixed(metrics.ratio.heldOut, 2)}); real digits themselves ${fixed(metrics.floor)}.`,
      `The class that was asked for is seen in ${(100 * student.classAccuracy).toFixed(1)} % of the student's digits and ${(100 * teacher.classAccuracy).toFixed(1)} % of the teacher's.`,
    ],
    table: {
      columns: ['', 'held-out', 'training', 'class accuracy', 'evaluations', 'images/s'],
      rows: [rowOf('teacher', teacher), rowOf('student', student), ['real (floor)', fixed(metrics.floor), '–', '–', '–', '–']],
      note: `Distances: ${metrics.metric}, ${metrics.samples} samples; it is not FID, which takes the features of another network. Floor: 8,000 training digits against 2,000 held-out ones.`,
    },
    charts: await chartsOf(request.folder, metrics),
    figures: [
      {
        title: 'Samples',
        png: samples,
        alt: 'Rows: real digits, teacher, student',
        note: 'In brackets the network evaluations per image. One class per column; teacher and student start from the same noise in each column. Chosen by seed, not by hand.',
      },
      {
        title: 'Nearest training digits',
        png: neighbours,
        alt: 'Student samples above their nearest training digits',
        note: `Median distance to the nearest training digit ${fixed(student.nearest.median, 2)}, of held-out digits ${fixed(student.nearest.heldOutMedian, 2)}: closer would mean copying.`,
      },
    ],
    reproduce: [request.command],
    settings: request.plan.flat,
    facts: {
      onestep: await versionOf(),
      'ONNX Runtime': ortFacts().version,
      Node: process.versions.node,
      cores: String(cpus().length),
      'training time': `${metrics.trainingSeconds.toFixed(0)} s`,
      'images seen': String(metrics.imagesSeen),
      seed: String(metrics.seed),
      'feature extractor': `digit classifier, SHA-256 ${metrics.extractor.slice(0, 16)}…`,
    },
  });
}
const versionOf = async (): Promise<string> =>
  (JSON.parse(await readFile(join(artifactPath('..'), 'package.json'), 'utf8')) as { version: string }).version;
