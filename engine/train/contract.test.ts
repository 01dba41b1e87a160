/** @file What a method may ask for beside players and phases: averages of players, numbers that depend on the step, memory, pairs, wider networks. */
import { expect, test } from 'vitest';
import { slice } from '../graph/ops/movement.ts';
import type { Tensor } from '../graph/tensor.ts';
import { InputError } from '../io/errors.ts';
import { ortRuntime } from '../run/ort.ts';
import { factor, networkOf, toySettings, toyTrainer } from '../testing/toy.ts';
import { arranged, defineLoss, followersOf, type Loss, originOf, type Scene, scalarsOf } from './loss.ts';
import type { Scope } from './network.ts';
import { options } from './options.ts';
import { type Batch, Trainer } from './trainer.ts';

const about = { title: 'a test of the contract', reference: '0000.00000', options: options({}) };
const ones = async (): Promise<Batch> => ({ images: new Float32Array(16).fill(1), labels: null });
const sgd = { optimizer: { kind: 'sgd', beta1: 0 }, lr: 0.5 } as const;

test('a player that follows another is its average, with the given rate of each step', async () => {
  const loss = defineLoss({
    ...about,
    name: 'following',
    players: { a: 'fresh', slow: { follows: 'a', beta: ({ step }) => [0.5, 0.25][step]! } },
    // d/dw mean(w x) = 1 for x = 1: SGD takes 0.5 off in each step.
    phases: {
      a: {
        trains: ['a'],
        terms: ({ nets, data }) => ({ loss: nets.a.denoise(data, data).mean(), slow: nets.slow.denoise(data, data).mean() }),
      },
    },
  }) as unknown as Loss;
  expect(Object.keys(followersOf(loss))).toEqual(['slow']);
  const trainer = await toyTrainer({ ...sgd, loss, networks: { a: factor(4), slow: factor(7) } });
  const seen: number[] = [];
  await trainer.run({ until: 2, batch: ones, onStep: ({ terms }) => void seen.push(terms['a/slow']!) });
  // It starts where `a` starts: 4; then ½·4 + ½·3.5 = 3.75; then ¼·3.75 + ¾·3 = 3.1875.
  expect(seen).toEqual([4, 3.75]);
  expect((await trainer.weights('slow')).get('w')!.data[0]).toBeCloseTo(3.1875, 6);
  const { vectors } = await trainer.snapshot();
  expect(Object.keys(vectors)).toContain('slow');
  await trainer.close();
});

test('the clock tells each step where training stands', async () => {
  const loss = defineLoss({
    ...about,
    name: 'clocked',
    players: { a: 'fresh' },
    clock: { share: ({ step, steps }) => step / steps, seen: ({ nimg }) => nimg },
    phases: {
      a: {
        trains: ['a'],
        terms: ({ nets, data, clock }) => ({ loss: nets.a.denoise(data, data).mean(), share: clock['share']!, seen: clock['seen']! }),
      },
    },
  }) as unknown as Loss;
  const settings = { ...toySettings({ loss, networks: { a: factor(1) } }), steps: 4 };
  const trainer = await Trainer.create(settings, ortRuntime({ threads: 1 }), {});
  const seen: number[][] = [];
  await trainer.run({ until: 3, batch: ones, onStep: ({ terms }) => void seen.push([terms['a/share']!, terms['a/seen']!]) });
  expect(seen).toEqual([
    [0, 0],
    [0.25, 8],
    [0.5, 16],
  ]);
  await trainer.close();
});

test.each([1, 2])('memory is kept from step to step and restored with it, batch in %i parts', async (parts) => {
  const loss = defineLoss({
    ...about,
    name: 'remembering',
    players: { a: 'fresh' },
    memory: { left: { shape: [2], value: 3 }, right: { shape: [], value: 1 } },
    phases: {
      a: {
        trains: ['a'],
        terms: ({ nets, data, memory }) => ({
          loss: nets.a.denoise(data, data).mean(),
          left: memory['left']!.mean(),
          right: memory['right']!,
        }),
        remember: ({ memory }) => ({ right: memory['right']!.mul(2) }),
      },
    },
  }) as unknown as Loss;
  const toy = { loss, networks: { a: factor(1) }, parts, batch: 8 / parts };
  const trainer = await toyTrainer(toy);
  const right: number[] = [];
  const run = { batch: ones, onStep: ({ terms }: { terms: Readonly<Record<string, number>> }) => void right.push(terms['a/right']!) };
  await trainer.run({ ...run, until: 2 });
  const other = await toyTrainer(toy);
  await other.restore(await trainer.snapshot());
  await other.run({ ...run, until: 3 });
  expect(right).toEqual([1, 2, 4]); // every part doubles it, and the parts' mean is kept
  expect([...(await other.weights('memory')).get('left')!.data]).toEqual([3, 3]);
  await Promise.all([trainer.close(), other.close()]);
});

