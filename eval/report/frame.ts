/** @file What charts have in common: where values go on the plane, axes, levels, a legend, colours and the measure of text. */
import { drawable, type Point } from './curve.ts';
import { escapeText } from './escape.ts';
import { linearScale, logScale, type Scale } from './scale.ts';

/** Axes of a chart: their names with units, and which of them are logarithmic. */
export interface Axes {
  readonly title: string;
  readonly x: string;
  readonly y: string;
  readonly logX?: boolean;
  readonly logY?: boolean;
  /** Width of the picture in its own units, in which text is 12 high; default 760. */
  readonly width?: number;
  /** The title stands beside the picture already; it is then said to screen readers only. */
  readonly titled?: boolean;
  /** Levels to compare with, drawn across: the teacher's distance, the floor. */
  readonly lines?: readonly Level[];
}
export interface Level {
  readonly name: string;
  readonly y: number;
}

export interface Frame {
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
  readonly x: Scale;
  readonly y: Scale;
}

const DEFAULT_WIDTH = 760;
export const widthOf = ({ width = DEFAULT_WIDTH }: Pick<Axes, 'width'>): number => width;
/** Height of the plot itself. */
const plotHeight = (width: number): number => Math.min(280, Math.round(0.5 * width));
const inset = 2;
const colours = 6;

// Hues after Okabe and Ito, told apart with any colour vision; lighter on a dark ground.
const style = `
.chart{--ink:#1c1f23;--soft:#5c646e;--grid:#e3e6ea;--c0:#0b63b0;--c1:#c8500a;--c2:#0a7f5f;--c3:#a53a86;--c4:#8a6a00;--c5:#3d8fc9;font:12px system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif;font-variant-numeric:tabular-nums}
@media (prefers-color-scheme:dark){.chart{--ink:#e8eaed;--soft:#a0a8b2;--grid:#2f343b;--c0:#6cb2f0;--c1:#f29a5c;--c2:#4cc9a2;--c3:#e08ac4;--c4:#dfc04f;--c5:#a9d8f5}}
@media print{.chart{--ink:#1c1f23;--soft:#5c646e;--grid:#e3e6ea;--c0:#0b63b0;--c1:#c8500a;--c2:#0a7f5f;--c3:#a53a86;--c4:#8a6a00;--c5:#3d8fc9}}
.chart text{fill:var(--soft)}.chart .title{fill:var(--ink);font-size:15px;font-weight:600}.chart .name{fill:var(--ink)}
.chart .halo{paint-order:stroke;stroke:var(--ground,transparent);stroke-width:4px;stroke-linejoin:round}
.chart .grid{stroke:var(--grid)}.chart .axis{stroke:var(--soft)}.chart .level{stroke:var(--soft);stroke-dasharray:5 4}
.chart .curve{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}.chart .dense{stroke-width:1.2}
.chart .front{fill:none;stroke:var(--soft);stroke-width:1.5}.chart .whisker{stroke-width:1.5}
`.trim();

/** What is drawn between the axes, in a frame that holds all points. */
export type Body = (frame: Frame) => readonly string[];

/**
 * A standalone SVG that fills the width it is given and follows the reader's light or dark setting. A chart without a point that can be drawn says so.
 * @param names of the series, for the legend
 */
export function renderFramed(axes: Axes, names: readonly string[], points: readonly Point[], body: Body): string {
  const levels = (axes.lines ?? []).filter(({ y }) => drawable(y, axes.logY));
  const width = widthOf(axes);
  const head = axes.titled ? 26 : 0;
  const legend = renderLegend(names, 44 - head, width);
  const right = width - (levels.length ? 10 + Math.max(...levels.map(({ name }) => textWidth(name))) : 16);
  const frame = frameOf(axes, points, levels, legend.bottom + 22, Math.max(right, width * 0.6));
  const height = (frame?.bottom ?? legend.bottom + 40) + 46;
  const content = frame
    ? [...renderAxes(axes, frame), ...renderLevels(levels, frame), ...body(frame)]
    : [text(inset, legend.bottom + 34, 'No values to show.')];
  return [
    `<svg class="chart" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeText(axes.title)}">`,
    `<style>${style}</style>`,
    ...(axes.titled ? [] : [text(inset, 18, axes.title, 'class="title"')]),
    ...legend.parts,
    ...content,
    '</svg>',
  ].join('\n');
}

