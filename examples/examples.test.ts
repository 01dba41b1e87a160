/** @file Runs every example and compares what it prints with what is known in closed form. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, expect, test, vi } from 'vitest';

afterEach(() => vi.restoreAllMocks());

/** What an example prints, line by line. */
async function linesOf(name: string): Promise<string[]> {
  const log = vi.spyOn(console, 'log').mockImplementation(() => undefined);
  await import(pathToFileURL(join(import.meta.dirname, `${name}.ts`)).href);
  return log.mock.calls.map((words) => words.join(' '));
}
const numbers = (line: string): number[] => (line.match(/-?\d+(?:[.,]\d+)?(?:e[+-]?\d+)?/g) ?? []).map((v) => Number(v.replace(',', '')));

const checks: Readonly<Record<string, (lines: readonly string[]) => void>> = {
  graph([exact, fast]) {
    // Σ x³ = 36, 3x² = 3, 12, 27 and 6x·v = 6, 0, 18 at x = 1, 2, 3 with v = 1, 0, 1.
    expect(exact).toBe('float64: 36 | 3 12 27 | 6 0 18');
    expect(fast).toBe('ONNX Runtime: 36 | 3 12 27 | 6 0 18');
  },
  trainer([line]) {
    const [steps, right] = numbers(line!);
    expect(steps).toBe(1500);
    // The teacher's mixture has a weight of 0.75 there; a small network meets it to a few per cent.
    expect(Math.abs(right! - 0.75)).toBeLessThan(0.03);
  },
  sampler([euler, heun]) {
    const [e8, e16, e32] = numbers(euler!.split('with')[0]!);
    const [h8, , h32] = numbers(heun!.split('with')[0]!);
    // Euler is of first order: half the step, about half the error. Heun is of second: four times the steps, well below a ninth.
    expect(e8! / e16!).toBeCloseTo(2, 0);
    expect(e16! / e32!).toBeCloseTo(2, 0);
    expect(h8! / h32!).toBeGreaterThan(9);
  },
  metrics([gaussians, , accuracy]) {
    expect(Math.abs(numbers(gaussians!)[0]! - 8)).toBeLessThan(0.1);
    // The classifier's accuracy on all held-out digits is 0.9905.
    expect(numbers(accuracy!)[0]).toBeGreaterThan(98);
  },
  export([few, many]) {
    expect(numbers(few!).slice(0, 2)).toEqual([3, 3]);
    // 99.73 % of a normal distribution lies within three standard deviations.
    expect(numbers(many!)[0]! / 5000).toBeGreaterThan(0.99);
  },
};

test('every example has a check', () => {
  const found = readdirSync(import.meta.dirname).filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'));
  expect(found.toSorted()).toEqual(
    Object.keys(checks)
      .map((name) => `${name}.ts`)
      .toSorted(),
  );
});
test.each(Object.keys(checks))('%s', async (name) => {
  checks[name]!(await linesOf(name));
});
