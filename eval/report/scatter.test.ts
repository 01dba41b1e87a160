/** @file Cost against quality: which dots are on the front, where they and their intervals lie, what stands beside them. */
import { describe, expect, test } from 'vitest';
import { elements } from '../testing/markup.ts';
import { renderScatter, type Scatter } from './scatter.ts';

const scatter: Scatter = {
  title: 'Distance against evaluations',
  x: 'evaluations',
  y: 'distance',
  series: [
    {
      name: 'teacher',
      dots: [
        { x: 1, y: 100, label: 'one' },
        { x: 10, y: 10, low: 5, high: 20, label: 'ten' },
        { x: 100, y: 50, label: 'hundred' },
      ],
    },
    { name: 'student', dots: [{ x: 1, y: 40, label: '' }] },
  ],
};
interface Circle {
  readonly x: number;
  readonly y: number;
  readonly filled: boolean;
  readonly title: string;
}
const circles = (svg: string): Circle[] =>
  [...svg.matchAll(/<circle class="dot" cx="([\d.]+)" cy="([\d.]+)" ([^>]*)><title>([^<]*)</g)].map(([, x, y, look, title]) => ({
    x: Number(x),
    y: Number(y),
    filled: !look!.includes('fill="none"'),
    title: title!,
  }));

describe('renderScatter', () => {
  const svg = renderScatter(scatter);
  test('filled are exactly the dots that none beats, and their words say it', () => {
    elements(svg);
    expect(circles(svg).map(({ filled }) => filled)).toEqual([false, true, false, true]);
    expect(circles(svg).map(({ title }) => title.includes('on the front'))).toEqual([false, true, false, true]);
    expect(circles(svg)[1]!.title).toBe('teacher, ten: 10 evaluations, distance 10; on the front');
  });
  test('the front goes across to the next dot, then down to it, then on to the edge', () => {
    const [, , , student] = circles(svg);
    const ten = circles(svg)[1]!;
    const path = /class="front" d="([^"]*)"/.exec(svg)![1]!;
    expect(path).toMatch(new RegExp(`^M${student!.x},${student!.y}H${ten.x}V${ten.y}H[\\d.]+$`));
  });
  test('an interval reaches from its low to its high end', () => {
    const log = renderScatter({ ...scatter, logY: true });
    const [, low, high] = /class="whisker"[^>]* y1="([\d.]+)" y2="([\d.]+)"/.exec(log)!.map(Number);
    const ten = circles(log)[1]!;
    // 5, 10 and 20 are evenly apart on a logarithmic axis.
    expect(low! - ten.y).toBeCloseTo(ten.y - high!, 0);
    expect(log.match(/class="whisker"/g)).toHaveLength(1);
  });
  test('on a logarithmic axis 1, 10 and 100 are evenly apart, and none lies on an edge', () => {
    const [one, ten, hundred] = circles(renderScatter({ ...scatter, logX: true }));
    expect(ten!.x - one!.x).toBeCloseTo(hundred!.x - ten!.x, 0);
    const axis = /class="axis" x1="([\d.]+)" x2="([\d.]+)"/.exec(renderScatter({ ...scatter, logX: true }))!;
    expect(one!.x).toBeGreaterThan(Number(axis[1]) + 3);
    expect(hundred!.x).toBeLessThan(Number(axis[2]) - 3);
  });
  test('labels that would cover each other are left out; every dot still has its words', () => {
    const dots = Array.from({ length: 40 }, (_, i) => ({ x: 5, y: 5, label: `a long label ${i}` }));
    const crowded = renderScatter({ ...scatter, series: [{ name: 'a', dots }] });
    expect(circles(crowded)).toHaveLength(40);
    // All are equal, so on the front: to the right above, to the left, and below.
    expect(crowded.match(/class="name halo"/g)).toHaveLength(3);
  });
  test('what has no place on an axis is left out; without a dot the picture says so', () => {
    const odd = [
      { x: 0, y: 1, label: '' },
      { x: Number.NaN, y: 1, label: '' },
      { x: 1, y: -1, label: '' },
    ];
    const empty = renderScatter({ ...scatter, logX: true, logY: true, series: [{ name: 'a', dots: odd }] });
    expect(empty).toContain('No values to show.');
    expect(circles(renderScatter({ ...scatter, series: [{ name: 'a', dots: odd }] }))).toHaveLength(2);
    const one = renderScatter({ ...scatter, logX: true, series: [{ name: 'a', dots: [{ x: 3, y: 3, low: -1, high: 4, label: 'a' }] }] });
    expect(one).not.toMatch(/NaN|Infinity|undefined/);
    elements(one);
  });
  test('every string is escaped', () => {
    const nasty = `<script>"&'`;
    const series = [{ name: nasty, dots: [{ x: 1, y: 1, label: nasty }] }];
    const unsafe = renderScatter({ title: nasty, x: nasty, y: nasty, series: [...series, ...series] });
    expect(elements(unsafe)).not.toContain('script');
  });
});
