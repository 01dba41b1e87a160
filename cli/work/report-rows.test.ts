/** @file Rows out of evaluations: those of today, those with intervals, and whatever else a file may hold. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { renderComparison } from '../../eval/report/comparison-html.ts';
import { elements } from '../../eval/testing/markup.ts';
import type { Flat } from '../config.ts';
import { intervalOf, labelOf, metricsOf, referenceRows, rowOf } from './report-rows.ts';

const today: Flat = {
  kind: 'evaluation',
  model: 'runs/a',
  n: 500,
  seed: 0,
  sampler: 'student',
  guidance: 1,
  nfe: 1,
  imagesPerSecond: 250,
  reference: 'digits',
  frechetHeldOut: 2,
  frechetTraining: 1.5,
  floor: 0.5,
  precision: 0.6,
  recall: null,
  classAccuracy: 0.9,
  extractor: 'digit classifier',
  extractorSha256: 'abc',
};
const names = { name: 'a', series: 'a' };

describe('rowOf', () => {
  test('of an evaluation without intervals', () => {
    expect(rowOf(today, names)).toMatchObject({
      metrics: { frechetHeldOut: { value: 2 }, frechetTraining: { value: 1.5 }, precision: { value: 0.6 }, classAccuracy: { value: 0.9 } },
      nfe: 1,
      secondsPerImage: 1 / 250,
      n: 500,
      nReference: null,
      reference: 'digits',
      extractor: { name: 'digit classifier', sha256: 'abc' },
      settings: { seed: 0, sampler: 'student', nfe: 1 },
    });
  });
  test('of one with intervals, its numbers of samples and classes; a distance is not there twice', () => {
    const metrics = { frechet: { value: 2, low: 1.9, high: 2.2, more: 1 }, kid: { value: 0.1 }, broken: { value: null } };
    const perClass = [{ class: 'zero', accuracy: { value: 0.9, low: 0.8, high: 1 }, frechet: 3 }, { accuracy: 0.5 }, 'odd'];
    const row = rowOf({ ...today, n: [500, 10_000], metrics, perClass, extractor: { name: 'inception', sha256: 'def' } }, names);
    expect(row.metrics).toEqual({
      frechet: { value: 2, low: 1.9, high: 2.2 },
      kid: { value: 0.1 },
      frechetTraining: { value: 1.5 },
      precision: { value: 0.6 },
      classAccuracy: { value: 0.9 },
    });
    expect(row).toMatchObject({ n: 500, nReference: 10_000, extractor: { name: 'inception', sha256: 'def' } });
    expect(row.perClass).toEqual([
      { name: 'zero', accuracy: { value: 0.9, low: 0.8, high: 1 }, frechet: { value: 3 } },
      { name: '1', accuracy: { value: 0.5 }, frechet: null },
    ]);
    expect(rowOf({ perClass: { cat: 0.5 } }, names).perClass).toEqual([{ name: 'cat', accuracy: { value: 0.5 }, frechet: null }]);
  });
  test('whatever a file holds, nothing is thrown and every number is finite', () => {
    const keys = fc.constantFrom(...Object.keys(today), 'metrics', 'perClass', 'settings', 'teacher', 'references', 'nearest');
    const number = fc.oneof(fc.double(), fc.constantFrom(0, 1e308, -1e308, 5e-324, 1e-300));
    const metrics = fc.dictionary(
      fc.constantFrom('frechet', 'kid', 'odd'),
      fc.oneof(number, fc.record({ value: number, low: number, high: number })),
    );
    const anything = fc.oneof(fc.jsonValue(), number, metrics);
    fc.assert(
      fc.property(fc.dictionary(keys, anything), (evaluation) => {
        const rows = [rowOf(evaluation as Flat, names), ...referenceRows(evaluation as Flat)];
        for (const { metrics, nfe, n, secondsPerImage } of rows) {
          for (const { value } of Object.values(metrics)) expect(Number.isFinite(value)).toBe(true);
          for (const value of [nfe, n, secondsPerImage]) expect(value === null || Number.isFinite(value)).toBe(true);
        }
        expect(typeof labelOf(evaluation as Flat)).toBe('string');
        const empty = { title: 'a', summary: [], problems: [], runs: [], samples: [], neighbours: [], facts: {} };
        const html = renderComparison({ ...empty, rows });
        elements(html);
        expect(html.match(/"[^"]*(NaN|Infinity)[^"]*"/g)).toBeNull();
      }),
    );
  });
});

describe('references', () => {
  test('the floor is a row of real images, the teacher one of its own', () => {
    const teacher = { frechetHeldOut: 1, classAccuracy: 0.97, nfe: 35, imagesPerSecond: 20 };
    const [floor, other, ...none] = referenceRows({ ...today, teacher });
    expect(none).toEqual([]);
    expect(floor).toMatchObject({ kind: 'real', metrics: { frechetHeldOut: { value: 0.5 } }, nfe: null, n: null, command: null });
    expect(other).toMatchObject({ kind: 'teacher', name: 'teacher', nfe: 35, n: 500, secondsPerImage: 0.05, extractor: { sha256: 'abc' } });
    expect(referenceRows({ ...today, floor: null })).toEqual([]);
  });
  test('a floor with an interval belongs to the metric that is measured', () => {
    const floor = { value: 0.5, low: 0.4, high: 0.6 };
    expect(referenceRows({ metrics: { frechet: 2 }, floor })[0]!.metrics).toEqual({ frechet: floor });
  });
});

test('an interval has both ends or none', () => {
  expect(intervalOf({ value: 1, low: 0, high: 2 })).toEqual({ value: 1, low: 0, high: 2 });
  expect(intervalOf({ value: 1, low: 0 })).toEqual({ value: 1 });
  for (const odd of [null, 'a', {}, [], { value: 'a' }, Number.NaN]) expect(intervalOf(odd)).toBeNull();
  expect(metricsOf({ metrics: [1, 2] })).toEqual({});
});
test('a label says what is not usual', () => {
  expect(labelOf(today)).toBe('1 NFE');
  expect(labelOf({ sampler: 'heun', nfe: 70, guidance: 2 })).toBe('heun, 70 NFE, guidance 2');
});
