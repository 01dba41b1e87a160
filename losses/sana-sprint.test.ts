/** @file SANA-Sprint: its consistency against stored values, its judges against LADD's, teachers of rectified flow, and the scale that is told. */
import { describe, expect, test } from 'vitest';
import '../engine/graph/fluent.ts';
import { constant } from '../engine/graph/ops/leaf.ts';
import { linear } from '../engine/graph/ops/linalg.ts';
import type { Tensor } from '../engine/graph/tensor.ts';
import { readGolden } from '../engine/testing/golden-tensors.ts';
import type { Loss } from '../engine/train/loss.ts';
import { type Condition, type Head, type Network, networkOf, type Scope } from '../engine/train/network.ts';
import { resolve } from '../engine/train/options.ts';
import ladd from './ladd.ts';
import sana from './sana-sprint.ts';
import scm from './scm.ts';
import { flatFlow, flatNetwork } from './testing/flat.ts';
import { oneHot, parameterGradients, rehearse, relative, storedWeights, weightFeeds } from './testing/tiny.ts';
import { movingOutput } from './trigflow-terms.ts';

const loss = sana as unknown as Loss;
const mean = (values: readonly number[] | Float64Array): number => [...values].reduce((a, b) => a + b, 0) / values.length;
const logVariance =
  (scope: Scope): Head =>
  (_, sigma) =>
    linear(sigma.log().mul(0.25).reshape([-1, 1]), scope('logvar.weight', [1, 1]), scope('logvar.bias', [1]));
/** v · mean of the map + b. */
const meanHead =
  (scope: Scope): Head =>
  ({ bottleneck }) =>
    (bottleneck as Tensor)
      .meanPerSample()
      .reshape([-1, 1])
      .mul(scope('v', [1]))
      .add(scope('b', [1]));
/** Ends of drawn values, by the name of their draw. */
const fed = (draws: readonly { readonly name: string; readonly kind: string; readonly shape: readonly number[] }[]) =>
  Object.fromEntries(
    draws.map(({ name, shape }, k) => [
      `draw/${name}`,
      Float64Array.from(
        { length: shape.reduce((n, d) => n * d, 1) },
        (_, i) => ((0.37 * (i + 1) + 0.211 * name.length + 0.1 * k) % 1) * 0.98,
      ),
    ]),
  );

const golden = readGolden<{ readonly tolerance: number }>('losses/scm');
test.skipIf(!golden)('the consistency term and its gradients are those of sCM', () => {
  const CASE = 'scd_plain_norm'; // the teacher's trajectory, the plain norm, the mean over values taken once
  const tensor = (name: string) => golden!.tensor(name).data;
  const all = storedWeights(golden!, 'net.');
  const rehearsal = rehearse(loss, 'student', {
    networks: { student: flatNetwork(2), teacher: flatNetwork(2) },
    heads: { variance: logVariance, discriminator: meanHead },
    sample: { shape: [2, 4, 4], classes: 0 },
    batch: 5,
    options: { guidances: [1], guidance: 1, levelMean: 0, levelStd: 1 },
  });
  const feeds = {
    ...fed(rehearsal.draws),
    ...weightFeeds({ student: all, teacher: storedWeights(golden!, 'teacher.') }),
    ...Object.fromEntries(['weight', 'bias'].map((name) => [`variance/logvar.${name}`, all.get(`model.logvar.${name}`)!.data])),
    'discriminator/v': [1],
    'discriminator/b': [0],
    data: tensor('real_data'),
    'draw/level': tensor('t').map(Math.log),
    'draw/eps': tensor('z_unit'),
    'clock/tangent': [1],
  };
  const { terms } = rehearsal;
  expect(relative(rehearsal.evaluate([terms['consistent']!], feeds)[0]!, [mean(tensor(`${CASE}/loss`) as Float64Array)])).toBeLessThan(
    1e-9,
  );
  const student = parameterGradients(rehearsal, 'student', terms['consistent']!, feeds);
  expect(student.size).toBe(6);
  for (const [name, gradient] of student) expect(relative(gradient, tensor(`${CASE}/grad.${name}`)), name).toBeLessThan(1e-9);
  const variance = parameterGradients(rehearsal, 'variance', terms['consistent']!, feeds);
  expect(variance.size).toBe(2);
  for (const [name, gradient] of variance) expect(relative(gradient, tensor(`${CASE}/grad.model.${name}`)), name).toBeLessThan(1e-9);
});