test('pairs are fed, and a method that does not say so cannot use them', async () => {
  const paired = (pairs: boolean): Loss =>
    defineLoss({
      ...about,
      name: 'paired',
      players: { a: 'fresh' },
      pairs,
      phases: {
        a: { trains: ['a'], terms: ({ nets, pair }) => ({ loss: nets.a.denoise(pair().noise, pair().noise).sub(pair().sample).mean() }) },
      },
    }) as unknown as Loss;
  const trainer = await toyTrainer({ loss: paired(true), networks: { a: factor(3) } });
  const pairs = { noise: new Float32Array(16).fill(2), samples: new Float32Array(16).fill(5), labels: null };
  const losses: number[] = [];
  await trainer.run({
    until: 1,
    batch: async () => ({ ...(await ones()), pairs }),
    onStep: ({ terms }) => void losses.push(terms['a/loss']!),
  });
  expect(losses).toEqual([1]);
  await trainer.close();
  await expect(toyTrainer({ loss: paired(false), networks: { a: factor(3) } })).rejects.toThrow('paired uses pairs but does not say so');
});

test('a player that is told more than the teacher starts from its weights', async () => {
  const loss = defineLoss({
    ...about,
    name: 'wider',
    players: { student: { from: 'teacher', scalars: ['goal'] }, teacher: 'teacher', slow: { follows: 'student', beta: () => 0.5 } },
    phases: {
      s: {
        trains: ['student'],
        terms: ({ nets, data }) => ({
          loss: nets.student.denoise(data, data).sub(nets.slow.denoise(data, data)).mul(nets.teacher.denoise(data, data)).square().mean(),
        }),
      },
    },
  }) as unknown as Loss;
  expect([originOf(loss, 'student'), originOf(loss, 'slow'), scalarsOf(loss, 'slow')]).toEqual(['teacher', 'teacher', ['goal']]);
  const wide = (scope: Scope) => networkOf((x) => x.mul(scope('w', [1])).add(scope('told.goal.weight', [1])));
  const teacher = new Map([['w', { shape: [1], data: Float32Array.of(1.75) }]]);
  const networks = { student: wide, teacher: factor(1), slow: wide };
  const trainer = await toyTrainer({ loss, networks, given: { student: teacher, teacher } });
  for (const player of ['student', 'slow']) {
    const weights = await trainer.weights(player);
    expect([weights.get('w')!.data[0], weights.get('told.goal.weight')!.data[0]]).toEqual([1.75, 0]);
  }
  await trainer.close();
  // Anything else that is missing is a mistake.
  const lacking = new Map([['told.goal.weight', { shape: [1], data: Float32Array.of(0) }]]);
  await expect(toyTrainer({ loss, networks, given: { student: lacking, teacher } })).rejects.toThrow(InputError);
});

test('a player that recalls another one walks along its path; a resumed run does the same', async () => {
  // `a` is 4, 3.5, 3, 2.5, … before steps 0, 1, 2, 3; points keep it before steps 0 and 2, and `past` takes them in the other order.
  const loss = defineLoss({
    ...about,
    name: 'recalling',
    players: {
      a: 'fresh',
      past: {
        recalls: 'a',
        points: () => 2,
        keeps: ({ step }) => [0, null, 1][step] ?? null,
        takes: ({ step }) => [null, null, null, 1, 0][step] ?? null,
      },
    },
    phases: {
      a: {
        trains: ['a'],
        terms: ({ nets, data }) => ({ loss: nets.a.denoise(data, data).mean(), past: nets.past.denoise(data, data).mean() }),
      },
    },
  }) as unknown as Loss;
  const make = () => toyTrainer({ ...sgd, loss, networks: { a: factor(4), past: factor(7) } });
  const seen = async (trainer: Trainer, until: number): Promise<number[]> => {
    const found: number[] = [];
    await trainer.run({ until, batch: ones, onStep: ({ terms }) => void found.push(terms['a/past']!) });
    return found;
  };
  const trainer = await make();
  expect(await seen(trainer, 6)).toEqual([4, 4, 4, 3, 4, 4]);
  const cut = await make();
  await seen(cut, 3);
  const resumed = await make();
  await resumed.restore(await cut.snapshot());
  expect(await seen(resumed, 6)).toEqual([3, 4, 4]);
  for (const each of [trainer, cut, resumed]) await each.close();
});

