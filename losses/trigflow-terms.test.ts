/** @file TrigFlow in our noise levels: its maps, its tangent, and where that is zero. */
import { describe, expect, test } from 'vitest';
import { gradients } from '../engine/graph/gradients.ts';
import { cos, reciprocal, sin } from '../engine/graph/ops/elementwise.ts';
import { constant, input } from '../engine/graph/ops/leaf.ts';
import { evaluate } from '../engine/graph/reference.ts';
import type { Tensor } from '../engine/graph/tensor.ts';
import { readGolden } from '../engine/testing/golden-tensors.ts';
import { type Network, networkOf } from '../engine/train/network.ts';
import { gaussian } from '../models/gaussian.ts';
import { edmPrecondition } from '../models/precondition.ts';
import { flowLevel } from './flow-terms.ts';
import { relative } from './testing/tiny.ts';
import { adaptively, movingOutput, tamed, tangentOf, towardsTangent, trigOf, trigVelocity } from './trigflow-terms.ts';

const SIGMA_DATA = 0.5;
const EXACT = { sigmaData: SIGMA_DATA, derivative: 'exact' } as const;
const numbers = (t: Tensor, feeds: Readonly<Record<string, ArrayLike<number>>> = {}): Float64Array =>
  evaluate([t], feeds)[0]!.data as Float64Array;
const column = (values: ArrayLike<number>): Tensor => constant(Float64Array.from(values), [values.length, 1]);
const one = constant(1);

const golden = readGolden('schedules/trigflow');
describe.skipIf(!golden)('as in the reference code', () => {
  const data = (name: string): Float64Array => golden!.tensor(name).data;
  const agree = (ours: Tensor, theirs: ArrayLike<number>): void => expect(relative(numbers(ours), theirs)).toBeLessThan(1e-10);
  test('the time of a level', () => {
    const { cos: c, sin: s } = trigOf(column(data('edm/sigma')), SIGMA_DATA);
    agree(c, data('edm/t_hat').map(Math.cos));
    agree(s, data('edm/t_hat').map(Math.sin));
  });
  test('a sample of TrigFlow and ours', () => {
    const sigma = constant(data('to_edm/t'), [7, 1, 1, 1]);
    const x = constant(data('to_edm/x'), golden!.tensor('to_edm/x').shape);
    agree(x.mul(trigOf(sigma, SIGMA_DATA).cos), data('to_edm/x_hat'));
  });
  test('a network of rectified flow as one of TrigFlow', () => {
    // The file's flow has data of unit deviation, TrigFlow's of σd: the clean sample, the common currency, is scaled by it.
    const s = column(data('fm/s'));
    const [xFlow, velocity] = ['x_fm', 'velocity'].map((name) => constant(data(`fm/${name}`), [5, 3])) as [Tensor, Tensor];
    const towards = xFlow.sub(s.mul(velocity)).mul(SIGMA_DATA);
    const sigma = flowLevel(s).mul(SIGMA_DATA);
    const x = xFlow.mul(reciprocal(s.neg().add(1))).mul(SIGMA_DATA);
    agree(x.mul(trigOf(sigma, SIGMA_DATA).cos), data('fm/x_trig'));
    agree(trigVelocity({ x, sigma, towards }, SIGMA_DATA).div(SIGMA_DATA), data('fm/F'));
  });
});

test('along data and noise the velocity is cos t z − sin t x0', () => {
  const [x0, eps, sigma] = [column([0.4, -0.9]), column([0.2, 1.6]), column([0.1, 7])];
  const { cos: c, sin: s } = trigOf(sigma, SIGMA_DATA);
  const velocity = trigVelocity({ x: x0.add(sigma.mul(eps)), sigma, towards: x0 }, SIGMA_DATA);
  expect(relative(numbers(velocity), numbers(c.mul(eps).mul(SIGMA_DATA).sub(s.mul(x0))))).toBeLessThan(1e-12);
});

