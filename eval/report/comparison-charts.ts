/** @file The charts of a comparison: what quality costs, and what was logged on the way. */
import { renderChart } from './chart.ts';
import { type Comparison, type Curve, type Group, groupsOf, type Run } from './comparison.ts';
import type { Point } from './curve.ts';
import type { Level } from './frame.ts';
import { mainMetric, metricNames, metricOf } from './metrics.ts';
import { type Dot, renderScatter } from './scatter.ts';
import type { Switchable } from './switchable.ts';

/** Two of them stand side by side on a wide page. */
const WIDTH = 460;
const COSTS = [
  { key: 'nfe', x: 'network evaluations a sample', noun: 'network evaluations' },
  { key: 'secondsPerImage', x: 'seconds an image', noun: 'seconds' },
] as const;

/** Distance against network evaluations and against seconds, for each group of rows that compare with each other. */
export function costCharts({ rows }: Comparison): readonly Switchable[] {
  const groups = groupsOf(rows);
  return groups.flatMap((group, g) =>
    COSTS.flatMap(({ key, x, noun }) => costChart(group, key, { x, noun, id: `cost-${g}-${key}` }, groups.length > 1)),
  );
}

function costChart(
  { title, rows }: Group,
  key: (typeof COSTS)[number]['key'],
  { x, noun, id }: { readonly x: string; readonly noun: string; readonly id: string },
  several: boolean,
): readonly Switchable[] {
  const metric = mainMetric(rows);
  if (metric === null) return [];
  const series = [...new Set(rows.map((row) => row.series))].map((name) => ({
    name,
    dots: rows.flatMap((row): Dot[] => {
      const [cost, quality] = [row[key], row.metrics[metric]];
      if (row.series !== name || row.kind === 'real' || cost === null || !quality) return [];
      return [{ x: cost, y: quality.value, label: row.label, ...ends(quality) }];
    }),
  }));
  const filled = series.filter(({ dots }) => dots.length > 0);
  if (filled.length === 0) return [];
  const { label } = metricOf(metric);
  const words = { title: `${capital(label)} against ${noun}${several ? `, ${title}` : ''}`, x, y: label, width: WIDTH, titled: true };
  return [
    {
      id,
      title: words.title,
      x: { label: `log ${noun}`, logarithmic: true },
      y: { label: 'log distance', logarithmic: isWide(filled.flatMap(({ dots }) => dots.map(({ y }) => y))) },
      note: 'Filled and joined: the front, which no other one beats in both. Bars are intervals.',
      draw: (axes) => renderScatter({ ...words, ...axes, series: filled, lines: floorLevels(rows, metric) }),
    },
  ];
}
const ends = ({ low, high }: { readonly low?: number; readonly high?: number }): { low?: number; high?: number } => ({
  ...(low === undefined ? {} : { low }),
  ...(high === undefined ? {} : { high }),
});

const capital = (text: string): string => text.slice(0, 1).toUpperCase() + text.slice(1);

/** Values of several orders of size, which a linear axis would press together. */
const isWide = (values: readonly number[]): boolean => Math.min(...values) > 0 && Math.max(...values) > 8 * Math.min(...values);

const floorLevels = (rows: Group['rows'], metric: string): readonly Level[] =>
  rows.flatMap(({ kind, metrics }) => (kind === 'real' && metrics[metric] ? [{ name: 'floor', y: metrics[metric].value }] : []));

const AXES = [
  { key: 'images', x: 'images seen', noun: 'images' },
  { key: 'seconds', x: 'seconds of training, evaluations included', noun: 'seconds' },
] as const;

/** Every number of the evaluations on the way, of all runs together, over images and over seconds. */
export function scoreCharts({ runs, rows }: Comparison): readonly Switchable[] {
  const names = metricNames(runs.map(({ scores }) => ({ metrics: Object.fromEntries(scores.map(({ name }) => [name, { value: 0 }])) })));
  return names.flatMap((name, i) => {
    const { label, better } = metricOf(name);
    const having = runs.flatMap((run) => run.scores.filter((curve) => curve.name === name).map((curve) => ({ name: run.name, curve })));
    const floors = rows.flatMap(({ kind, metrics }) => (kind === 'real' && metrics[name] ? [metrics[name].value] : []));
    const lines = [...new Set(floors)].map((y) => ({ name: 'floor', y }));
    return AXES.map((axis) =>
      curveChart(`score-${i}-${axis.key}`, `${capital(label)} over ${axis.noun}`, { ...axis, y: label }, having, {
        logY: better === 'lower' && having.every(({ curve }) => curve.points.every(({ value }) => value > 0)),
        lines,
      }),
    );
  });
}

/** The terms of a run's losses by phase, over images. @param id of the run on the page */
export function termCharts({ terms }: Run, id: string): readonly Switchable[] {
  const phases = [...new Set(terms.map(({ name }) => phaseOf(name)))];
  return phases.map((phase, i) => {
    const curves = terms.filter(({ name }) => phaseOf(name) === phase);
    const having = curves.map((curve) => ({ name: curve.name.slice(phase.length + 1) || curve.name, curve }));
    return curveChart(`${id}-terms-${i}`, `Terms of ${phase}`, { ...AXES[0], y: 'value' }, having, { logY: false, lines: [] });
  });
}
const phaseOf = (name: string): string => name.split('/')[0]!;

function curveChart(
  id: string,
  title: string,
  { key, x, y, noun }: { readonly key: 'images' | 'seconds'; readonly x: string; readonly y: string; readonly noun: string },
  curves: readonly { readonly name: string; readonly curve: Curve }[],
  { logY, lines }: { readonly logY: boolean; readonly lines: readonly Level[] },
): Switchable {
  const series = curves.map(({ name, curve }) => ({ name, points: curve.points.map((point): Point => [point[key], point.value]) }));
  return {
    id,
    title,
    x: { label: `log ${noun}`, logarithmic: false },
    y: { label: 'log values', logarithmic: logY },
    draw: (axes) => renderChart({ title, titled: true, x, y, width: WIDTH, series, lines, ...axes }),
  };
}
