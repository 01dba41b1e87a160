/** @file Score identity distillation's terms and gradients against the reference code, and SiDA's against what they say in plain numbers. */
import { describe, expect, test } from 'vitest';
import { gradients } from '../engine/graph/gradients.ts';
import { input } from '../engine/graph/ops/leaf.ts';
import { evaluate } from '../engine/graph/reference.ts';
import type { Tensor } from '../engine/graph/tensor.ts';
import { readGolden } from '../engine/testing/golden-tensors.ts';
import type { Loss } from '../engine/train/loss.ts';
import type { Network, Scope } from '../engine/train/network.ts';
import { identityScale, scaledGeneratorLoss, scoreIdentity, weightedDiscriminatorLoss } from './score-identity-terms.ts';
import sid from './sid.ts';
import { parameterGradients, rehearse, relative, type Stage, storedWeights, tinyNetwork, weightFeeds } from './testing/tiny.ts';

const loss = sid as unknown as Loss;
const BATCH = 4;
const SIZE = BATCH * 48;
/** A student whose sample is its only weight, so that gradients on the image are gradients of a weight. */
const image = (scope: Scope): Network => {
  const denoised = scope('image', [BATCH, 3, 4, 4]);
  return { denoise: () => denoised, predict: () => ({ denoised, features: {}, extras: {} }) };
};
const stage: Stage = {
  networks: { student: image, teacher: tinyNetwork, fake: tinyNetwork },
  sample: { shape: [3, 4, 4], classes: 0 },
  batch: BATCH,
  options: { levelMean: -1.2, levelStd: 1.2 },
};
const times = (values: ArrayLike<number>, factor: number): Float64Array => Float64Array.from(values, (v) => v * factor);

const golden = readGolden<{ readonly tmax: number }>('losses/sid');
describe.skipIf(!golden)('values and gradients of the reference code', () => {
  const tensor = (name: string) => golden!.tensor(name);
  const feeds = () => ({
    ...weightFeeds({ teacher: storedWeights(golden!, 'teacher.'), fake: storedWeights(golden!, 'fake.') }),
    'student/image': tensor('image').data,
    'draw/student z': new Float64Array(SIZE),
    'draw/fake z': new Float64Array(SIZE),
    'draw/matching level': tensor('u').data,
    'draw/matching noise': tensor('noise').data,
    'draw/fake level': tensor('critic/normal').data,
    'draw/fake noise': tensor('noise').data,
  });
  // Our arithmetic is float64; the reference makes its noise levels in float32.
  const sum = (name: string): number => tensor(name).data.reduce((a, b) => a + b, 0);

  test.each([1, 1.2])("the student's term with alpha %d, through both networks", (alpha) => {
    const student = rehearse(loss, 'student', { ...stage, options: { ...stage.options, alpha, highest: golden!.config.tmax / 1000 } });
    const [value] = student.evaluate([student.terms['loss']!], feeds());
    expect(relative(times(value!, SIZE), [sum(`alpha${alpha}/loss`)])).toBeLessThan(1e-6);
    const slopes = parameterGradients(student, 'student', student.terms['loss']!, feeds()).get('image')!;
    expect(relative(times(slopes, SIZE), tensor(`alpha${alpha}/grad_of_sum`).data)).toBeLessThan(1e-6);
  });

  test("the fake score's term", () => {
    const fake = rehearse(loss, 'fake', stage);
    const [value] = fake.evaluate([fake.terms['loss']!], feeds());
    expect(relative(times(value!, SIZE), [sum('critic/loss')])).toBeLessThan(1e-6);
    const slopes = parameterGradients(fake, 'fake', fake.terms['loss']!, feeds());
    const stored = golden!.names.filter((name) => name.startsWith('critic/grad_of_sum.'));
    expect(stored).toHaveLength(slopes.size - 1); // all but the labels, which these samples do not have
    for (const name of stored)
      expect(relative(times(slopes.get(name.slice('critic/grad_of_sum.'.length))!, SIZE), tensor(name).data), name).toBeLessThan(1e-6);
    expect(
      parameterGradients(fake, 'student', fake.terms['loss']!, feeds())
        .get('image')!
        .every((v) => v === 0),
    ).toBe(true);
  });

  test('the losses of SiDA are the two terms, weighted as sums over a sample', () => {
    const labelled = { ...feeds(), data: tensor('image').data.map((v) => 1 - v) };
    const student = rehearse(loss, 'student', { ...stage, options: { ganWeight: 0.25 } });
    const [all, matching, gan] = student.evaluate(
      ['loss', 'matching', 'gan'].map((name) => student.terms[name]!),
      labelled,
    );
    expect(all![0]).toBeCloseTo(matching![0]! + 0.25 * gan![0]!, 12);
    const fake = rehearse(loss, 'fake', { ...stage, options: { ganWeight: 0.25, discriminatorWeight: 2 } });
    const [whole, score, discriminator, real, generated] = fake.evaluate(
      ['loss', 'score', 'gan', 'real', 'fake'].map((name) => fake.terms[name]!),
      labelled,
    );
    expect(whole![0]).toBeCloseTo(score![0]! + (2 / 48) * discriminator![0]!, 12);
    expect(real![0]).not.toBeCloseTo(generated![0]!, 6);
    // The logits depend on the first convolution, which is shared, and not on the last one.
    const slopes = parameterGradients(fake, 'fake', fake.terms['gan']!, labelled);
    expect(Math.max(...slopes.get('model.conv_in.weight')!.map(Math.abs))).toBeGreaterThan(1e-6);
    expect(slopes.get('model.conv_out.weight')!.every((v) => v === 0)).toBe(true);
  });
});

