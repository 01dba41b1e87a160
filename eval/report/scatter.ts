/** @file Cost against quality as SVG: a dot for each measurement with its interval, and the front of those that none beats. */
import { drawable, type Point } from './curve.ts';
import { escapeText } from './escape.ts';
import { type Axes, across, colour, type Frame, renderFramed, round, text, textWidth, up } from './frame.ts';
import { paretoFront } from './pareto.ts';
import { formatNumber } from './scale.ts';

export interface Dot {
  readonly x: number;
  readonly y: number;
  /** Ends of the interval of y. */
  readonly low?: number;
  readonly high?: number;
  /** What stands beside it, where there is room; empty: nothing. */
  readonly label: string;
}
export interface Scatter extends Axes {
  /** Less is better on both axes. */
  readonly series: readonly { readonly name: string; readonly dots: readonly Dot[] }[];
}

interface Placed extends Dot {
  readonly series: number;
  readonly name: string;
  readonly onFront: boolean;
}
interface Box {
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

/** A standalone SVG; dots on the front are filled and joined by steps. Dots that cannot be drawn on an axis are left out. */
export function renderScatter(scatter: Scatter): string {
  const all = scatter.series.flatMap(({ name, dots }, series) =>
    dots.filter(({ x, y }) => drawable(x, scatter.logX) && drawable(y, scatter.logY)).map((dot) => ({ ...dot, series, name })),
  );
  const front = paretoFront(all.map(({ x, y }): Point => [x, y]));
  const dots = all.map((dot, i) => ({ ...dot, onFront: front.includes(i) }));
  const points = dots.flatMap(({ x, y, low = y, high = y }): Point[] => [
    [x, y],
    [x, drawable(low, scatter.logY) ? low : y],
    [x, drawable(high, scatter.logY) ? high : y],
  ]);
  const names = scatter.series.map(({ name }) => name);
  return renderFramed(scatter, names, withRoom(points, scatter), (frame) => [
    renderFront(
      front.map((i) => all[i]!),
      frame,
    ),
    ...dots.map((dot) => renderDot(dot, frame, scatter)),
    ...renderLabels(dots, frame),
  ]);
}

/** With two points more, so that no dot lies on the edge. */
function withRoom(points: readonly Point[], { logX, logY }: Axes): readonly Point[] {
  if (points.length === 0) return points;
  const ends = (values: readonly number[], log = false): readonly [number, number] => {
    const [low, high] = [Math.min(...values), Math.max(...values)];
    if (log) return [low / (high / low) ** 0.05 / 1.05, high * (high / low) ** 0.05 * 1.05];
    return [Math.max(low - 0.05 * (high - low), Math.min(0, low)), high + 0.05 * (high - low)];
  };
  const xs = ends(
    points.map(([x]) => x),
    logX,
  );
  const ys = ends(
    points.map(([, y]) => y),
    logY,
  );
  return [...points, [xs[0], ys[0]], [xs[1], ys[1]]];
}

/** From dot to dot along the worst that is still reached: first across, then down. */
function renderFront(front: readonly Dot[], frame: Frame): string {
  if (front.length === 0) return '';
  const [first, ...others] = front.map(({ x, y }) => [round(across(frame, x)), round(up(frame, y))] as const);
  return `<path class="front" d="M${first}${others.map(([x, y]) => `H${x}V${y}`).join('')}H${round(frame.right)}"/>`;
}

function renderDot(dot: Placed, frame: Frame, { x: xName, y: yName, logY }: Axes): string {
  const [x, y] = [round(across(frame, dot.x)), round(up(frame, dot.y))];
  const ends = [dot.low, dot.high].map((end) => (end !== undefined && drawable(end, logY) ? round(up(frame, end)) : y));
  const whisker =
    ends[0] === ends[1] ? '' : `<line class="whisker" stroke="${colour(dot.series)}" x1="${x}" x2="${x}" y1="${ends[0]}" y2="${ends[1]}"/>`;
  const words = `${[dot.name, dot.label].filter(Boolean).join(', ')}: ${formatNumber(dot.x)} ${xName}, ${yName} ${formatNumber(dot.y)}${dot.onFront ? '; on the front' : ''}`;
  const look = dot.onFront ? `r="5" fill="${colour(dot.series)}"` : `r="4" fill="none" stroke-width="1.8" stroke="${colour(dot.series)}"`;
  return `${whisker}<circle class="dot" cx="${x}" cy="${y}" ${look}><title>${escapeText(words)}</title></circle>`;
}

/** Names beside their dots, to the right, left, above or below; left out where each place is taken. */
function renderLabels(dots: readonly Placed[], frame: Frame): readonly string[] {
  const at = (dot: Dot): readonly [number, number] => [across(frame, dot.x), up(frame, dot.y)];
  const taken: Box[] = dots.map((dot) => {
    const [x, y] = at(dot);
    return { left: x - 6, right: x + 6, top: y - 6, bottom: y + 6 };
  });
  return dots.flatMap((dot, own) => {
    if (dot.label === '') return [];
    const [x, y] = at(dot);
    const width = textWidth(dot.label);
    const box = (
      [
        // The front leads away to the right: beside it there is room above only.
        { anchor: 'start', at: x + 9, left: x + 9, top: dot.onFront ? y - 20 : y - 8 },
        { anchor: 'end', at: x - 9, left: x - 9 - width, top: y - 8 },
        { anchor: 'middle', at: x, left: x - width / 2, top: y - 24 },
        { anchor: 'middle', at: x, left: x - width / 2, top: y + 9 },
      ] as const
    )
      .map((place) => ({ ...place, right: place.left + width, bottom: place.top + 15 }))
      .find((one) => inside(one, frame) && !taken.some((other, i) => i !== own && overlap(one, other)));
    if (!box) return [];
    taken.push(box);
    return [text(box.at, box.top + 12, dot.label, `class="name halo" text-anchor="${box.anchor}"`)];
  });
}

const overlap = (a: Box, b: Box): boolean => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
const inside = (box: Box, frame: Frame): boolean =>
  box.left >= frame.left && box.right <= frame.right + 4 && box.top >= frame.top - 14 && box.bottom <= frame.bottom;