// Points [2,1]. The student says w x; the hidden map is g·x_t.
const student = (scope: Scope): Network => networkOf((x) => x.mul(scope('w', [1])));
const judge = (scope: Scope): Network => ({
  denoise: (x) => x.mul(0.5),
  predict: (x) => ({ denoised: x, features: { bottleneck: x.mul(scope('g', [1])) }, extras: {} }),
});
const points = {
  'student/w': [0.01],
  'teacher/g': [1.5],
  'discriminator/v': [0.7],
  'discriminator/b': [0.2],
  data: [0.5, -1],
  'clock/tangent': [1],
};
const staged = (of: Loss, phase: string, options: Readonly<Record<string, unknown>>) =>
  rehearse(of, phase, {
    networks: { student, teacher: judge },
    heads: { discriminator: meanHead, ...(of === loss ? { variance: logVariance } : {}) },
    sample: { shape: [1], classes: 0 },
    batch: 2,
    options,
  });

describe('judged as in LADD', () => {
  const options = { judgeMean: -0.6, pure: 0.5, r1: 0.7 };
  const feeds = { ...points, 'variance/logvar.weight': [0.3], 'variance/logvar.bias': [-0.1] };
  test.each(['student', 'discriminator', 'penalised'])('phase %s', (phase) => {
    const [ours, theirs] = [staged(loss, phase, options), staged(ladd as unknown as Loss, phase, options)];
    const draws = fed(ours.draws);
    const values = (s: typeof ours, name: string) => s.evaluate([s.terms[name]!], { ...feeds, ...draws })[0]![0]!;
    expect(values(ours, phase === 'student' ? 'gan' : 'loss')).toBeCloseTo(values(theirs, 'loss'), 12);
    const trained = phase === 'student' ? 'student' : 'discriminator';
    const slopes = (s: typeof ours, name: string) => parameterGradients(s, trained, s.terms[name]!, { ...feeds, ...draws });
    for (const [name, slope] of slopes(theirs, 'loss'))
      expect(relative(slopes(ours, phase === 'student' ? 'gan' : 'loss').get(name)!, slope), name).toBeLessThan(1e-12);
  });
  test('beside the consistency, with the weights of both', () => {
    const s = staged(loss, 'student', { ...options, consistencyWeight: 2, ganWeight: 0.25 });
    const [all, consistent, gan] = s.evaluate([s.terms['loss']!, s.terms['consistent']!, s.terms['gan']!], { ...feeds, ...fed(s.draws) });
    expect(all![0]).toBeCloseTo(2 * consistent![0]! + 0.25 * gan![0]!, 12);
  });
});

test('the F of a network of rectified flow', () => {
  // With data of unit deviation: F = ((1 − 2s) x + (1 − 2s + 2s²) v)/n at x = (1 − s) x0 + s ε, n² = s² + (1 − s)², in the appendix on flows.
  const scopes = new Map<string, Tensor>();
  const scope = Object.assign(
    (name: string, shape: readonly number[]) => {
      const size = shape.reduce((a, b) => a * b, 1);
      if (!scopes.has(name))
        scopes.set(
          name,
          constant(
            Float64Array.from({ length: size }, (_, i) => Math.sin(1 + i) / 2),
            shape,
          ),
        );
      return scopes.get(name)!;
    },
    { buffer: () => constant(0) },
  ) as Scope;
  const network = flatFlow(2, 'goal')(scope);
  const levels = [0.05, 0.9, 12];
  const sigma = constant(Float64Array.from(levels), [3, 1, 1, 1]);
  const x = constant(
    Float64Array.from({ length: 96 }, (_, i) => Math.cos(0.7 * i) * (1 + levels[Math.floor(i / 32)]!)),
    [3, 2, 4, 4],
  );
  const { output } = movingOutput(network, { x, sigma, towards: x.mul(0.5) }, {}, { sigmaData: 1, derivative: 'exact' });
  const s = sigma.div(sigma.add(1));
  const flow = x.div(sigma.add(1));
  const velocity = network.predict(x, sigma).extras['raw']!;
  const linearly = s.mul(-2).add(1);
  const n = s.square().add(s.neg().add(1).square()).sqrt();
  const known = flow
    .mul(linearly)
    .add(velocity.mul(linearly.add(s.square().mul(2))))
    .div(n);
  const rehearsal = staged(ladd as unknown as Loss, 'student', {});
  const [ours, theirs] = rehearsal.evaluate([output, known], {});
  expect(relative(ours!, theirs!)).toBeLessThan(1e-12);
});

