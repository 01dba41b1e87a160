/** @file Drifting students: what is generated and compared, how the gradient reaches the student, and options that say nothing. */
import { describe, expect, test } from 'vitest';
import '../engine/graph/fluent.ts';
import { constant, input } from '../engine/graph/ops/leaf.ts';
import { averagePool } from '../engine/graph/ops/pool.ts';
import { evaluate } from '../engine/graph/reference.ts';
import type { Tensor } from '../engine/graph/tensor.ts';
import { deviation } from '../engine/testing/golden-tensors.ts';
import type { Loss } from '../engine/train/loss.ts';
import { type Network, networkOf, type Scope } from '../engine/train/network.ts';
import drift from './drift.ts';
import { anchorLoss, driftField, driftLoss, pooled, sameClass } from './drift-terms.ts';
import teacherDrift from './teacher-drift.ts';
import { oneHot, parameterGradients, rehearse } from './testing/tiny.ts';

const BATCH = 6;
const wave = (n: number, phase: number): number[] => Array.from({ length: n }, (_, i) => Math.sin(1.3 * i + phase));
const rows = (values: readonly number[]): Tensor => constant(Float64Array.from(values), [BATCH, 2]);
const label = oneHot([0, 1, 0, 1, 1, 0], 2);
const data = wave(12, 0.4);
const z = wave(12, 2);

/** The student multiplies by w; the hidden map of the teacher is the square of what it sees. */
const student = (scope: Scope): Network => networkOf((x) => x.mul(scope('w', [1])));
const teacher = (): Network => ({
  denoise: (x) => x,
  predict: (x) => ({ denoised: x, features: { bottleneck: x.square(), other: x.reshape([BATCH, 2, 1, 1]) }, extras: {} }),
});
const stage = (loss: Loss, options: Readonly<Record<string, unknown>>) =>
  rehearse(loss, 'student', {
    networks: 'teacher' in loss.players ? { student, teacher } : { student },
    sample: { shape: [2], classes: 2 },
    batch: BATCH,
    options: { studentLevel: 2, ...options },
  });
const W = 0.7;
const generated = z.map((v) => 2 * W * v);
const same = sameClass(BATCH, constant(Float64Array.from(label), [BATCH, 2]));

describe('drift', () => {
  const loss = drift as unknown as Loss;
  const feeds = { 'student/w': [W], data, label, 'draw/z': z };
  test('generates as many samples of each class as there are real ones, and compares within classes', () => {
    const radii = [0.5, 0.1];
    const { terms, evaluate: run } = stage(loss, { radii });
    const expected = driftLoss(
      { generated: rows(generated), positives: rows(data), towards: same, same },
      { radii, affinity: 'both', apart: 100 },
    );
    const [value, first, second] = run([terms['loss']!, terms['power0.5']!, terms['power0.1']!], feeds);
    const known = evaluate([expected.loss, ...expected.powers], {}).map((v) => v.data[0]!);
    [value, first, second].forEach((v, i) => {
      expect(v![0]).toBeCloseTo(known[i]!, 10);
    });
  });
  test('the student moves along the field, whose own motion counts for nothing', () => {
    const rehearsal = stage(loss, { radii: [0.5] });
    const slope = parameterGradients(rehearsal, 'student', rehearsal.terms['loss']!, feeds).get('w')![0]!;
    const crowd = { generated: rows(generated), positives: rows(data), towards: same, same };
    const { field, scale } = driftField(crowd, { radii: [0.5], affinity: 'both', apart: 100 });
    const [f, s] = evaluate([field, scale], {}).map((v) => v.data);
    const unit = (x: readonly number[], i: number): number => x[i]! / s![Math.floor(i / 2)]!;
    /** With the goal held where it is. */
    const lossAt = (w: number): number =>
      z.reduce(
        (sum, _, i) =>
          sum +
          (unit(
            z.map((u) => 2 * w * u),
            i,
          ) -
            unit(generated, i) -
            f![i]!) **
            2,
        0,
      ) / z.length;
    const H = 1e-6;
    expect(slope).toBeCloseTo((lossAt(W + H) - lossAt(W - H)) / (2 * H), 6);
    expect(Math.abs(slope)).toBeGreaterThan(1e-3);
  });
  test('guidance adds the real samples of all classes to what repels', () => {
    const [plain, guided] = [stage(loss, {}), stage(loss, { guidance: 3 })].map(
      ({ terms, evaluate: run }) => run([terms['power0.2']!], feeds)[0]![0]!,
    );
    expect(Math.abs(guided! / plain! - 1)).toBeGreaterThan(0.01);
  });
  test('without a radius there is nothing to do', () => {
    expect(() => stage(loss, { radii: [] })).toThrow('drift.radii: none is given; give at least one');
  });
});

