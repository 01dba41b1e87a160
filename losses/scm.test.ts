/** @file sCM against FastGen: velocities, derivatives, tangents, losses and gradients. */
import { describe, expect, test } from 'vitest';
import { constant } from '../engine/graph/ops/leaf.ts';
import { linear } from '../engine/graph/ops/linalg.ts';
import { readGolden } from '../engine/testing/golden-tensors.ts';
import type { Loss } from '../engine/train/loss.ts';
import type { Head, Scope } from '../engine/train/network.ts';
import scm from './scm.ts';
import { flatNetwork } from './testing/flat.ts';
import { parameterGradients, rehearse, relative, storedWeights, weightFeeds } from './testing/tiny.ts';
import { movingOutput, trigOf, trigVelocity } from './trigflow-terms.ts';

const loss = scm as unknown as Loss;
interface Case {
  readonly name: string;
  readonly use_cd: boolean;
  readonly iteration: number;
  readonly tangent_warmup_steps: number;
  readonly g_norm_spatial_invariance: boolean;
  readonly divide_x_0_spatial_dim: boolean;
  readonly use_jvp_finite_diff: boolean;
}
const SAMPLE = [2, 4, 4] as const;
const [BATCH, SIZE] = [5, 32];
/** logvar.weight ln(σ)/4 + logvar.bias. */
const logVariance =
  (scope: Scope): Head =>
  (_, sigma) =>
    linear(sigma.log().mul(0.25).reshape([-1, 1]), scope('logvar.weight', [1, 1]), scope('logvar.bias', [1]));

const golden = readGolden<{ readonly cases: readonly Case[] }>('losses/scm');
describe.skipIf(!golden).each(golden?.config.cases ?? [])('as in the reference code: $name', (c) => {
  const tensor = (name: string) => golden!.tensor(name).data;
  const stored = (name: string) => tensor(`${c.name}/${name}`);
  const rehearsal = rehearse(loss, 'student', {
    networks: { student: flatNetwork(SAMPLE[0]), teacher: flatNetwork(SAMPLE[0]) },
    heads: { variance: logVariance },
    sample: { shape: SAMPLE, classes: 0 },
    batch: BATCH,
    options: {
      trajectory: c.use_cd ? 'teacher' : 'data',
      taming: c.g_norm_spatial_invariance ? 'rms' : 'norm',
      derivative: c.use_jvp_finite_diff ? 'difference' : 'exact',
      levelMean: 0,
      levelStd: 1,
      priorWeight: true,
    },
  });
  const all = storedWeights(golden!, 'net.');
  const feeds = {
    ...weightFeeds({ student: all, teacher: storedWeights(golden!, 'teacher.') }),
    ...Object.fromEntries(['weight', 'bias'].map((name) => [`variance/logvar.${name}`, all.get(`model.logvar.${name}`)!.data])),
    data: tensor('real_data'),
    'draw/level': tensor('t').map(Math.log),
    'draw/eps': tensor('z_unit'),
    'clock/tangent': [Math.min(1, c.iteration / c.tangent_warmup_steps)],
  };
  // Weights are stored in float32, results in float64. Differences have another step here than there, and an error of its square.
  const tolerance = c.use_jvp_finite_diff ? 1e-5 : 1e-9;
  const agree = (ours: ArrayLike<number>, theirs: ArrayLike<number>, what: string): void =>
    expect(relative(ours, theirs), what).toBeLessThan(tolerance);

  test('velocity, output and derivative', () => {
    const { nets, data, draw } = rehearsal.scene;
    const sigma = constant(tensor('t'), [BATCH, 1, 1, 1]);
    const x = data.add(sigma.mul(draw.normal('eps', data)));
    const point = { x, sigma, towards: c.use_cd ? nets['teacher']!.denoise(x, sigma) : data };
    const { output, slope } = movingOutput(
      nets['student']!,
      point,
      {},
      { sigmaData: 0.5, derivative: c.use_jvp_finite_diff ? 'difference' : 'exact' },
    );
    const found = rehearsal.evaluate([x.mul(trigOf(sigma, 0.5).cos), trigVelocity(point, 0.5), output, slope], feeds);
    ['x_t_hat', 'dxt_dt', 'F', 'jvp'].forEach((name, i) => {
      agree(found[i]!, stored(name), name);
    });
  });

  test('loss and gradients', () => {
    const { terms, evaluate } = rehearsal;
    const [value, error] = evaluate([terms['loss']!, terms['error']!], feeds);
    const mean = (values: Float64Array): number => values.reduce((a, b) => a + b) / BATCH;
    agree(error!, [mean(stored('unweighted'))], 'error');
    // Where FastGen divides the squared error by the number of values once more, so are its gradients, and the loss is another one.
    const factor = c.divide_x_0_spatial_dim ? SIZE : 1;
    const variance = parameterGradients(rehearsal, 'variance', terms['loss']!, feeds);
    if (factor === 1) {
      agree(value!, [mean(stored('loss'))], 'loss');
      for (const [name, gradient] of variance) agree(gradient, stored(`grad.model.${name}`), name);
    }
    const ours = parameterGradients(rehearsal, 'student', terms['loss']!, feeds);
    expect(ours.size).toBe(6);
    for (const [name, gradient] of ours)
      agree(
        gradient,
        stored(`grad.${name}`).map((v) => v * factor),
        name,
      );
    expect(parameterGradients(rehearsal, 'teacher', terms['loss']!, feeds).size).toBe(c.use_cd ? 6 : 0);
  });
});
