/** @file The loss while training, as a line of SVG that grows. */

const WIDTH = 760;
const HEIGHT = 200;
/** Share of a new value in the smoothed line. */
const SHARE = 0.15;

export interface Curve {
  add(step: number, value: number): void;
}

/** @param line that is drawn @param label that says the last value @param steps at the right end */
export function curveOn(line: SVGPolylineElement, label: HTMLElement, steps: () => number): Curve {
  const points: (readonly [number, number])[] = [];
  let smooth: number | null = null;
  return {
    add(step, value) {
      if (!Number.isFinite(value)) return;
      smooth = smooth === null ? value : smooth + SHARE * (value - smooth);
      points.push([step, smooth]);
      const values = points.map(([, v]) => v);
      const [low, high] = [Math.min(...values), Math.max(...values)];
      const y = (v: number): number => HEIGHT - 4 - ((v - low) / (high - low || 1)) * (HEIGHT - 8);
      line.setAttribute('points', points.map(([s, v]) => `${((s / steps()) * WIDTH).toFixed(1)},${y(v).toFixed(1)}`).join(' '));
      label.textContent = smooth.toPrecision(3);
    },
  };
}