describe('terms', () => {
  const [x, real, fake] = ['x', 'real', 'fake'].map((name) => input(name, [2, 2])) as [Tensor, Tensor, Tensor];
  const feeds = { x: [1, 2, -1, 0], real: [0.5, 1, -1, 0], fake: [2, 0, 0.5, 1] };
  const values = (y: Tensor, also: Readonly<Record<string, readonly number[]>> = {}) => [...evaluate([y], { ...feeds, ...also })[0]!.data];

  test('the identity is (1 − α) d² + d (D_ψ − x)', () => {
    const [d, rest] = [real.sub(fake), fake.sub(x)];
    const same = d
      .square()
      .mul(1 - 0.7)
      .add(d.mul(rest));
    values(scoreIdentity(x, real, fake, 0.7)).forEach((v, i) => {
      expect(v).toBeCloseTo(values(same)[i]!, 12);
    });
  });
  test('the scale has a floor and no gradient', () => {
    expect(values(identityScale(x, real))).toEqual([0.75, 1e-5]);
    expect(values(gradients(identityScale(x, real).sum(), [x])[0]!)).toEqual([0, 0, 0, 0]);
  });
  test("adversarial terms weigh each sample's mean", () => {
    const [a, b] = [input('a', [2, 1, 1, 2]), input('b', [2, 1, 1, 2])];
    const logits = { a: [0, 2, -1, 3], b: [1, 1, -2, 0] };
    const softplus = (v: number): number => Math.log1p(Math.exp(v));
    const scale = input('scale', [2, 1, 1, 1]);
    const pull = (softplus(0) + softplus(-2)) / 2 / 0.5 + (softplus(1) + softplus(-3)) / 2 / 4;
    expect(values(scaledGeneratorLoss(a, scale), { ...logits, scale: [0.5, 4] })[0]).toBeCloseTo(pull / 2, 12);
    const first = (softplus(0) + softplus(-2) + softplus(1) + softplus(1)) / 2;
    const second = (softplus(1) + softplus(-3) + softplus(-2) + softplus(0)) / 2;
    const judged = weightedDiscriminatorLoss(a, b, scale);
    expect(values(judged, { ...logits, scale: [0.5, 4] })[0]).toBeCloseTo((0.5 * first + 4 * second) / 4, 12);
  });
});
