/** @file Consistency distillation against FastGen's loss through tiny networks, and the paper's step of Heun by hand. */
import { describe, expect, test } from 'vitest';
import { readGolden } from '../engine/testing/golden-tensors.ts';
import type { Loss } from '../engine/train/loss.ts';
import { networkOf } from '../engine/train/network.ts';
import { karras } from '../samplers/karras.ts';
import cd from './cd.ts';
import { factorAt, lognormalDraws, proportional, slopeAt, twoChannels } from './testing/consistency.ts';
import { parameterGradients, rehearse, relative, storedWeights, weightFeeds } from './testing/tiny.ts';

const loss = cd as unknown as Loss;
interface Case {
  readonly name: string;
  readonly use_cd: boolean;
  readonly ratio: number;
  readonly huber_const: number;
  readonly guidance_scale: number | null;
}
const golden = readGolden<{ readonly tolerance: number; readonly cases: readonly Case[] }>('losses/consistency_network');
describe.skipIf(!golden)('with its options, the loss and its gradients are those of FastGen', () => {
  const { tensor, config } = golden ?? { tensor: undefined as never, config: { tolerance: 0, cases: [] as Case[] } };
  test.each(config.cases.filter(({ use_cd }) => use_cd))('$name', ({ name, ratio, huber_const, guidance_scale }) => {
    const options = {
      solver: 'euler',
      pairing: 'gap',
      decay: 0,
      distance: 'huber',
      huber: huber_const,
      weight: 'gap',
      sigmaMin: 0,
      guidance: guidance_scale ?? 1,
    };
    const networks = { student: twoChannels(3), target: twoChannels(3), teacher: twoChannels(3) };
    const rehearsal = rehearse(loss, 'student', { networks, sample: { shape: [2, 4, 4], classes: 3 }, batch: 5, options });
    const own = storedWeights(golden!, 'net.');
    const feeds = {
      ...weightFeeds({ student: own, target: own, teacher: storedWeights(golden!, 'teacher.') }),
      data: tensor('real_data').data,
      label: tensor('label').data,
      'clock/gap': [1 - ratio],
      'draw/level': lognormalDraws(tensor('t').data),
      'draw/eps': tensor(`${name}/eps`).data,
    };
    const [ours] = rehearsal.evaluate([rehearsal.terms['loss']!], feeds);
    const theirs = tensor(`${name}/loss`).data;
    expect(relative(ours!, [theirs.reduce((a, b) => a + b) / theirs.length])).toBeLessThan(config.tolerance);
    const gradients = parameterGradients(rehearsal, 'student', rehearsal.terms['loss']!, feeds);
    expect(gradients.size).toBe(7);
    for (const [weight, gradient] of gradients)
      expect(relative(gradient, tensor(`${name}/grad.${weight}`).data), weight).toBeLessThan(config.tolerance);
  });
});

test("the target is the average's word on Heun's step of the teacher", () => {
  const networks = { student: proportional, target: proportional, teacher: () => networkOf((x, sigma) => x.div(sigma.square().add(1))) };
  const rehearsal = rehearse(loss, 'student', { networks, sample: { shape: [1], classes: 0 }, batch: 1, options: { levels: 11 } });
  const feeds = { 'student/w': [0.9], 'target/w': [0.4], data: [0.6], 'draw/index': [0.25], 'draw/eps': [0.5] };
  const [r, t] = [karras().levels(11)[8]!, karras().levels(11)[7]!];
  const slope = (x: number, sigma: number): number => (x - x / (1 + sigma ** 2)) / sigma;
  const xt = 0.6 + t * 0.5;
  const probe = xt + (r - t) * slope(xt, t);
  const xr = xt + ((r - t) * (slope(xt, t) + slope(probe, r))) / 2;
  const difference = factorAt(0.9, t) * xt - factorAt(0.4, r) * xr;
  const { terms } = rehearsal;
  expect(rehearsal.evaluate([terms['loss']!], feeds)[0]![0]).toBeCloseTo(difference ** 2, 10);
  const gradient = (player: string) => parameterGradients(rehearsal, player, terms['loss']!, feeds).get('w')![0]!;
  expect(gradient('student')).toBeCloseTo(2 * difference * slopeAt(t) * xt, 10);
  expect(gradient('target')).toBe(0);
});
