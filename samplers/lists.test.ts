/** @file The lists of levels to sample at, by name: closed forms, their range, and what is refused. */
import { describe, expect, test } from 'vitest';
import { readGolden } from '../engine/testing/golden-tensors.ts';
import { facts } from '../engine/train/options.ts';
import { alphasCumprod, betas, levelsOf, spaced } from './betas.ts';
import { vpSde } from './paths.ts';
import { scheduleLevels, schedules } from './schedules.ts';

const family = readGolden<unknown>('schedules/edm_family');

describe('lists to sample at', () => {
  const range = { sigmaMin: 0.02, sigmaMax: 12 };
  describe.each(Object.keys(schedules))('%s', (name) => {
    test.each([1, 2, 3, 18, 100])('%i levels fall within the range', (n) => {
      const levels = scheduleLevels(name, n, range);
      expect(levels).toHaveLength(n);
      expect(levels.every((level, i) => level < (levels[i - 1] ?? Number.POSITIVE_INFINITY))).toBe(true);
      expect(levels[0]).toBeLessThanOrEqual(range.sigmaMax);
      expect(levels[0]).toBeGreaterThan(0.9 * range.sigmaMax);
      expect(levels.at(-1)).toBeGreaterThan(range.sigmaMin * (1 - 1e-12));
    });
    test('says what it is and helps with its options', () => {
      expect(schedules[name]!.name).toBe(name);
      expect(schedules[name]!.reference).toMatch(/^\d{4}\.\d{5}$/);
      for (const fact of facts(schedules[name]!.options)) expect(fact.help.length).toBeGreaterThan(5);
    });
  });
  test('even in their own time', () => {
    const gaps = (name: string, timeOf: (level: number) => number, options = {}): readonly number[] => {
      const times = scheduleLevels(name, 9, range, options).map(timeOf);
      return times.slice(1).map((t, i) => (times[i]! - t) / (times[0]! - times.at(-1)!));
    };
    const eighth = Array.from({ length: 8 }, () => expect.closeTo(1 / 8, 12));
    expect(gaps('exponential', Math.log)).toEqual(eighth);
    expect(gaps('karras', (level) => level ** (1 / 7))).toEqual(eighth);
    expect(gaps('vp', (level) => vpSde().time(level))).toEqual(eighth);
    expect(gaps('cosine', (level) => Math.atan(level / 2), { cosineShift: 0.5 })).toEqual(eighth);
    expect(gaps('flow', (level) => level / (1 + level))).toEqual(eighth);
    // σ/(1 + σ) unshifted by 3 is σ/(3 + σ).
    expect(gaps('flow', (level) => level / (3 + level), { shift: 3 })).toEqual(eighth);
    expect(gaps('flow', (level) => level / (3 + level), { shift: 1.5, resolution: 2 })).toEqual(eighth);
    const shift = Math.exp(0.5); // of 256 tokens
    expect(gaps('flow', (level) => level / (shift + level), { tokens: 256 })).toEqual(eighth);
    expect(gaps('trigflow', (level) => Math.atan(level / 0.5))).toEqual(eighth);
  });
  test("TrigFlow's last angle is one step above 0", () => {
    const angles = scheduleLevels('trigflow', 4, { sigmaMin: 0.002, sigmaMax: 80 }).map((level) => Math.atan(2 * level));
    expect(angles.map((a) => a / angles[0]!)).toEqual([1, 0.75, 0.5, 0.25].map((v) => expect.closeTo(v, 12)));
  });
  test('tables keep to their entries', () => {
    const table = levelsOf(alphasCumprod(betas('scaled_linear', { start: 0.00085, end: 0.012 })));
    const whole = { sigmaMin: 0, sigmaMax: 80 };
    expect(scheduleLevels('scaled-linear', 10, whole, { spacing: 'trailing' })).toEqual(spaced('trailing', 10).map((t) => table[t]));
    expect(scheduleLevels('scaled-linear', 10, whole, { spacing: 'leading', offset: 1 })).toEqual(
      spaced('leading', 10, 1000, 1).map((t) => table[t]),
    );
    const zero = scheduleLevels('scaled-linear', 5, { sigmaMin: 0, sigmaMax: 1e6 }, { zeroTerminal: true });
    // Of the changed table the last entry is infinite; the one before it is far above the 14.6 of the table.
    expect(zero[0]).toBeGreaterThan(100);
    expect(zero[0]).toBeLessThan(Number.POSITIVE_INFINITY);
    const linear = scheduleLevels('linear', 3, { sigmaMin: 0, sigmaMax: 1000 });
    expect(linear[0]).toBeCloseTo(Math.sqrt(1 / alphasCumprod(betas('linear')).at(-1)! - 1), 10);
  });
  test.skipIf(!family)("improved DDPM's are those of its preconditioning", () => {
    const u = [...family!.tensor('iddpm/u').data].filter((level) => level >= 0.02 && level <= 12); // float32 there
    const ours = scheduleLevels('iddpm', u.length, range);
    expect(Math.max(...ours.map((level, i) => Math.abs(level / u[i]! - 1)))).toBeLessThan(1e-3);
  });
  test('the last time of a flow may be given', () => {
    const levels = scheduleLevels('flow', 5, range, { shift: 3, terminal: 0.1 });
    expect(levels.at(-1)).toBeCloseTo(0.1 / 0.9, 12);
    expect(levels[0]).toBe(12);
  });
  test('what cannot be is told in one line', () => {
    expect(() => scheduleLevels('karas', 3, range)).toThrow('schedule: there is no karas; there are karras, exponential');
    expect(() => scheduleLevels('linear', 2000, range)).toThrow(
      /^linear: 2000 steps are more than the \d+ levels of its table between 0.02 and 12$/,
    );
    expect(() => scheduleLevels('linear', 3, range, { spacing: 'leading', offset: 900 })).toThrow(
      'linear.offset: 900 leads beyond the table',
    );
    expect(() => scheduleLevels('flow', 3, range, { tokens: 10, shift: 3 })).toThrow(
      'flow.tokens: 10 makes the shift itself; leave shift 3 out',
    );
    expect(() => scheduleLevels('flow', 3, range, { terminal: 0.01 })).toThrow('flow.terminal: 0.01 is not between');
    expect(() => scheduleLevels('flow', 3, range, { shift: 0 })).toThrow('flow.shift: 0 is not a number in [0.01, 100]');
  });
});
