/** @file MSD: who is for which classes, and that no student learns from the others' samples. */
import '../engine/graph/fluent.ts';
import { expect, test } from 'vitest';
import { gradients } from '../engine/graph/gradients.ts';
import { fillNormal, fillUniform, streamKey } from '../engine/random/philox.ts';
import { arranged, type Loss } from '../engine/train/loss.ts';
import { resolve } from '../engine/train/options.ts';
import msd from './msd.ts';
import { CLASSES, oneHot, rehearse, TINY, tinyHead, tinyNetwork } from './testing/tiny.ts';

const loss = msd as unknown as Loss;
const optionsOf = (options: Readonly<Record<string, unknown>>) => resolve(loss.name, loss.options, options);
const BATCH = 3;
const head = tinyHead(['conv', 'norm', 'out']);
const stage = (phase: string, options: Readonly<Record<string, unknown>> = {}, classes = CLASSES) => {
  const own = arranged(loss, optionsOf(options));
  const all = <T>(names: readonly string[], value: T): Record<string, T> => Object.fromEntries(names.map((name) => [name, value]));
  const networks = all(Object.keys(own.players), tinyNetwork);
  return rehearse(own, phase, { networks, heads: all(own.heads ?? [], head), sample: { ...TINY, classes }, batch: BATCH, options });
};

test('classes are shared out in order and as evenly as can be', () => {
  const classesOf = (students: number, classes: number) =>
    loss.experts!(optionsOf({ students }), classes).map((expert) => ('classes' in expert ? expert.classes : []));
  expect(classesOf(2, 10)).toEqual([
    [0, 1, 2, 3, 4],
    [5, 6, 7, 8, 9],
  ]);
  expect(classesOf(3, 10)).toEqual([
    [0, 1, 2, 3],
    [4, 5, 6],
    [7, 8, 9],
  ]);
  expect(() => classesOf(4, 3)).toThrow('msd.students: 4 students need at least as many classes, the teacher has 3; give fewer students');
  expect(() => stage('student1', {}, 0)).toThrow('the teacher has 0');
});

test('a student draws conditions of its own classes, and its discriminator sees real samples of these alone', () => {
  const rehearsal = stage('critic1');
  const conditions = rehearsal.draws.filter(({ kind }) => kind === 'condition');
  expect(conditions).toEqual([expect.objectContaining({ name: '1/generated', classes: [0, 1] })]);
  const drawn = rehearsal.draws.map(({ name, kind, shape }) => {
    const values = new Float32Array(shape.reduce((n, d) => n * d, 1));
    if (kind === 'condition') return [`draw/${name}`, oneHot([0, 1, 0], CLASSES)] as const;
    (kind === 'normal' ? fillNormal : fillUniform)(values, streamKey(1, 0, name), values.length / BATCH);
    return [`draw/${name}`, values] as const;
  });
  const weights = ['student1', 'fake1', 'discriminator1'].flatMap((player) =>
    [...rehearsal.parameters(player)].map(([name, { shape }]) => {
      const values = new Float32Array((shape as readonly number[]).reduce((n, d) => n * d, 1));
      fillNormal(values, streamKey(2, 0, `${player}/${name}`), values.length);
      return [`${player}/${name}`, values] as const;
    }),
  );
  const data = new Float32Array(BATCH * 48);
  fillNormal(data, streamKey(3, 0, 'data'), 48);
  const feeds = { ...Object.fromEntries([...drawn, ...weights]), data, label: oneHot([2, 0, 1], CLASSES) };
  const [slope] = rehearsal.evaluate(gradients(rehearsal.terms['gan']!, [rehearsal.scene.data]), feeds);
  const largest = [0, 1, 2].map((i) => Math.max(...slope!.subarray(48 * i, 48 * (i + 1)).map(Math.abs)));
  expect(largest[0]).toBe(0); // of class 2
  expect(Math.min(largest[1]!, largest[2]!)).toBeGreaterThan(1e-6);
});

test('side by side or one after another, after learning to denoise', () => {
  const running = (options: Readonly<Record<string, unknown>>) => {
    const o = optionsOf({ ratio: 2, ...options });
    const { phases } = arranged(loss, o);
    return Array.from({ length: 8 }, (_, step) =>
      Object.keys(phases)
        .filter((name) => phases[name]!.runs!(step, o as never, 8))
        .join(' '),
    );
  };
  expect(running({ turns: 'side' }).slice(0, 2)).toEqual(['student1 critic1 student2 critic2', 'critic1 critic2']);
  expect(running({ turns: 'after', scoreMatching: 0.5 })).toEqual([
    'denoising1',
    'denoising1',
    'student1 critic1',
    'critic1',
    'denoising2',
    'denoising2',
    'student2 critic2',
    'critic2',
  ]);
});
