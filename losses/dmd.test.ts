/** @file DMD's regression: its two distances and their gradients in closed form, and when pairs are needed. */
import { describe, expect, test } from 'vitest';
import { input } from '../engine/graph/ops/leaf.ts';
import { evaluate } from '../engine/graph/reference.ts';
import { deviation } from '../engine/testing/golden-tensors.ts';
import { type Loss, learnsFromPairs } from '../engine/train/loss.ts';
import { type Network, networkOf, type Scope } from '../engine/train/network.ts';
import { resolve } from '../engine/train/options.ts';
import dmd from './dmd.ts';
import { perceptualDistance } from './perceptual-terms.ts';
import { oneHot, parameterGradients, rehearse } from './testing/tiny.ts';

const loss = dmd as unknown as Loss;
const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

// Samples [2,1,2]: two channels, two places. The student says w x; the teacher's map is the noised sample itself, with its second channel doubled.
const W = 0.004;
const LEVEL = 100;
const GAIN = [1, 2];
const student = (scope: Scope): Network => networkOf((x) => x.mul(scope('w', [1])));
const teacher = (): Network => ({
  denoise: (x) => x.mul(0.5),
  predict: (x) => ({ denoised: x.mul(0.5), features: { bottleneck: x.mul(input('gain', [1, 2, 1, 1])) }, extras: {} }),
});
const stage = { networks: { student, teacher, fake: student }, sample: { shape: [2, 1, 2], classes: 2 }, batch: 2 };
const noise = [0.4, -1.2, 0.9, 2.1, -0.3, 0.05, 1.3, -0.8];
const sample = [0.2, -0.5, 0.45, 0.8, -0.1, 0.3, 0.6, -0.2];
const eps = [0.7, -0.1, 0.2, 0.5, -0.9, 1.1, 0.3, -0.4];
const rehearsed = (options: Readonly<Record<string, unknown>>) =>
  rehearse(loss, 'student', { ...stage, options: { studentLevel: LEVEL, ...options } });
function feedsOf({ draws }: ReturnType<typeof rehearsed>) {
  const drawn = draws.map(({ name, kind, shape }) => {
    const n = shape.reduce((a, b) => a * b, 1);
    return [
      `draw/${name}`,
      kind === 'condition' ? oneHot([0, 1], 2) : Array.from({ length: n }, (_, i) => (kind === 'normal' ? 0.3 * i - 1 : 0.4)),
    ];
  });
  const pair = { 'pair/noise': noise, 'pair/sample': sample, 'pair/label': oneHot([0, 1], 2) };
  return { ...Object.fromEntries(drawn), ...pair, 'draw/pair noise': eps, gain: GAIN, 'student/w': [W], 'fake/w': [0.3] };
}

test('pairs are learnt from only where the regression has a weight', () => {
  const needed = (given: Readonly<Record<string, unknown>>): boolean => learnsFromPairs(loss, resolve('dmd', dmd.options, given));
  expect([needed({}), needed({ regressionWeight: 0 }), needed({ regressionWeight: 0.25 })]).toEqual([false, false, true]);
  expect(Object.keys(rehearsed({}).terms)).not.toContain('regression');
});

describe('the loss is that of the scores plus the weighted distance', () => {
  /** The distance as a function of the student's weight. */
  const squares = (w: number): number => mean(noise.map((z, i) => (w * LEVEL * z - sample[i]!) ** 2));
  function features(w: number): number {
    const MAP_LEVEL = 0.2;
    const at = (values: readonly number[], n: number, place: number): number[] => {
      const vector = GAIN.map((gain, c) => gain * (values[4 * n + 2 * c + place]! + MAP_LEVEL * eps[4 * n + 2 * c + place]!));
      const length = Math.hypot(...vector);
      return vector.map((v) => v / length);
    };
    const said = noise.map((z) => w * LEVEL * z);
    const each = [0, 1].flatMap((n) =>
      [0, 1].map((place) => {
        const [a, b] = [at(said, n, place), at(sample, n, place)];
        return (a[0]! - b[0]!) ** 2 + (a[1]! - b[1]!) ** 2;
      }),
    );
    return mean(each);
  }
  test.each([
    ['l2', squares],
    ['features', features],
  ] as const)('%s', (distance, known) => {
    const rehearsal = rehearsed({ regressionWeight: 0.25, distance, mapLevel: 0.2 });
    const { terms } = rehearsal;
    const feeds = feedsOf(rehearsal);
    const [all, matching, regression] = rehearsal.evaluate([terms['loss']!, terms['matching']!, terms['regression']!], feeds);
    expect(deviation(regression!, [known(W)])).toBeLessThan(1e-9); // the guard of the features' length is 1e-10
    expect(all![0]).toBeCloseTo(matching![0]! + 0.25 * regression![0]!, 12);
    const h = 1e-6;
    const slope = (known(W + h) - known(W - h)) / (2 * h);
    const found = parameterGradients(rehearsal, 'student', terms['regression']!, feeds);
    expect(deviation(found.get('w')!, [slope])).toBeLessThan(1e-6);
  });
});

test('a map of one channel has no direction', () => {
  const map = input('map', [2, 1, 3, 3]);
  expect(() => perceptualDistance([map], [map])).toThrow('[2,1,3,3] has one channel');
});

test('the perceptual distance of maps that differ by a positive factor is nothing, and of opposite ones 4', () => {
  const map = input('map', [1, 3, 2, 2]);
  const feeds = { map: [1, -2, 3, 0.5, 2, 1, -1, 0.7, 0.3, 0.2, 5, -2] };
  const [same, opposite] = evaluate([perceptualDistance([map], [map.mul(7)]), perceptualDistance([map, map], [map.neg(), map])], feeds);
  expect(same!.data[0]).toBeCloseTo(0, 9);
  expect(opposite!.data[0]).toBeCloseTo(4, 9);
});