describe('the scale of guidance', () => {
  /** Labels push the denoised sample up; what every call was told is kept. */
  function called(options: Readonly<Record<string, unknown>>) {
    const seen: { readonly who: string; readonly condition: Condition; readonly said: Tensor }[] = [];
    const spy = (who: string) => (): Network =>
      networkOf((x, _, condition = {}) => {
        const said = x.mul(0.1).add(condition['label'] ? condition['label'].matmul(constant(Float64Array.of(1, 2), [2, 1])) : 0);
        seen.push({ who, condition, said });
        return said;
      });
    const rehearsal = rehearse(loss, 'student', {
      networks: { student: spy('student'), teacher: spy('teacher') },
      heads: { variance: () => (_, sigma) => sigma.mul(0).reshape([-1, 1]), discriminator: meanHead },
      sample: { shape: [1], classes: 2 },
      batch: 3,
      options,
    });
    return { rehearsal, seen };
  }
  const options = { guidances: [1, 1.5, 3], guidance: 1.5 };
  test('each sample has one of the scales, and the student is told where it lies among them', () => {
    const { rehearsal, seen } = called(options);
    const feeds = { ...fed(rehearsal.draws), label: oneHot([0, 1, 0], 2), data: [0, 0, 0], 'draw/guidance': [0.99, 0.1, 0.5] };
    const told = seen.find(({ who, condition }) => who === 'student' && condition['guidance'])!.condition['guidance']!;
    expect([...rehearsal.evaluate([told], feeds)[0]!]).toEqual([1, 0, 0.25]);
    expect(seen.filter(({ who, condition }) => who === 'teacher' && condition['guidance'])).toEqual([]);
  });
  test('it guides the teacher, as one fixed scale does in sCM', () => {
    const network = (scope: Scope) =>
      networkOf((x, sigma, { label } = {}) => {
        const said = x.mul(scope('w', [1])).div(sigma.square().add(1));
        return label ? said.add(label.matmul(scope('b', [2, 1]))) : said;
      });
    const consistent = (of: Loss, name: string, given: Readonly<Record<string, unknown>>) => {
      const rehearsal = rehearse(of, 'student', {
        networks: { student: network, teacher: network },
        heads: { variance: logVariance, ...(of === loss ? { discriminator: meanHead } : {}) },
        sample: { shape: [1], classes: 2 },
        batch: 3,
        options: { levelMean: 0.2, levelStd: 1.6, priorWeight: true, ...given },
      });
      const weights = { 'student/w': [0.3], 'student/b': [0.1, 0.2], 'teacher/w': [0.5], 'teacher/b': [-0.3, 0.4] };
      const others = { 'variance/logvar.weight': [0.3], 'variance/logvar.bias': [-0.1], 'discriminator/v': [1], 'discriminator/b': [0] };
      const values = {
        label: oneHot([0, 1, 0], 2),
        data: [0.2, -0.4, 0.9],
        'clock/tangent': [0.7],
        'draw/level': [0.2, -1, 0.6],
        'draw/eps': [1, 0.3, -2],
      };
      return rehearsal.evaluate([rehearsal.terms[name]!], { ...fed(rehearsal.draws), ...weights, ...others, ...values })[0]![0]!;
    };
    const guidance3 = consistent(scm as unknown as Loss, 'loss', { guidance: 3 });
    expect(consistent(loss, 'consistent', { guidances: [3], guidance: 3 })).toBeCloseTo(guidance3, 12);
    expect(Math.abs(guidance3 - consistent(scm as unknown as Loss, 'loss', { guidance: 1 }))).toBeGreaterThan(1e-3);
  });
  test('the finished student is told the one of the option', () => {
    const form = (given: Readonly<Record<string, unknown>>) => sana.form!(resolve('sana-sprint', sana.options, given));
    expect(form(options)).toEqual({ kind: 'told', scalars: { guidance: 0.25 } });
    expect(form({ guidances: [2], guidance: 2 })).toEqual({ kind: 'told', scalars: { guidance: 0 } });
  });
  test.each([{ guidances: [] }, { guidances: [1, 2], guidance: 2.5 }, { guidances: [3, 2], guidance: 1 }])('%o is refused', (given) => {
    expect(() => called(given)).toThrow('sana-sprint.guidance');
  });
});
