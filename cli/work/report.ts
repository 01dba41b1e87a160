/** @file Compares runs: gathers what their folders hold, draws samples where they are asked for, and writes the report as HTML, JSON and Markdown. */
import { resolve } from 'node:path';
import { writeAtomic } from '../../engine/io/atomic.ts';
import { InputError } from '../../engine/io/errors.ts';
import { ortFacts } from '../../engine/run/ort.ts';
import { type Comparison, comparisonJson, groupsOf, type Row } from '../../eval/report/comparison.ts';
import { renderComparison } from '../../eval/report/comparison-html.ts';
import { comparisonMarkdown } from '../../eval/report/comparison-markdown.ts';
import { bestRows, formatValue, mainMetric, metricOf } from '../../eval/report/metrics.ts';
import { packageVersion } from '../version.ts';
import { type RunFolder, readRun, rowsOf, runOf } from './report-run.ts';
import { neighboursOf, type Pictured, type SamplingRequest, samplesOf } from './report-samples.ts';

/** Errors: none of the folders is a run. Those that are not are named in the comparison. */
export async function readRuns(
  paths: readonly string[],
): Promise<{ readonly runs: readonly RunFolder[]; readonly problems: readonly string[] }> {
  const names = uniqueNames(paths);
  const runs: RunFolder[] = [];
  const problems: string[] = [];
  for (const [i, path] of paths.entries()) {
    try {
      const run = await readRun(path, names[i]!);
      runs.push(run);
      problems.push(...run.problems);
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      problems.push(error.message);
    }
  }
  if (runs.length === 0) throw new InputError(`report: there is nothing to show: ${problems.join('; ')}`);
  return { runs, problems };
}

/** The last parts of the paths, as many as tell them apart. Errors: one folder is named twice. */
export function uniqueNames(paths: readonly string[]): readonly string[] {
  const whole = paths.map((path) => resolve(path));
  const twice = whole.find((path, i) => whole.indexOf(path) !== i);
  if (twice !== undefined) throw new InputError(`report: ${paths[whole.indexOf(twice)]} is given twice; name every run once`);
  const parts = whole.map((path) => path.split(/[\\/]+/).filter(Boolean));
  const last = (i: number, count: number): string => parts[i]!.slice(-count).join('/') || '/';
  return parts.map((_, i) => {
    const enough = (count: number): boolean => parts.every((_, k) => k === i || last(k, count) !== last(i, count));
    let count = 1;
    while (!enough(count) && count < parts[i]!.length) count++;
    return last(i, count);
  });
}

/** Everything about the runs; pictures where samples are asked for. Errors as in `readRuns`. */
export async function compareRuns(paths: readonly string[], sampling: SamplingRequest): Promise<Comparison> {
  const { runs, problems } = await readRuns(paths);
  const pictured = { samples: [] as Pictured[], neighbours: [] as Pictured[] };
  if (sampling.n > 0)
    for (const run of runs) {
      pictured.samples.push(await samplesOf(run, sampling));
      pictured.neighbours.push(await neighboursOf(run, sampling));
    }
  const all = [...pictured.samples, ...pictured.neighbours];
  return comparisonOf(runs, {
    problems: [...problems, ...all.flatMap(({ problem }) => problem ?? [])],
    samples: pictured.samples.flatMap(({ picture }) => picture ?? []),
    neighbours: pictured.neighbours.flatMap(({ picture }) => picture ?? []),
  });
}

/** The comparison of runs that were read. */
export function comparisonOf(
  runs: readonly RunFolder[],
  { problems = [], samples = [], neighbours = [] }: Partial<Pick<Comparison, 'problems' | 'samples' | 'neighbours'>> = {},
): Comparison {
  const rows = distinctRows(runs.flatMap(rowsOf));
  const bare = runs.filter(({ evaluations }) => evaluations.length === 0).map(({ name }) => name);
  return {
    title: runs.length === 1 ? runs[0]!.name : `Comparison of ${runs.length} runs`,
    summary: [...summaryOf(rows), ...(bare.length > 0 ? [`Without stored evaluations, so with curves only: ${bare.join(', ')}.`] : [])],
    problems,
    rows,
    runs: runs.map(runOf),
    samples,
    neighbours,
    facts: factsOf(),
  };
}

/** Versions that numbers depend on. */
export const factsOf = (): Readonly<Record<string, string>> => ({
  onestep: packageVersion(),
  'ONNX Runtime': ortFacts().version,
  Node: process.versions.node,
});

/** References that several evaluations bring stand once. */
export function distinctRows(rows: readonly Row[]): readonly Row[] {
  const seen = new Set<string>();
  return rows.filter(({ kind, name, metrics, reference, extractor, n }) => {
    if (kind === 'model') return true;
    const rounded = Object.entries(metrics).map(([metric, { value }]) => [metric, value.toPrecision(6)]); // other processors round otherwise
    const key = JSON.stringify([kind, name, rounded, reference, extractor?.sha256, n]);
    return seen.has(key) ? false : seen.add(key);
  });
}

/** Who is best by the main metric of each group that has a choice. */
export function summaryOf(rows: readonly Row[]): readonly string[] {
  const groups = groupsOf(rows);
  return groups.flatMap(({ title, rows: own }) => {
    const name = mainMetric(own);
    const best = name === null ? [] : bestRows(own, name);
    if (name === null || best.length !== 1) return [];
    const [{ name: winner, metrics, nfe }] = best as [Row];
    const cost = nfe === null ? '' : ` in ${nfe} network evaluation${nfe === 1 ? '' : 's'} a sample`;
    return [`Smallest ${metricOf(name).label} ${title}: ${winner}, ${formatValue(metrics[name]!.value)}${cost}.`];
  });
}

/** The files that a report is made of. */
export interface Written {
  readonly html: string;
  readonly json: string | null;
  readonly markdown: string | null;
}

/** Names of the files beside a page: report.html, report.json, report.md. */
export function filesOf(out: string, { json, markdown }: { readonly json: boolean; readonly markdown: boolean }): Written {
  const stem = out.replace(/\.html?$/i, '');
  return { html: out, json: json ? `${stem}.json` : null, markdown: markdown ? `${stem}.md` : null };
}

/** Writes the report, each file whole or not at all. */
export async function writeReport(comparison: Comparison, { html, json, markdown }: Written): Promise<void> {
  if (json) await writeAtomic(json, comparisonJson(comparison));
  if (markdown) await writeAtomic(markdown, comparisonMarkdown(comparison));
  await writeAtomic(html, renderComparison(comparison));
}
