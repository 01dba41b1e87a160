/** @file Phased DMD: the fake score's target between two levels, and where phases begin and end. */
import '../engine/graph/fluent.ts';
import { expect, test } from 'vitest';
import { constant } from '../engine/graph/ops/leaf.ts';
import { evaluate } from '../engine/graph/reference.ts';
import { arranged, type Loss } from '../engine/train/loss.ts';
import { networkOf, type Scope } from '../engine/train/network.ts';
import { resolve } from '../engine/train/options.ts';
import phasedDmd, { scoreTarget } from './phased-dmd.ts';
import { rehearse } from './testing/tiny.ts';

const loss = phasedDmd as unknown as Loss;
/** The target where x of level s became x of level σ. */
const target = (xs: number, xt: number, s: number, sigma: number): number =>
  evaluate([scoreTarget(constant(xs), constant(xt), constant(sigma), constant(sigma ** 2 - s ** 2))])[0]!.data[0]!;
/** A flow's x and time as ours: x = x_flow/(1 − t), σ = t/(1 − t). */
const level = (t: number): number => t / (1 - t);

test('the target is the velocity that the paper gives, as an estimate of the clean sample', () => {
  const [s, t, xs, eps] = [0.5, 0.8, -0.7, 1.3];
  const [as, at] = [1 - s, 1 - t];
  const between = Math.sqrt(t ** 2 - (at / as) ** 2 * s ** 2);
  const xt = (at / as) * xs + between * eps;
  const u = ((as ** 2 * t + at * s ** 2) / (as ** 2 * between)) * eps - xs / as;
  expect(target(xs / as, xt / at, level(s), level(t))).toBeCloseTo(xt - t * u, 12); // x0 = x_t − t u
});

test('its mean is that of the clean sample: a discrete distribution, by enumeration', () => {
  const atoms = [-1, 0, 1, 2];
  const [s, t] = [level(0.5), level(0.8)];
  const velocities = [-0.868, -0.371, 0.125, 0.621].map((flow) => {
    const x = flow / 0.2;
    const weights = atoms.map((a) => Math.exp(-((x - a) ** 2) / (2 * t ** 2)));
    const total = weights.reduce((a, b) => a + b);
    // Given x0 and x_t, x_s lies on the line between them at the share of the variance.
    const xs = atoms.reduce((sum, a, i) => sum + (weights[i]! / total) * (a + (s / t) ** 2 * (x - a)), 0);
    const clean = atoms.reduce((sum, a, i) => sum + (weights[i]! / total) * a, 0);
    expect(target(xs, x, s, t)).toBeCloseTo(clean, 12);
    return (flow - target(xs, x, s, t)) / 0.8;
  });
  // Exact velocities of this example, whose naive target ε − x_s is off by 0.25.
  for (const [i, exact] of [-1.26, -0.866, -0.481, -0.095].entries()) expect(velocities[i]).toBeCloseTo(exact, 3);
});

/** D(x) = c whatever x is, each player with a number of its own. */
const always = (c: number) => (scope: Scope) =>
  networkOf((x) =>
    x
      .mul(0)
      .add(scope('c', [1]))
      .add(c),
  );
const stage = (options: Readonly<Record<string, unknown>>) => {
  const own = arranged(loss, resolve(loss.name, loss.options, options));
  const networks = Object.fromEntries(Object.keys(own.players).map((name, i) => [name, always(i + 1)]));
  return { own, rehearse: (phase: string) => rehearse(own, phase, { networks, sample: { shape: [1], classes: 0 }, batch: 2, options }) };
};

test('a phase starts where the experts before it end, and is led between its own levels', () => {
  const { own, rehearse: of } = stage({ phases: 2, studentLevels: [80, 20, 8, 2] });
  expect(Object.keys(own.players)).toEqual(['expert1', 'expert2', 'teacher', 'fake1', 'fake2']);
  expect(own.experts!(resolve(loss.name, loss.options, { studentLevels: [80, 20, 8, 2] }), 0)).toEqual([
    { player: 'expert1', above: 8 },
    { player: 'expert2', above: 0 },
  ]);
  const trained = [1, 2].map((k) => [...of(`student${k}`).parameters(`expert${k}`).keys()].length);
  expect(trained).toEqual([1, 1]);
  // The second phase asks both experts, the first none but its own.
  expect(of('student1').parameters('expert2').size).toBe(0);
  expect(of('student2').parameters('expert1').size).toBe(1);
  const { draws, evaluate: values, terms } = of('critic1');
  const feeds = Object.fromEntries(draws.map(({ name, shape }) => [`draw/${name}`, new Float32Array(shape.reduce((n, d) => n * d, 1))]));
  const names = ['expert1', 'fake1'].map((player) => [`${player}/c`, [0]] as const);
  const [score] = values([terms['score']!], { ...feeds, ...Object.fromEntries(names), data: [0, 0] });
  expect(Number.isFinite(score![0])).toBe(true);
});

test('phases have equal parts of the run', () => {
  const { own } = stage({ phases: 2 });
  const options = resolve(loss.name, loss.options, { phases: 2, ratio: 2 }) as never;
  const running = [0, 1, 4, 5, 6, 9].map((step) => Object.keys(own.phases).filter((name) => own.phases[name]!.runs!(step, options, 10)));
  expect(running).toEqual([
    ['student1', 'critic1'],
    ['critic1'],
    ['student1', 'critic1'],
    ['critic2'],
    ['student2', 'critic2'],
    ['critic2'],
  ]);
});

test('levels that do not fall, or that phases cannot share', () => {
  expect(() => stage({ studentLevels: [80, 90] }).rehearse('student1')).toThrow('phased-dmd.studentLevels: [80,90] are not falling levels');
  expect(() => stage({ studentLevels: [80, 8, 2] }).rehearse('student1')).toThrow(
    'phased-dmd.studentLevels: 3 levels cannot be shared by 2 phases; give a multiple of 2',
  );
});
