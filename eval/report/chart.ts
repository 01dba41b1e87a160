/** @file Line charts as SVG, drawn without a library. */
import { type Point, piecesOf, thinned } from './curve.ts';
import { type Axes, across, colour, type Frame, renderFramed, round, stroke, up, widthOf } from './frame.ts';

export type { Point } from './curve.ts';

export interface Chart extends Axes {
  /** A point that is not finite, or not positive on a logarithmic axis, is a gap. */
  readonly series: readonly Series[];
}
export interface Series {
  readonly name: string;
  readonly points: readonly Point[];
}

/** A standalone SVG that fills the width it is given and follows the reader's light or dark setting. A chart without a finite point says so. */
export function renderChart(chart: Chart): string {
  const { series } = chart;
  return renderFramed(
    chart,
    series.map(({ name }) => name),
    series.flatMap(({ points }) => points),
    (frame) => renderCurves(chart, frame),
  );
}

function renderCurves(chart: Chart, frame: Frame): readonly string[] {
  const width = widthOf(chart);
  return chart.series.map(({ points }, index) => {
    const pieces = piecesOf(points, chart).map((piece) => piece.map(([x, y]): Point => [round(across(frame, x)), round(up(frame, y))]));
    const look = `class="curve${points.length > width ? ' dense' : ''}" ${stroke(index)}`;
    // Torn to shreds, as around zero on a logarithmic axis: a cloud of points, since pieces would hardly be thinned.
    if (pieces.length > width / 4) {
      return `<path ${look} d="${thinned(pieces.flat(), 0)
        .map(([x, y]) => `M${x},${y}h0`)
        .join('')}"/>`;
    }
    const path = pieces.map((piece) => `M${thinned(piece, 2 * width).join('L')}`).join('');
    const dots = points.length > 30 ? pieces.filter(({ length }) => length === 1) : pieces;
    const circles = dots.flat().map(([x, y]) => `<circle cx="${x}" cy="${y}" r="3" fill="${colour(index)}"/>`);
    return `<path ${look} d="${path}"/>${circles.join('')}`;
  });
}
