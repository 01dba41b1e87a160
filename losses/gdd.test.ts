/** @file GDD and LADD: who judges, what is trained and how the penalty joins. */
import { describe, expect, test } from 'vitest';
import '../engine/graph/fluent.ts';
import { constant } from '../engine/graph/ops/leaf.ts';
import type { Tensor } from '../engine/graph/tensor.ts';
import type { Loss } from '../engine/train/loss.ts';
import type { Head, Network, Scope } from '../engine/train/network.ts';
import { networkOf } from '../engine/train/network.ts';
import { resolve } from '../engine/train/options.ts';
import { recordingScope } from '../engine/train/weights.ts';
import { songUNetFamily } from '../models/song-unet.ts';
import gdd from './gdd.ts';
import ladd from './ladd.ts';
import { parameterGradients, rehearse } from './testing/tiny.ts';

// Points [2,1]. The student says w whatever it is given; the hidden map is g·x_t; the head says v·map + b.
const student = (scope: Scope): Network => networkOf((x) => x.mul(0).add(scope('w', [1])));
const judge = (scope: Scope): Network => ({
  denoise: (x) => x,
  predict: (x) => ({ denoised: x, features: { bottleneck: x.mul(scope('g', [1])) }, extras: {} }),
});
const head =
  (scope: Scope): Head =>
  ({ bottleneck }) =>
    (bottleneck as Tensor).mul(scope('v', [1])).add(scope('b', [1]));
const staged = (loss: Loss, phase: string, options: Readonly<Record<string, unknown>>) =>
  rehearse(loss, phase, {
    networks: Object.fromEntries(Object.keys(loss.players).map((name) => [name, name === 'student' ? student : judge])),
    heads: { discriminator: head },
    sample: { shape: [1], classes: 0 },
    batch: 2,
    options,
  });
const [w, g, v, b] = [0.6, 1.5, 0.7, 0.2];
const data = [0.5, -1];
const softplus = (z: number): number => Math.log1p(Math.exp(z));
const mean = (values: readonly number[]): number => values.reduce((sum, z) => sum + z, 0) / values.length;
const sigmoid = (z: number): number => 1 / (1 + Math.exp(-z));
const players = { 'student/w': [w], 'teacher/g': [g], 'discriminator/v': [v], 'discriminator/b': [b], data };

describe('gdd', () => {
  const loss = gdd as unknown as Loss;
  const SIGMA = 0.1;
  const [fake, real] = [
    [0.3, -0.4],
    [1, 0.5],
  ];
  const feeds = {
    ...players,
    'draw/student z': [0, 0],
    'draw/discriminator z': [0, 0],
    'draw/student noise': fake,
    'draw/fake noise': fake,
    'draw/real noise': real,
  };
  const fakes = fake.map((eps) => w + SIGMA * eps);
  const reals = data.map((x, i) => x + SIGMA * real[i]!);

  const logit = (x: number): number => v * g * x + b;
  test('the losses and their slopes', () => {
    const s = staged(loss, 'student', {});
    expect(s.evaluate([s.terms['loss']!], feeds)[0]![0]).toBeCloseTo(mean(fakes.map((x) => softplus(-logit(x)))), 12);
    const slope = mean(fakes.map((x) => -sigmoid(-logit(x)) * v * g));
    expect(parameterGradients(s, 'student', s.terms['loss']!, feeds).get('w')![0]).toBeCloseTo(slope, 12);
    const d = staged(loss, 'discriminator', {});
    const value = mean(fakes.map((x) => softplus(logit(x)))) + mean(reals.map((x) => softplus(-logit(x))));
    expect(d.evaluate([d.terms['loss']!], feeds)[0]![0]).toBeCloseTo(value, 12);
    expect(parameterGradients(d, 'student', d.terms['loss']!, feeds).get('w')![0]).toBe(0);
    const perHead = mean(fakes.map((x) => sigmoid(logit(x)) * g * x)) - mean(reals.map((x) => sigmoid(-logit(x)) * g * x));
    expect(parameterGradients(d, 'discriminator', d.terms['loss']!, feeds).get('v')![0]).toBeCloseTo(perHead, 12);
  });

  test('the penalty is the squared slope of the logits, weighed by the steps between', () => {
    const p = staged(loss, 'penalised', { r1: 0.3, r1Every: 8 });
    const [all, gan, penalty] = p.evaluate(
      ['loss', 'gan', 'penalty'].map((name) => p.terms[name]!),
      feeds,
    );
    expect(penalty![0]).toBeCloseTo((v * g) ** 2, 12);
    expect(all![0]).toBeCloseTo(gan![0]! + 0.15 * 8 * penalty![0]!, 12);
    const slope = parameterGradients(p, 'discriminator', p.terms['penalty']!, feeds).get('v')![0];
    expect(slope).toBeCloseTo(2 * v * g * g, 12);
  });
});