describe('teacher-drift', () => {
  const loss = teacherDrift as unknown as Loss;
  const noise = { 'draw/generated noise': wave(12, 5), 'draw/positive noise': wave(12, 6), 'draw/anchor noise': wave(12, 7) };
  const feeds = { 'student/w': [W], data, label, 'draw/z': z, ...noise };
  const noised = (values: readonly number[], by: readonly number[]): number[] => values.map((v, i) => v + 0.3 * by[i]!);
  test('every map drifts by itself and has its own anchors, each kind of sample under noise of its own', () => {
    const { terms, evaluate: run } = stage(loss, { maps: ['other', 'bottleneck'], mapLevel: 0.3, anchorWeight: 5 });
    const shown = (values: readonly number[], name: keyof typeof noise, squared: boolean): Tensor =>
      rows(noised(values, noise[name]).map((v) => (squared ? v * v : v)));
    const known = [false, true].map((squared) => {
      const x = shown(generated, 'draw/generated noise', squared);
      const crowd = { generated: x, positives: shown(data, 'draw/positive noise', squared), towards: same, same };
      const { loss: drifting, powers } = driftLoss(crowd, { radii: [0.02, 0.05, 0.1, 0.2], affinity: 'both', apart: 1e6 });
      return evaluate([drifting, anchorLoss(x, shown(data, 'draw/anchor noise', squared), same, same), ...powers], {}).map(
        (v) => v.data[0]!,
      );
    });
    const [all, drifted, anchor, power] = run(
      ['loss', 'drift', 'anchor', 'power'].map((name) => terms[name]!),
      feeds,
    );
    expect(drifted![0]).toBeCloseTo(known[0]![0]! + known[1]![0]!, 9);
    expect(anchor![0]).toBeCloseTo(known[0]![1]! + known[1]![1]!, 9);
    expect(anchor![0]).toBeGreaterThan(0);
    expect(all![0]).toBeCloseTo(drifted![0]! + 5 * anchor![0]!, 9);
    expect(power![0]).toBeCloseTo(known.flatMap((k) => k.slice(2)).reduce((sum, p) => sum + p, 0) / 8, 9);
  });
  test("the gradient reaches the student through the teacher's map", () => {
    const slopes = ['bottleneck', 'other'].map((map) => {
      const rehearsal = stage(loss, { maps: [map] });
      return parameterGradients(rehearsal, 'student', rehearsal.terms['loss']!, feeds).get('w')![0]!;
    });
    for (const slope of slopes) expect(Math.abs(slope)).toBeGreaterThan(1e-3);
    expect(slopes[0]).not.toBeCloseTo(slopes[1]!, 3);
  });
  test('a map that is not there is named', () => {
    expect(() => stage(loss, { maps: ['decoder'] })).toThrow(
      'teacher-drift.maps: the teacher has no hidden map decoder; it has bottleneck, other',
    );
    expect(() => stage(loss, { maps: [] })).toThrow('no maps or no radii');
  });
});

describe('maps', () => {
  const map = input('map', [2, 3, 8, 8]);
  const feeds = { map: wave(2 * 3 * 64, 1) };
  test('are averaged down like pooling where the cells divide them', () => {
    const [ours, known] = evaluate([pooled(map, 4), averagePool(map, { kernel: 2 })], feeds);
    expect(ours!.shape).toEqual([2, 48]);
    expect(deviation(ours!.data, known!.data)).toBeLessThan(1e-12);
  });
  test('and in overlapping cells where they do not', () => {
    const line = input('line', [1, 1, 1, 7]);
    const [ours] = evaluate([pooled(line, 4)], { line: [1, 2, 3, 4, 5, 6, 7] });
    expect([...ours!.data]).toEqual([1.5, 3, 5, 6.5]); // 0–1, 1–3, 3–5, 5–6
  });
  test('small ones stay as they are', () => {
    const [ours] = evaluate([pooled(map, 8)], feeds);
    expect([...ours!.data]).toEqual(feeds.map);
  });
});
