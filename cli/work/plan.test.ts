/** @file How a batch is cut into parts, and what cannot be; that no two options share a name. */
import { availableParallelism } from 'node:os';
import { expect, test } from 'vitest';
import type { Loss } from '../../engine/train/loss.ts';
import { facts } from '../../engine/train/options.ts';
import cd from '../../losses/cd.ts';
import dmd2 from '../../losses/dmd2.ts';
import { allMethods } from './methods.ts';
import { loadModel } from './model.ts';
import { cutsOf, groupsOf, planOf } from './plan.ts';

const loss = dmd2 as unknown as Loss;
const cuts = (given: Readonly<Record<string, number>>, of = loss) => cutsOf(of, planOf(loss, null, { threads: 1, ...given }).run);

test('one piece a thread, where they divide the batch', () => {
  expect(cuts({ batch: 64, threads: 2 })).toEqual({ parts: 2, beside: 2 });
  expect(cuts({ batch: 64, threads: 1 })).toEqual({ parts: 1, beside: 1 });
  expect(cuts({ batch: 63, threads: 2 })).toEqual({ parts: 1, beside: 1 });
  expect(cuts({ batch: 64, threads: 4, beside: 1 })).toEqual({ parts: 1, beside: 1 });
  const cores = Math.min(availableParallelism(), 8);
  expect(cuts({ batch: 2 * cores, threads: 0 })).toEqual({ parts: cores, beside: cores });
});

test('parts to save memory are cut further', () => {
  expect(cuts({ batch: 64, parts: 4, threads: 2 })).toEqual({ parts: 8, beside: 2 });
  expect(cuts({ batch: 4, parts: 4, threads: 2 })).toEqual({ parts: 4, beside: 1 });
});

test('the deviation of the data is that of the teacher unless it is given', async () => {
  const { card } = await loadModel('digit-teacher');
  const other = { ...card, networkOptions: { ...card.networkOptions, sigmaData: 0.7 } };
  expect(planOf(loss, null, {}).options['sigmaData']).toBe(0.5);
  expect(planOf(loss, null, {}, other).options['sigmaData']).toBe(0.7);
  expect(planOf(loss, null, { sigmaData: 0.6 }, other).options['sigmaData']).toBe(0.6);
  // A network without such a scale says nothing of it.
  expect(planOf(loss, null, {}, { ...card, networkOptions: {} }).options['sigmaData']).toBe(0.5);
});

test('where a student is the identity is the lowest level of the teacher unless it is given, and may be 0', async () => {
  const { card } = await loadModel('digit-teacher');
  const other = { ...card, schedule: { ...card.schedule, sigmaMin: 0.03 } };
  const consistency = cd as unknown as Loss;
  expect(planOf(consistency, null, {}).options['sigmaMin']).toBe(0.002);
  expect(planOf(consistency, null, {}, other).options['sigmaMin']).toBe(0.03);
  expect(planOf(consistency, null, { sigmaMin: 0 }, other).options['sigmaMin']).toBe(0);
});

test('what does not divide evenly is refused', () => {
  expect(() => cuts({ batch: 10, parts: 4 })).toThrow('parts: a batch of 10 cannot be cut into 4 equal parts');
  expect(() => cuts({ batch: 10, parts: 2, beside: 3 })).toThrow('beside: a batch of 10 in 2 parts cannot be cut into 3 equal pieces each');
});

test('a method that compares the samples of a batch is not cut', () => {
  const coupled = { ...loss, coupled: true };
  expect(cuts({ batch: 64, threads: 4 }, coupled)).toEqual({ parts: 1, beside: 1 });
  for (const given of [{ parts: 2 }, { beside: 2 }])
    expect(() => cutsOf(coupled, planOf(loss, null, { batch: 64, ...given }).run)).toThrow('dmd2: compares the samples of a batch');
});

test('options of a distillation have different names, and none is a name of the command', async () => {
  for (const method of await allMethods()) {
    const names = ['teacher', 'start', 'config', 'out', 'resume', 'dryRun', 'json', 'debug'];
    for (const { schema, rename } of groupsOf(method, null)) names.push(...facts(schema).map(({ name }) => rename?.[name] ?? name));
    expect(
      names.filter((name, i) => names.indexOf(name) < i),
      method.name,
    ).toEqual([]);
  }
});