test('options arrange players and phases, and a phase is told the length of the run', async () => {
  const phase = (player: string, from: number) => ({
    trains: [player],
    runs: (step: number, _: unknown, steps: number) => step >= from * steps,
    terms: ({ nets, data }: Scene) => ({ loss: nets[player]!.denoise(data, data).mean() }),
  });
  const loss = {
    ...about,
    name: 'arranging',
    players: { a: 'fresh' },
    phases: {},
    arrange: ({ both }: { readonly both: boolean }) => ({
      players: both ? { a: 'fresh', b: 'fresh' } : { a: 'fresh' },
      phases: both ? { a: phase('a', 0), b: phase('b', 0.5) } : { a: phase('a', 0) },
    }),
  } as unknown as Loss;
  expect(Object.keys(arranged(loss, { both: false }).players)).toEqual(['a']);
  const settings = { ...toySettings({ ...sgd, loss: arranged(loss, { both: true }), networks: { a: factor(4), b: factor(4) } }), steps: 4 };
  const trainer = await Trainer.create(settings, ortRuntime({ threads: 1 }), {});
  const seen: string[][] = [];
  await trainer.run({ until: 4, batch: ones, onStep: ({ terms }) => void seen.push(Object.keys(terms).filter((t) => t.endsWith('loss'))) });
  expect(seen).toEqual([['a/loss'], ['a/loss'], ['a/loss', 'b/loss'], ['a/loss', 'b/loss']]);
  await trainer.close();
});

test('conditions are drawn among some classes as often as the data set has them', async () => {
  const sample = { shape: [2], classes: 4 };
  const loss = defineLoss({
    ...about,
    name: 'grouped',
    players: { a: 'fresh' },
    phases: {
      a: {
        trains: ['a'],
        terms({ nets, data, draw }) {
          const label = draw.condition('some', [1, 3])['label']!;
          const share = (c: number): Tensor => slice(label, 1, c, c + 1).mean();
          return { loss: nets.a.denoise(data, data).mean(), c0: share(0), c1: share(1), c2: share(2), c3: share(3) };
        },
      },
    },
  }) as unknown as Loss;
  const trainer = await toyTrainer({ ...sgd, loss, sample, networks: { a: factor(1) }, batch: 1000, labels: [0, 1, 1, 1, 2, 3, 0, 2] });
  const shares: Record<string, number> = {};
  const batch = async (): Promise<Batch> => ({ images: new Float32Array(2000), labels: new Float32Array(4000) });
  await trainer.run({ until: 1, batch, onStep: ({ terms }) => void Object.assign(shares, terms) });
  expect([shares['a/c0'], shares['a/c2']]).toEqual([0, 0]);
  expect(Math.abs(shares['a/c1']! - 0.75)).toBeLessThan(0.06); // 4 standard errors
  expect(shares['a/c1']! + shares['a/c3']!).toBeCloseTo(1, 6);
  await trainer.close();
});

test('weights that a method freezes stay as they start and are kept with the others', async () => {
  const two = (scope: Scope) =>
    networkOf((x) => x.mul(scope('w', [1], { kind: 'constant', value: 4 })).add(scope('b', [1], { kind: 'constant', value: 2 })));
  const loss = defineLoss({
    ...about,
    name: 'freezing',
    players: { a: 'fresh' },
    freezes: () => ({ a: (weight) => weight === 'b' }),
    phases: { a: { trains: ['a'], terms: ({ nets, data }) => ({ loss: nets.a.denoise(data, data).mean() }) } },
  }) as unknown as Loss;
  const trainer = await toyTrainer({ ...sgd, loss, networks: { a: two }, averages: ['constant:0.5'] });
  await trainer.run({ until: 2, batch: ones });
  expect([...(await trainer.weights('a'))].map(([name, { data }]) => [name, data[0]])).toEqual([
    ['w', 3],
    ['b', 2],
  ]);
  expect((await trainer.weights('a', 'constant:0.5')).get('b')!.data[0]).toBe(2);
  expect((await trainer.snapshot()).vectors['a']).toHaveLength(1);
  await trainer.close();
});
