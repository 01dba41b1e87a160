/** @file Charts: what is drawn where, and what happens to odd input. */
import { describe, expect, test } from 'vitest';
import { elements } from '../testing/markup.ts';
import { type Chart, renderChart } from './chart.ts';

const chart: Chart = {
  title: 'Loss',
  x: 'images',
  y: 'loss',
  series: [
    {
      name: 'student',
      points: [
        [0, 10],
        [50, 5],
        [100, 0],
      ],
    },
  ],
};
const two = { ...chart, series: [...chart.series, { name: 'fake', points: chart.series[0]!.points }] };

/** Points of the n-th curve. */
function curve(svg: string, n = 0): (readonly number[])[] {
  const path = [...svg.matchAll(/<path [^>]*d="([^"]*)"/g)][n]![1]!;
  return path
    .split(/[ML]/)
    .filter(Boolean)
    .map((pair) => pair.split(',').map(Number));
}

describe('renderChart', () => {
  test('a straight line is drawn straight, from the left top to the right bottom', () => {
    const [first, middle, last] = curve(renderChart(chart));
    expect(middle![0]).toBeCloseTo((first![0]! + last![0]!) / 2, 0);
    expect(middle![1]).toBeCloseTo((first![1]! + last![1]!) / 2, 0);
    expect(first![0]!).toBeLessThan(last![0]!);
    expect(first![1]!).toBeLessThan(last![1]!);
  });

  test('a geometric series is straight on a logarithmic axis', () => {
    const points = [100, 10, 1].map((y, x) => [x, y] as const);
    const [first, middle, last] = curve(renderChart({ ...chart, logY: true, series: [{ name: 'a', points }] }));
    expect(middle![1]).toBeCloseTo((first![1]! + last![1]!) / 2, 0);
  });

  test('a level lies at the height of the same value of a curve, with its name', () => {
    const svg = renderChart({ ...chart, lines: [{ name: 'teacher', y: 5 }] });
    const level = /class="level"[^>]* y1="([\d.]+)" y2="([\d.]+)"/.exec(svg)!;
    expect(Number(level[1])).toBe(curve(svg)[1]![1]);
    expect(level[2]).toBe(level[1]);
    expect(svg).toContain('>teacher</text>');
  });

  test('levels widen the axis, and near ones have names that do not touch', () => {
    const svg = renderChart({ ...chart, lines: [20, 20.1, 20.2].map((y) => ({ name: `level ${y}`, y })) });
    const heights = [...svg.matchAll(/y="([\d.]+)" >level/g)].map((match) => Number(match[1]));
    expect(heights).toHaveLength(3);
    for (const [i, y] of heights.entries()) if (i > 0) expect(heights[i - 1]! - y).toBeGreaterThanOrEqual(15);
    for (const [, y] of curve(svg)) expect(y!).toBeGreaterThan(heights[0]!);
  });

  test('a legend names several series, in the colours of their curves; one series needs none', () => {
    const svg = renderChart(two);
    for (const n of [0, 1]) expect(svg.split(`stroke="var(--c${n})"`)).toHaveLength(3); // swatch and curve
    expect(svg).toContain('>fake</text>');
    expect(renderChart(chart)).not.toContain('>student</text>');
  });

  test('colours are given for light and for dark', () => {
    const svg = renderChart(two);
    const [light, dark] = svg.split('prefers-color-scheme:dark');
    for (const name of ['--ink', '--soft', '--grid', '--c0', '--c5']) {
      expect(light).toContain(`${name}:#`);
      expect(dark).toContain(`${name}:#`);
    }
  });

  test.each<[string, Partial<Chart>]>([
    ['no series', { series: [] }],
    ['no points', { series: [{ name: 'a', points: [] }] }],
    ['NaN only', { series: [{ name: 'a', points: [[0, Number.NaN]] }] }],
    ['nothing positive on a logarithmic axis', { logY: true, series: [{ name: 'a', points: [[0, -1]] }] }],
  ])('%s: the chart says that it is empty', (_, change) => {
    const svg = renderChart({ ...chart, ...change });
    expect(svg).toContain('No values to show.');
    elements(svg);
  });

  test.each<[string, Partial<Chart>]>([
    ['one point', { series: [{ name: 'a', points: [[3, 7]] }] }],
    ['one point at the origin', { series: [{ name: 'a', points: [[0, 0]] }] }],
    [
      'a constant',
      {
        logY: true,
        series: [
          {
            name: 'a',
            points: [
              [0, 1],
              [1, 1],
            ],
          },
        ],
      },
    ],
    [
      'eight series',
      {
        series: Array.from({ length: 8 }, (_, i) => ({
          name: `a rather long name ${i}`,
          points: [
            [0, i],
            [1, i],
          ] as const,
        })),
      },
    ],
    [
      'a gap',
      {
        series: [
          {
            name: 'a',
            points: [
              [0, 1],
              [1, Number.NaN],
              [2, 3],
            ],
          },
        ],
      },
    ],
    [
      'every other point missing',
      { logY: true, series: [{ name: 'a', points: Array.from({ length: 100_000 }, (_, i) => [i, Math.sin(1.9 * i)] as const) }] },
    ],
    ['100,000 points', { series: [{ name: 'a', points: Array.from({ length: 100_000 }, (_, i) => [i, Math.sin(i)] as const) }] }],
  ])('%s: well formed, finite and of moderate size', (_, change) => {
    const svg = renderChart({ ...chart, ...change });
    expect(elements(svg)).toContain('path');
    expect(svg).not.toMatch(/NaN|Infinity|undefined/);
    expect(svg.length).toBeLessThan(40_000);
  });

  test('every string is escaped', () => {
    const nasty = `<script>"&'`;
    const svg = renderChart({
      title: nasty,
      x: nasty,
      y: nasty,
      series: two.series.map((one) => ({ ...one, name: nasty })),
      lines: [{ name: nasty, y: 1 }],
    });
    expect(svg.split('&lt;script&gt;&quot;&amp;&#39;')).toHaveLength(8); // title, its label, two axes, two series, a level
    expect(elements(svg)).not.toContain('script');
  });
});