/** Room for 12 px text in whatever font the reader has: an estimate on the wide side. */
export function textWidth(text: string): number {
  return [...text].reduce(
    (sum, character) => sum + (/[A-Z0-9mw%@]/.test(character) ? 8.2 : /[ijlt.,:;!'|() ]/.test(character) ? 4.5 : 7.2),
    0,
  );
}

export const round = (value: number): number => Number(value.toFixed(1));
export const text = (x: number, y: number, content: string, attributes = ''): string =>
  `<text x="${round(x)}" y="${round(y)}" ${attributes}>${escapeText(content)}</text>`;

export const colour = (index: number): string => `var(--c${index % colours})`;
/** Colour by number; from the seventh series on dashes tell apart what colours no longer do. */
export function stroke(index: number): string {
  const dash = index < colours ? '' : ` stroke-dasharray="${2 + 3 * Math.floor(index / colours)} 4"`;
  return `stroke="${colour(index)}"${dash}`;
}

function renderLegend(
  names: readonly string[],
  top: number,
  width: number,
): { readonly parts: readonly string[]; readonly bottom: number } {
  if (names.length < 2) return { parts: [], bottom: top - 18 };
  let [x, y] = [inset, top];
  const parts = names.map((name, index) => {
    const needed = 27 + textWidth(name) + 18;
    if (x > inset && x + needed > width) [x, y] = [inset, y + 18];
    const part = `<line class="curve" x1="${round(x)}" x2="${round(x + 20)}" y1="${y - 4}" y2="${y - 4}" ${stroke(index)}/>${text(x + 27, y, name, 'class="name"')}`;
    x += needed;
    return part;
  });
  return { parts, bottom: y };
}

function frameOf(axes: Axes, all: readonly Point[], levels: readonly Level[], top: number, right: number): Frame | undefined {
  const points = all.filter(([x, y]) => drawable(x, axes.logX) && drawable(y, axes.logY));
  if (points.length === 0) return undefined;
  const [xs, ys] = [range(points.map(([x]) => x)), range([...points.map(([, y]) => y), ...levels.map(({ y }) => y)])];
  const y = axes.logY ? logScale(...ys) : linearScale(...ys, 5, true);
  const x = axes.logX ? logScale(...xs) : linearScale(...xs, widthOf(axes) < 640 ? 5 : 7, false);
  const labels = Math.max(...y.ticks.map(({ label }) => textWidth(label)));
  const frameTop = top + 18; // the name of the y axis stands above it, where it reads without turning one's head
  return { left: inset + 10 + labels, right, top: frameTop, bottom: frameTop + plotHeight(widthOf(axes)), x, y };
}

/** Not Math.min(...): a long run has more points than a call takes arguments. */
function range(values: readonly number[]): [number, number] {
  return values.reduce<[number, number]>(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
}

export const across = ({ left, right, x }: Frame, value: number): number => left + (right - left) * x.position(value);
export const up = ({ top, bottom, y }: Frame, value: number): number => bottom - (bottom - top) * y.position(value);

function renderAxes(axes: Axes, frame: Frame): readonly string[] {
  const { left, right, bottom, top } = frame;
  const rows = frame.y.ticks.map(({ value, label }) => {
    const y = round(up(frame, value));
    return `<line class="grid" x1="${round(left)}" x2="${round(right)}" y1="${y}" y2="${y}"/>${text(left - 8, y + 4, label, 'text-anchor="end"')}`;
  });
  let free = -Infinity;
  const columns = frame.x.ticks.map(({ value, label }) => {
    const x = round(across(frame, value));
    const half = textWidth(label) / 2;
    const named = x - half > free; // a name that would touch the one before is left out
    if (named) free = x + half + 4;
    const name = named ? text(Math.min(x, right + 12 - half), bottom + 18, label, 'text-anchor="middle"') : '';
    return `<line class="axis" x1="${x}" x2="${x}" y1="${bottom}" y2="${bottom + 4}"/>${name}`;
  });
  return [
    ...rows,
    `<line class="axis" x1="${round(left)}" x2="${round(right)}" y1="${bottom}" y2="${bottom}"/>`,
    ...columns,
    text(inset, top - 14, axes.y),
    text((left + right) / 2, bottom + 37, axes.x, 'text-anchor="middle"'),
  ];
}

/** Levels with their names in the right margin, pushed apart where they would overlap. */
function renderLevels(levels: readonly Level[], frame: Frame): readonly string[] {
  const sorted = levels.map(({ name, y }) => ({ name, y: up(frame, y) })).sort((a, b) => b.y - a.y);
  let free = Infinity;
  return sorted.map(({ name, y }) => {
    const labelY = Math.min(y + 4, free - 15);
    free = labelY;
    return `<line class="level" x1="${round(frame.left)}" x2="${round(frame.right)}" y1="${round(y)}" y2="${round(y)}"/>${text(frame.right + 8, labelY, name)}`;
  });
}