describe('the tangent', () => {
  const teacher = gaussian({ mean: 0.3, std: 0.4 });
  const [x, sigma] = [column([0.5, -1.1, 30]), column([0.05, 1.2, 40])];
  const point = { x, sigma, towards: teacher.denoise(x, sigma) };

  test('is cos t df/dt, by central differences of f in TrigFlow’s own time', () => {
    const network = edmPrecondition((y, noise) => ({ output: sin(y.mul(1.7).add(noise.reshape([-1, 1]))), features: {} }), {
      sigmaData: SIGMA_DATA,
    });
    const found = numbers(tangentOf(movingOutput(network, point, {}, EXACT), point, one, SIGMA_DATA));
    // From (x̂, t) along dx̂/dt: the level is σd tan t, our sample x̂/cos t.
    const { cos: c } = trigOf(sigma, SIGMA_DATA);
    const t = column(numbers(sigma).map((level) => Math.atan(level / SIGMA_DATA)));
    const velocity = trigVelocity(point, SIGMA_DATA);
    const f = (h: number): Tensor => {
      const time = t.add(h);
      const y = x.mul(c).add(velocity.mul(h)).div(cos(time));
      return network.denoise(y, sin(time).div(cos(time)).mul(SIGMA_DATA));
    };
    const h = 1e-5; // the error of the difference is of order h²
    expect(
      relative(
        found,
        numbers(
          f(h)
            .sub(f(-h))
            .div(2 * h)
            .mul(c),
        ),
      ),
    ).toBeLessThan(1e-6);
  });

  test('without its second part pulls towards the teacher', () => {
    const { denoise } = gaussian({ mean: 0, std: 1 });
    const moving = { output: x, denoised: denoise(x, sigma), slope: x };
    const { cos: c, sin: s } = trigOf(sigma, SIGMA_DATA);
    const expected = denoise(x, sigma).sub(point.towards).mul(c.square()).div(s);
    expect(relative(numbers(tangentOf(moving, point, constant(0), SIGMA_DATA)), numbers(expected))).toBeLessThan(1e-12);
  });

  test('of the exact consistency function is zero', () => {
    // Trajectories of N(m, s²) are x(σ) = m + c √(s² + σ²), and end at m + c s.
    const end: Network['denoise'] = (y, level) =>
      y
        .sub(0.3)
        .mul(constant(0.4).div(level.square().add(0.16).sqrt()))
        .add(0.3);
    const moving = movingOutput(networkOf(end), point, {}, EXACT);
    expect(Math.max(...numbers(tangentOf(moving, point, one, SIGMA_DATA)).map(Math.abs))).toBeLessThan(1e-12);
    expect(Math.max(...numbers(moving.slope).map(Math.abs))).toBeGreaterThan(0.01); // its parts are not
  });
});

test('taming: by norm, root mean square, clipped, or not', () => {
  const g = constant(Float64Array.of(3, 4, 0, 0.5), [2, 2]);
  const of = (way: 'norm' | 'rms' | 'clip' | 'none'): number[] => [...numbers(tamed(g, way, 0.1))];
  expect(relative(of('norm'), [3 / 5.1, 4 / 5.1, 0, 0.5 / 0.6])).toBeLessThan(1e-12);
  const [first, second] = [5 / Math.SQRT2 + 0.1, 0.5 / Math.SQRT2 + 0.1];
  expect(relative(of('rms'), [3 / first, 4 / first, 0, 0.5 / second])).toBeLessThan(1e-12);
  expect(of('clip')).toEqual([1, 1, 0, 0.5]);
  expect(of('none')).toEqual([3, 4, 0, 0.5]);
});

test('the loss pulls along the tangent, under a learned weight', () => {
  const [output, variance] = [input('F', [2, 2]), input('v', [2, 1])];
  const g = constant(Float64Array.of(1, -2, 0.5, 3), [2, 2]);
  const loss = adaptively(towardsTangent(output, g), column([2, 4]), variance);
  const feeds = { F: [9, 8, 7, 6], v: [0.3, -0.2] };
  const [value, dF, dv] = evaluate([loss, ...gradients(loss, [output, variance])], feeds).map((v) => v.data);
  const errors = [(1 + 4) / 2, (0.25 + 9) / 2].map((e, i) => e * [2, 4][i]! * Math.exp(-feeds.v[i]!));
  expect(value![0]).toBeCloseTo((errors[0]! + 0.3 + errors[1]! - 0.2) / 2, 12);
  // −2 g/size × weight × e^(−v) / batch
  const expected = [1, -2, 0.5, 3].map((v, i) => (-2 * v * [2, 4][Math.floor(i / 2)]! * Math.exp(-feeds.v[Math.floor(i / 2)]!)) / 4);
  expect(relative(dF!, expected)).toBeLessThan(1e-12);
  expect(
    relative(
      dv!,
      errors.map((e) => (1 - e) / 2),
    ),
  ).toBeLessThan(1e-12);
});