test('ladd: the losses are the hinge, under noise of drawn levels, of samples from noise or from noised data', () => {
  const loss = ladd as unknown as Loss;
  const options = { judgeMean: -1, judgeStd: 0.5, pure: 0.5 };
  const [levels, noise] = [
    [0.4, -1.2],
    [0.3, -0.4],
  ];
  const draws = (name: string) => ({ [`draw/${name} judge level`]: levels, [`draw/${name} judge noise`]: noise });
  const called = (phase: string) => ({
    [`draw/${phase} pure`]: [0.2, 0.7],
    [`draw/${phase} level`]: [1, 0.5],
    [`draw/${phase} z`]: [2, 3],
  });
  const feeds = { ...players, ...draws('student'), ...draws('fake'), ...draws('real'), ...called('student'), ...called('discriminator') };
  const logits = (xs: readonly number[]): number[] => xs.map((x, i) => v * g * (x + Math.exp(-1 + 0.5 * levels[i]!) * noise[i]!) + b);
  const s = staged(loss, 'student', options);
  expect(s.evaluate([s.terms['loss']!], feeds)[0]![0]).toBeCloseTo(-mean(logits([w, w])), 12);
  expect(parameterGradients(s, 'student', s.terms['loss']!, feeds).get('w')![0]).toBeCloseTo(-v * g, 12);
  const d = staged(loss, 'discriminator', options);
  const hinge = mean(logits([w, w]).map((z) => Math.max(0, 1 + z))) + mean(logits(data).map((z) => Math.max(0, 1 - z)));
  expect(d.evaluate([d.terms['loss']!], feeds)[0]![0]).toBeCloseTo(hinge, 12);
  expect(parameterGradients(d, 'student', d.terms['loss']!, feeds).get('w')![0]).toBe(0);
  const p = staged(loss, 'penalised', { ...options, r1: 0.3, r1Every: 8 });
  const [all, gan, penalty] = p.evaluate(
    ['loss', 'gan', 'penalty'].map((name) => p.terms[name]!),
    feeds,
  );
  expect(penalty![0]).toBeCloseTo((v * g) ** 2, 12);
  expect(all![0]).toBeCloseTo(gan![0]! + 0.15 * 8 * penalty![0]!, 12);
});

test('ladd calls the student at the highest level on noise alone, or at a drawn level on noised data', () => {
  const calls: (readonly [Tensor, Tensor])[] = [];
  const rehearsal = rehearse(ladd as unknown as Loss, 'student', {
    networks: {
      student: () =>
        networkOf((x, sigma) => {
          calls.push([x, sigma]);
          return x;
        }),
      teacher: () => networkOf((x) => x),
    },
    heads: { discriminator: head },
    sample: { shape: [1], classes: 0 },
    batch: 2,
    options: { studentLevel: 80, pure: 0.5, levelMean: 0.2, levelStd: 1.6 },
  });
  const feeds = { data, 'draw/student pure': [0.2, 0.7], 'draw/student level': [1, 0.5], 'draw/student z': [2, 3] };
  const [x, sigma] = rehearsal.evaluate(calls[0]!, feeds);
  const level = Math.exp(0.2 + 1.6 * 0.5);
  expect([...sigma!]).toEqual([80, level]);
  expect([...x!]).toEqual([160, data[1]! + level * 3]);
});

test.each([gdd as unknown as Loss, ladd as unknown as Loss])(
  '$name: on every step one of the two phases trains the discriminator',
  (loss) => {
    const trains = Object.values(loss.phases).filter((phase) => (phase.trains as readonly string[]).includes('discriminator'));
    expect(trains).toHaveLength(2);
    const running = (given: Readonly<Record<string, unknown>>) => {
      const options = resolve(loss.name, loss.options, given) as never;
      return Array.from({ length: 6 }, (_, step) => trains.map((phase) => phase.runs!(step, options, 6)));
    };
    expect(running({ r1Every: 3 }).map(([plain, penalised]) => [plain, penalised])).toEqual(
      [0, 1, 2, 0, 1, 2].map((k) => [k !== 0, k === 0]),
    );
    expect(running({ r1: 0 })).toEqual(Array(6).fill([true, false]));
  },
);

test('GDD-I keeps the convolutions inside blocks, and trains all else', () => {
  const record = recordingScope('student');
  const options = resolve('song-unet', songUNetFamily.options, { channels: 8, multipliers: [1, 2], blocks: 1, attention: [4] });
  songUNetFamily
    .build(record.scope, options, { shape: [1, 8, 8], classes: 3 })
    .denoise(constant(new Float32Array(64), [1, 1, 8, 8]), constant(1), {
      label: constant(Float32Array.of(1, 0, 0), [1, 3]),
    });
  const { student: frozen } = gdd.freezes!(resolve('gdd', gdd.options, { freeze: 'convolutions' }));
  const names = [...record.declared.keys()].filter((name) => name.endsWith('weight'));
  const kept = names.filter((name) => frozen!(name));
  expect(kept).toEqual(
    names.filter((name) => /block\d.*\.(conv[01]|proj)\.weight$|_in\d\.(conv[01]|proj)\.weight$|_(down|up)\.conv[01]\.weight$/.test(name)),
  );
  expect(kept.length).toBeGreaterThan(8);
  for (const part of ['_conv.weight', 'aux_conv.weight', 'skip.weight', 'norm0.weight', 'affine.weight', 'qkv.weight', 'map_layer0.weight'])
    expect(
      names.some((name) => name.endsWith(part) && !kept.includes(name)),
      part,
    ).toBe(true);
  expect(gdd.freezes!(resolve('gdd', gdd.options, {}))).toEqual({});
});
