/** @file Every sampler and schedule on a model, through the runtime: the samples of the same trajectory in float64; and what is refused. */
import { describe, expect, test } from 'vitest';
import { constant } from '../../engine/graph/ops/leaf.ts';
import { evaluate } from '../../engine/graph/reference.ts';
import type { Draw } from '../../engine/train/loss.ts';
import { gaussian } from '../../models/gaussian.ts';
import { clipped } from '../../samplers/clip.ts';
import { samplers } from '../../samplers/index.ts';
import { scheduleLevels, schedules } from '../../samplers/schedules.ts';
import { unroll } from '../../samplers/unroll.ts';
import { gaussianModel } from '../testing/gaussian.ts';
import { tinyModel } from '../testing/tiny.ts';
import { type GeneratorOptions, openGenerator, sampleNoise } from './generator.ts';
import type { Model, ModelCard } from './model.ts';
import { solverOf } from './solver.ts';

const N = 3;
const shape = [1, 28, 28];
const noise = (k: number): Float64Array => Float64Array.from(sampleNoise([N, ...shape], 5, k, 0).data as Float32Array);
/** The draws of a generator: those named `fresh` are the student's. */
const drawn: Draw = {
  normal: (name, like) => constant(noise(Number(/^step(\d+)\/fresh$/.exec(name)![1]) + 1), like.shape),
  uniform: () => constant(0),
  condition: () => ({}),
};
/** How far the generator's samples are from the same trajectory of the exact denoiser. */
async function difference(model: Model, options: GeneratorOptions): Promise<number> {
  const { sampler, levels } = solverOf(model, options);
  const start = constant(
    noise(0).map((v) => v * levels[0]!),
    [N, ...shape],
  );
  const { denoise } = gaussian({ mean: 0, std: 0.5 });
  const exact = evaluate([unroll(sampler, clipped(denoise, options.clip ?? 0), start, levels, drawn)])[0]!.data;
  const generator = openGenerator(model, { ...options, threads: 1, batch: 2 });
  try {
    const images = await generator.generate({ labels: [1, 2, 3], n: N, seed: 5 });
    return Math.max(...images.map((v, i) => Math.abs(v - exact[i]!)));
  } finally {
    await generator.close();
  }
}

const teacher = gaussianModel();
const student = (card: Partial<ModelCard> = {}) => gaussianModel({ levels: [80, 2], ...card });
const OPTIONS: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  ddim: { eta: 0.5 },
  unipc: { order: 3, variant: 'bh1' },
  tcd: { gamma: 0.3 },
  'flow-euler': { stochastic: true },
};
test.each(Object.keys(samplers).filter((name) => samplers[name]!.only === undefined))('%s samples a teacher', async (name) => {
  const options = { sampler: name, samplerOptions: OPTIONS[name] ?? {}, steps: 6, schedule: 'exponential' };
  expect(await difference(teacher, options)).toBeLessThan(1e-4);
});
test.each(Object.keys(samplers).filter((name) => samplers[name]!.only === 'student'))(
  '%s samples a student at its levels',
  async (name) => {
    expect(solverOf(student(), { sampler: name }).levels).toEqual([80, 2]);
    expect(await difference(student(), { sampler: name, samplerOptions: OPTIONS[name] ?? {} })).toBeLessThan(1e-4);
  },
);
test.each(Object.keys(schedules))('levels of %s', async (name) => {
  const { sigmaMin, sigmaMax } = teacher.card.schedule;
  expect(solverOf(teacher, { schedule: name, steps: 7 }).levels).toEqual(scheduleLevels(name, 7, { sigmaMin, sigmaMax }));
  expect(await difference(teacher, { sampler: 'dpmpp-2m', schedule: name, steps: 7 })).toBeLessThan(1e-4);
});
test('what the network says is clipped', async () => {
  expect(await difference(teacher, { sampler: 'ddpm', clip: 0.3, steps: 5 })).toBeLessThan(1e-4);
});

describe("CTM's γ-sampling", () => {
  const card: Partial<ModelCard> = {
    levels: [40],
    method: 'ctm',
    sample: { shape, classes: 10, scalars: ['toward'] },
    form: { kind: 'told', scalars: { toward: Math.log(0.002) / 4 } },
  };
  const model = tinyModel(card);
  test('takes the level of the student, or as many below it as are asked for', () => {
    expect(solverOf(model, { sampler: 'ctm' }).levels).toEqual([40]);
    const levels = solverOf(model, { sampler: 'ctm', steps: 4 }).levels;
    expect([levels.length, levels[0], levels.at(-1)]).toEqual([4, 40, 0.002]);
    expect(solverOf(model, { sampler: 'ctm', steps: 4, schedule: 'exponential' }).levels[1]).toBeCloseTo(40 * (0.002 / 40) ** (1 / 3), 10);
  });
  test('one step is the student itself; more steps tell it other levels', async () => {
    const draw = async (options: GeneratorOptions) => {
      const generator = openGenerator(model, { ...options, threads: 1 });
      const images = await generator.generate({ labels: [1, 2], n: 2, seed: 3 });
      await generator.close();
      return images;
    };
    const plain = await draw({});
    expect(await draw({ sampler: 'ctm' })).toEqual(plain);
    const two = await draw({ sampler: 'ctm', steps: 2 });
    const blind = await draw({ sampler: 'ddim', steps: 2, schedule: 'karras' });
    expect(two.every(Number.isFinite)).toBe(true);
    expect(Math.max(...two.map((v, i) => Math.abs(v - blind[i]!)))).toBeGreaterThan(1e-3); // ddim tells it the clean sample at every step
    expect(await draw({ sampler: 'ctm', steps: 2, samplerOptions: { gamma: 0.5 } })).not.toEqual(two);
  });
});

test('what makes no sense is refused', () => {
  const refused = (model: Model, options: GeneratorOptions) => () => solverOf(model, options);
  expect(refused(teacher, { sampler: 'lcm' })).toThrow('sampler: lcm takes what the network says for a sample, but tiny is a teacher');
  expect(refused(teacher, { sampler: 'ctm' })).toThrow('tiny is a teacher');
  expect(refused(student({ method: 'boot' }), { sampler: 'ctm' })).toThrow(
    'sampler: ctm is for students of ctm, but tiny was distilled by boot',
  );
  expect(refused(student(), { steps: 3 })).toThrow('steps: the student tiny has levels of its own (80, 2); leave --steps out');
  expect(refused(student(), { sampler: 'tcd', schedule: 'flow' })).toThrow('schedule: the student tiny has levels of its own (80, 2)');
  expect(refused(teacher, { schedule: 'karas' })).toThrow('schedule: there is no karas');
  expect(refused(teacher, { schedule: 'linear', steps: 2000 })).toThrow('linear: 2000 steps are more than');
});
